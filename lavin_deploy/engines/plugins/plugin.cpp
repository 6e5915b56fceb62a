// lavin::RoPE3D and lavin::GroupedQueryAttention for TensorRT 10.0 and later and TensorRT-RTX:
// shapes, types and attributes of the nodes that lavin_deploy/portable.py defines. Nothing
// of TensorRT is linked; the library that loads this one brings it.

#include <NvInferRuntime.h>

#include <array>
#include <cstring>
#include <new>

#include "kernels.h"

namespace lavin {
namespace {

using namespace nvinfer1;

constexpr char NAMESPACE[] = "lavin", VERSION[] = "1";

// Attributes of a node. ``factor`` is RoPE3D's epsilon and GroupedQueryAttention's scale; ``queries``
// is 0 for a RoPE3D of keys alone, which TensorRT must know before it tells the number of inputs.
struct Attributes {
    std::int32_t num_heads = 0, kv_num_heads = 0, head_dim = 0, queries = 1;
    float factor = 0.0f;
};

int type_of(DataType type) {
    switch (type) {
        case DataType::kFLOAT: return LAVIN_FLOAT32;
        case DataType::kHALF: return LAVIN_FLOAT16;
        case DataType::kBF16: return LAVIN_BFLOAT16;
        default: return -1;
    }
}

DimsExprs four(const IDimensionExpr* a, const IDimensionExpr* b, const IDimensionExpr* c,
               const IDimensionExpr* d) {
    DimsExprs found{};
    found.nbDims = 4;
    const IDimensionExpr* all[] = {a, b, c, d};
    for (int i = 0; i < 4; ++i) found.d[i] = all[i];
    return found;
}

int length(const PluginTensorDesc& tensor, int axis) {
    return static_cast<int>(tensor.dims.d[axis]);
}

struct RoPE3D {
    static constexpr char NAME[] = "RoPE3D", FACTOR[] = "epsilon";
    static constexpr int FIELDS = 5;

    static std::int32_t outputs(const Attributes& a) { return a.queries ? 2 : 1; }
    static bool takes(const Attributes& a, std::int32_t inputs) {
        return inputs == (a.queries ? 6 : 4);
    }
    static std::int32_t data_inputs(const Attributes& a, std::int32_t) { return a.queries ? 2 : 1; }

    // (1, L, heads E) -> (1, heads, L, E)
    static void shapes(const Attributes& a, const DimsExprs* inputs, DimsExprs* outputs,
                       IExprBuilder& builder) {
        const auto turned = [&](const DimsExprs& x, std::int32_t heads) {
            return four(x.d[0], builder.constant(heads), x.d[1], builder.constant(a.head_dim));
        };
        if (a.queries) outputs[0] = turned(inputs[0], a.num_heads);
        outputs[a.queries ? 1 : 0] = turned(inputs[a.queries ? 1 : 0], a.kv_num_heads);
    }

    static int run(const Attributes& a, const PluginTensorDesc* given, std::int32_t,
                   const void* const* in, void* const* out, cudaStream_t stream) {
        const auto floats = [&](int which) { return static_cast<const float*>(in[which]); };
        lavin_rope3d_args args{};
        int next = 0;
        if (a.queries) args.q = in[next++];
        args.k = in[next++];
        if (a.queries) args.q_weight = floats(next++);
        args.k_weight = floats(next++);
        args.cos = floats(next++);
        args.sin = floats(next++);
        if (a.queries) args.q_out = out[0];
        args.k_out = out[a.queries ? 1 : 0];
        args.tokens = length(given[0], 1);
        args.heads = a.num_heads;
        args.kv_heads = a.kv_num_heads;
        args.head_dim = a.head_dim;
        args.epsilon = a.factor;
        return lavin_rope3d(&args, type_of(given[0].type), stream);
    }
};

struct GroupedQueryAttention {
    static constexpr char NAME[] = "GroupedQueryAttention", FACTOR[] = "scale";
    static constexpr int FIELDS = 4;  // no "queries", the last

    static std::int32_t outputs(const Attributes&) { return 1; }
    static bool takes(const Attributes&, std::int32_t inputs) { return inputs == 3 || inputs == 5; }
    static std::int32_t data_inputs(const Attributes&, std::int32_t inputs) { return inputs; }

    // (1, N, Lq, E) -> (1, Lq, N E)
    static void shapes(const Attributes& a, const DimsExprs* inputs, DimsExprs* outputs,
                       IExprBuilder& builder) {
        outputs[0].nbDims = 3;
        outputs[0].d[0] = inputs[0].d[0];
        outputs[0].d[1] = inputs[0].d[2];
        outputs[0].d[2] = builder.constant(std::int64_t(a.num_heads) * a.head_dim);
    }

    static int run(const Attributes& a, const PluginTensorDesc* given, std::int32_t inputs,
                   const void* const* in, void* const* out, cudaStream_t stream) {
        lavin_attention_args args{};
        args.q = in[0];
        args.k = in[1];
        args.v = in[2];
        args.out = out[0];
        args.queries = length(given[0], 2);
        args.keys = length(given[1], 2);
        if (inputs == 5) {
            args.past_k = in[3];
            args.past_v = in[4];
            args.past = length(given[3], 2);
        }
        args.heads = a.num_heads;
        args.kv_heads = a.kv_num_heads;
        args.head_dim = a.head_dim;
        args.scale = a.factor;
        return lavin_attention(&args, type_of(given[0].type), stream);
    }
};

template <class Operator>
class Plugin final : public IPluginV3,
                     public IPluginV3OneCore,
                     public IPluginV3OneBuild,
                     public IPluginV3OneRuntime {
public:
    explicit Plugin(const Attributes& attributes) : attributes_(attributes) {}
    Plugin(const Plugin& other) : Plugin(other.attributes_) { inputs_ = other.inputs_; }
    Plugin& operator=(const Plugin&) = delete;
    ~Plugin() override = default;

    IPluginCapability* getCapabilityInterface(PluginCapabilityType type) noexcept override {
        switch (type) {
            case PluginCapabilityType::kCORE: return static_cast<IPluginV3OneCore*>(this);
            case PluginCapabilityType::kBUILD: return static_cast<IPluginV3OneBuild*>(this);
            case PluginCapabilityType::kRUNTIME: return static_cast<IPluginV3OneRuntime*>(this);
        }
        return nullptr;
    }
    IPluginV3* clone() noexcept override { return new (std::nothrow) Plugin(*this); }

    const char* getPluginName() const noexcept override { return Operator::NAME; }
    const char* getPluginVersion() const noexcept override { return VERSION; }
    const char* getPluginNamespace() const noexcept override { return NAMESPACE; }

    std::int32_t getNbOutputs() const noexcept override { return Operator::outputs(attributes_); }
    std::int32_t configurePlugin(const DynamicPluginTensorDesc*, std::int32_t inputs,
                                 const DynamicPluginTensorDesc*, std::int32_t) noexcept override {
        return takes(inputs) ? 0 : 1;
    }
    std::int32_t getOutputDataTypes(DataType* outputs, std::int32_t count, const DataType* given,
                                    std::int32_t inputs) const noexcept override {
        if (!takes(inputs)) return 1;
        for (std::int32_t i = 0; i < count; ++i) outputs[i] = given[0];
        return 0;
    }
    std::int32_t getOutputShapes(const DimsExprs* given, std::int32_t inputs, const DimsExprs*,
                                 std::int32_t, DimsExprs* outputs, std::int32_t,
                                 IExprBuilder& builder) noexcept override {
        if (!takes(inputs)) return 1;
        Operator::shapes(attributes_, given, outputs, builder);
        return 0;
    }
    bool supportsFormatCombination(std::int32_t place, const DynamicPluginTensorDesc* all,
                                   std::int32_t inputs, std::int32_t) noexcept override {
        const PluginTensorDesc& asked = all[place].desc;
        if (!takes(inputs) || asked.format != TensorFormat::kLINEAR) return false;
        if (place == 0) return type_of(asked.type) >= 0;
        const bool table = place >= Operator::data_inputs(attributes_, inputs) && place < inputs;
        return asked.type == (table ? DataType::kFLOAT : all[0].desc.type);
    }
    // Nothing but shapes and types decides how it runs, so one timing serves all alike.
    const char* getTimingCacheID() noexcept override { return ""; }

    std::int32_t onShapeChange(const PluginTensorDesc*, std::int32_t inputs,
                               const PluginTensorDesc*, std::int32_t) noexcept override {
        inputs_ = inputs;
        return takes(inputs) ? 0 : 1;
    }
    std::int32_t enqueue(const PluginTensorDesc* given, const PluginTensorDesc*,
                         const void* const* in, void* const* out, void*,
                         cudaStream_t stream) noexcept override {
        return Operator::run(attributes_, given, inputs_, in, out, stream);
    }
    IPluginV3* attachToContext(IPluginResourceContext*) noexcept override { return clone(); }

    const PluginFieldCollection* getFieldsToSerialize() noexcept override {
        const auto whole = [](const char* name, const std::int32_t& value) {
            return PluginField{name, &value, PluginFieldType::kINT32, 1};
        };
        fields_ = {whole("num_heads", attributes_.num_heads),
                   whole("kv_num_heads", attributes_.kv_num_heads),
                   whole("head_dim", attributes_.head_dim),
                   PluginField{Operator::FACTOR, &attributes_.factor, PluginFieldType::kFLOAT32, 1},
                   whole("queries", attributes_.queries)};
        collection_ = {Operator::FIELDS, fields_.data()};
        return &collection_;
    }

private:
    bool takes(std::int32_t inputs) const { return Operator::takes(attributes_, inputs); }

    Attributes attributes_;
    std::int32_t inputs_ = 0;
    std::array<PluginField, 5> fields_{};
    PluginFieldCollection collection_{};
};

template <class Operator>
class Creator final : public IPluginCreatorV3One {
public:
    const char* getPluginName() const noexcept override { return Operator::NAME; }
    const char* getPluginVersion() const noexcept override { return VERSION; }
    const char* getPluginNamespace() const noexcept override { return NAMESPACE; }

    const PluginFieldCollection* getFieldNames() noexcept override {
        fields_ = {PluginField{"num_heads", nullptr, PluginFieldType::kINT32, 1},
                   PluginField{"kv_num_heads", nullptr, PluginFieldType::kINT32, 1},
                   PluginField{"head_dim", nullptr, PluginFieldType::kINT32, 1},
                   PluginField{Operator::FACTOR, nullptr, PluginFieldType::kFLOAT32, 1},
                   PluginField{"queries", nullptr, PluginFieldType::kINT32, 1}};
        collection_ = {Operator::FIELDS, fields_.data()};
        return &collection_;
    }

    // Null, which fails the build or the loading, unless all attributes make sense together.
    IPluginV3* createPlugin(const char*, const PluginFieldCollection* given,
                            TensorRTPhase) noexcept override {
        Attributes a;
        for (std::int32_t i = 0; given && i < given->nbFields; ++i) {
            const PluginField& field = given->fields[i];
            if (!field.data || field.length < 1) continue;
            const auto is = [&](const char* name) { return std::strcmp(field.name, name) == 0; };
            if (is("num_heads")) a.num_heads = whole(field);
            if (is("kv_num_heads")) a.kv_num_heads = whole(field);
            if (is("head_dim")) a.head_dim = whole(field);
            if (is("queries")) a.queries = whole(field);
            if (is(Operator::FACTOR) && field.type == PluginFieldType::kFLOAT32)
                a.factor = *static_cast<const float*>(field.data);
        }
        const bool heads = a.kv_num_heads > 0 && a.num_heads > 0 &&
                           a.num_heads % a.kv_num_heads == 0;
        const bool width = a.head_dim >= 8 && a.head_dim <= 128 && a.head_dim % 8 == 0;
        if (!heads || !width || !(a.factor > 0.0f)) return nullptr;
        return new (std::nothrow) Plugin<Operator>(a);
    }

private:
    static std::int32_t whole(const PluginField& field) {
        if (field.type == PluginFieldType::kINT32)
            return *static_cast<const std::int32_t*>(field.data);
        if (field.type == PluginFieldType::kINT64)
            return static_cast<std::int32_t>(*static_cast<const std::int64_t*>(field.data));
        return 0;
    }

    std::array<PluginField, 5> fields_{};
    PluginFieldCollection collection_{};
};

}  // namespace
}  // namespace lavin

// What IPluginRegistry::loadLibrary asks for.
extern "C" __attribute__((visibility("default"))) nvinfer1::IPluginCreatorInterface* const*
getCreators(std::int32_t& count) {
    static lavin::Creator<lavin::RoPE3D> rope;
    static lavin::Creator<lavin::GroupedQueryAttention> attention;
    static nvinfer1::IPluginCreatorInterface* const all[] = {&rope, &attention};
    count = 2;
    return all;
}
extern "C" __attribute__((visibility("default"))) void setLoggerFinder(nvinfer1::ILoggerFinder*) {}
