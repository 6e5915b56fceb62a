// The back end on a driver and a library that are stubs on the host: a program of its own, because
// what it loads stays. On a GPU nothing of this has run yet.
#include <dlfcn.h>

#include <cmath>
#include <thread>

#include "cuda_driver.h"
#include "device_backend.h"
#include "engine_files.h"
#include "host_device.h"
#include "modulation.h"
#include "stub_cuda.h"
#include "stub_engine.h"
#include "support.h"
#include "tensorrt_backend.h"
#include "tensorrt_device.h"

namespace lavin::core {
namespace {

namespace fs = std::filesystem;

constexpr const char* kModule = "liblavin_tensorrt10.so";

// The driver, as it answers unless a test wants another. Its file has the name of the real one, so
// that libcuda.so.1 means this from here on.
StubCuda& driver() {
  using Entry = StubCuda* (*)();
  static const Entry entry = [] {
    const std::string file = std::string(LAVIN_STUB_FOLDER) + "/libcuda.so.1";
    return reinterpret_cast<Entry>(dlsym(dlopen(file.c_str(), RTLD_NOW), "stub_cuda"));
  }();
  return *entry();
}

class Tensorrt : public testing::Test {
 protected:
  void SetUp() override {
    const auto queue = driver().queue;
    driver() = StubCuda();
    driver().queue = queue;
    dlopen((std::string(LAVIN_STUB_FOLDER) + "/" + kModule).c_str(), RTLD_NOW);
  }
  void TearDown() override { EXPECT_EQ(driver().live, 0) << "something was not given back"; }
};

TEST_F(Tensorrt, FindsAGpu) {
  const Gpu gpu = find_gpu();
  EXPECT_EQ(gpu.text(), "Stub, compute capability 8.9");
  EXPECT_EQ(gpu.memory, std::size_t{24} << 30);
  EXPECT_EQ(gpu.processors, 16);
  EXPECT_EQ(gpu.driver, std::pair(13, 0));
  driver().version = 12060;  // JetPack 6.2
  EXPECT_EQ(find_gpu().driver, std::pair(12, 6));
}

TEST_F(Tensorrt, SaysWhatIsMissing) {
  driver().version = 11040;
  EXPECT_EQ(sentence_of([] { find_gpu(); }),
            "the NVIDIA driver supports CUDA 11.4; engines need 12.6 or later: update the driver, "
            "or use the back end 'onnxruntime'.");
  driver().version = 13000;
  driver().devices = 0;
  EXPECT_EQ(sentence_of([] { find_gpu(); }),
            "the NVIDIA driver finds no GPU (is CUDA_VISIBLE_DEVICES empty?); use the back end "
            "'onnxruntime'.");
  driver().devices = 1;
  driver().major = 7;
  driver().minor = 2;
  EXPECT_EQ(sentence_of([] { find_gpu(); }),
            "the GPU is Stub, compute capability 7.2; engines need 7.5 (Turing) or later: use the "
            "back end 'onnxruntime'.");
  driver().failing["cuInit"] = 999;
  driver().calls.clear();
  EXPECT_NE(sentence_of([] { find_gpu(); }).find("cuInit failed with CUDA error 999"),
            std::string::npos);
  EXPECT_EQ(driver().calls.size(), 2U);  // a driver that fails is not asked further
}

// A driver with the functions that only engines need.
class Memory : public CudaDriver {
 public:
  Memory() : CudaDriver(0) {}
  std::string describe() const override { return "memory"; }
  Engine& load(const std::string&) override { throw WorkError("none"); }
  void run(Engine&, const std::map<std::string, Address>&) override {}
};

TEST_F(Tensorrt, MovesAndCalculates) {
  Memory device;
  EXPECT_NE(driver().ptx.find(".visible .entry update("), std::string::npos);
  const Address a = device.allocate(1024), b = device.allocate(1024);
  Array values = floats({2, 2}, {1, 2, 3, 4});
  device.upload(a, values);
  values.floats()[0] = 100;  // may change as soon as upload returns
  device.affine(b, a, {2, 2, 4, 1, 2, 0.5F});
  device.copy(b + 8, a + 4, 4);
  device.download(b, 24);
  device.synchronize();
  Array found({6});
  device.collect(b, found);
  const std::vector<float> right = {4.5F, 6.5F, 2, found.floats()[3], 8.5F, 10.5F};
  EXPECT_EQ(values_of(found), right);
  device.upload(a, floats({2}, {1, 2}));
  device.upload(b, floats({2}, {3, 5}));
  device.update(a, b, b, {1, 0.5F, 2});
  device.update(a, b, a, {2, 0.25F, 1});
  device.download(a, 8);
  device.synchronize();
  Array pair({2});
  device.collect(a, pair);
  EXPECT_EQ(values_of(pair), (std::vector<float>{2.5F + 0.25F * 3.5F, 4.5F}));
}

TEST_F(Tensorrt, CapturesWithoutRunning) {
  Memory device;
  const Address z = device.allocate(256), v = device.allocate(256);
  device.upload(z, floats({1}, {0}));
  device.upload(v, floats({1}, {1}));
  const Captured loop = device.capture([&] { device.update(z, v, v, {1, 1, 1}); });
  const Moment first = device.mark();
  for (int i = 0; i < 3; ++i) device.launch(loop);
  const Moment last = device.mark();
  EXPECT_THROW(device.between(first, last), WorkError);  // it has not passed
  device.download(z, 4);
  device.synchronize();
  Array found({1});
  device.collect(z, found);
  EXPECT_EQ(found.floats()[0], 3);
  EXPECT_DOUBLE_EQ(device.between(first, last), 0.004);
  device.release(loop);
  device.release(first);
  device.release(last);
  device.release(z);
  EXPECT_EQ(driver().calls["cuGraphDestroy"], 1);
  EXPECT_THROW(device.collect(z, found), WorkError);
}

TEST_F(Tensorrt, GoesOnAfterACaptureThatFailed) {
  Memory device;
  const Address z = device.allocate(256);
  EXPECT_EQ(sentence_of([&] { device.capture([&] { device.allocate(256); }); }),
            "cuMemAlloc_v2 failed on the GPU: CUDA_ERROR_STREAM_CAPTURE.");
  EXPECT_THROW(device.capture([] { throw WorkError("another."); }), WorkError);
  driver().failing["cuGraphInstantiateWithFlags"] = 2;
  EXPECT_THROW(device.capture([&] { device.copy(z, z + 4, 4); }), WorkError);
  device.upload(z, floats({1}, {7}));
  device.synchronize();
}

TEST_F(Tensorrt, TellsWhyTheDriverRefuses) {
  driver().failing["cuMemAlloc_v2"] = 2;
  {
    Memory device;
    EXPECT_EQ(sentence_of([&] { device.allocate(256); }),
              "cuMemAlloc_v2 failed on the GPU: CUDA_ERROR_OUT_OF_MEMORY.");
  }
  driver().failing = {{"cuModuleLoadData", 218}};
  EXPECT_EQ(sentence_of([] { Memory(); }), "cuModuleLoadData failed on the GPU: CUDA error 218.");
}

// The stub's engines as functions for a HostDevice.
std::map<std::string, HostDevice::Compute> computes(const Variant& variant) {
  std::map<std::string, HostDevice::Compute> made;
  for (const Graph& graph : variant.graphs) {
    made[graph.name] = [&graph](const Feed& feed) {
      std::map<std::string, std::pair<const float*, std::size_t>> inputs;
      std::map<std::string, std::pair<float*, std::size_t>> outputs;
      Outputs arrays;
      for (const auto& [name, array] : feed) inputs[name] = {array->floats(), array->count()};
      for (const TensorSpec& spec : graph.outputs) {
        Array& array = arrays.emplace(spec.name, Array(spec.shape)).first->second;
        outputs[spec.name] = {array.floats(), array.count()};
      }
      stub::compute(inputs, outputs);
      return arrays;
    };
  }
  return made;
}

// A copy of the bundle that ships, with engines of the stub.
class OnABundle : public Tensorrt {
 protected:
  void SetUp() override {
    Tensorrt::SetUp();
    path = folder.path() / "edge.lavin";
    fs::copy(LAVIN_EDGE_BUNDLE, path, fs::copy_options::recursive);
    bundle = Bundle::open(path.string());
  }

  void build(const std::string& version = "10.16.0.1", const std::string& broken = "") {
    const Variant& variant = bundle->variant("", "native");
    for (const Graph& graph : variant.graphs) {
      std::vector<stub::Tensor> tensors;
      for (const TensorSpec& spec : graph.inputs) {
        tensors.push_back({spec.name, spec.dtype, spec.shape, true});
      }
      for (const TensorSpec& spec : graph.outputs) {
        tensors.push_back({spec.name, spec.dtype, spec.shape, false});
      }
      if (graph.name == broken) tensors[0].shape.back() += 1;
      Identity identity;
      identity.graph = graph_label(graph);
      identity.precision = variant.precision;
      identity.dialect = variant.dialect;
      identity.onnx = onnx_digest(bundle->manifest(), variant, graph);
      identity.library = "tensorrt";
      identity.version = version;
      identity.capabilities = {"8.9"};
      keep_engine(path, identity, stub::plan_of(tensors));
    }
  }

  std::unique_ptr<Backend> make() { return make_tensorrt(*bundle, "", ""); }

  // Three answers.
  static std::vector<Array> answers(Backend& backend, double guidance) {
    Modulation modulation(backend);
    const Array pairs = normal(1, {1, 16, 2, 16, 16}), noise = normal(2, {1, 16, 1, 16, 16});
    const Grid grid = uniform(3);
    const auto frames = backend.resident(modulation, {{128, 128}, pairs, noise, grid, guidance});
    std::vector<Array> found;
    for (std::uint64_t frame = 0; frame < 3; ++frame) {
      Picture target;
      Seconds seconds;
      found.push_back(frames->answer(made_picture(128, 128, frame), target, seconds));
      EXPECT_EQ(target.size(), (Size{128, 128}));
      EXPECT_GT(seconds.encode * seconds.sample * seconds.decode, 0);
    }
    return found;
  }

  TemporaryFolder folder;
  fs::path path;
  std::unique_ptr<Bundle> bundle;
};

TEST_F(OnABundle, AnswersAsTheHostDoes) {
  build();
  for (const double guidance : {1.0, 1.5}) {
    const auto backend = make();
    EXPECT_EQ(backend->describe(), "tensorrt 10.16.0.1 on Stub, compute capability 8.9");
    const Variant& variant = backend->variant;
    DeviceBackend host(*bundle, variant, std::make_unique<HostDevice>(variant, computes(variant)),
                       [](const Graph& graph) { return graph.file; });
    driver().calls.clear();
    const std::vector<Array> found = answers(*backend, guidance), right = answers(host, guidance);
    for (std::size_t i = 0; i < found.size(); ++i) EXPECT_TRUE(found[i].equals(right[i])) << i;
    EXPECT_FALSE(found[0].equals(found[1]));
    EXPECT_LT(std::abs(found[0].floats()[100]), 100);
    EXPECT_EQ(driver().calls["cuGraphLaunch"], 2);  // of three frames
  }
}

TEST_F(OnABundle, WorksInAnyThread) {
  build();
  auto backend = make();
  const std::vector<Array> here = answers(*backend, 1);
  std::thread([&] {
    const std::vector<Array> there = answers(*backend, 1);
    EXPECT_TRUE(here[2].equals(there[2]));
    backend.reset();
  }).join();
}

TEST_F(OnABundle, RunsSingleGraphs) {
  build();
  const auto backend = make();
  const Graph& graph = backend->variant.graph("encoder", Size{128, 128});
  const Array pixels = normal(4, {1, 3, 1, 128, 128});
  const Array first = backend->infer_one(graph, {{"pixels", &pixels}});
  EXPECT_TRUE(
      first.equals(computes(backend->variant).at("encoder")({{"pixels", &pixels}}).at("mean")));
  EXPECT_TRUE(first.equals(backend->infer_one(graph, {{"pixels", &pixels}})));
}

TEST_F(OnABundle, GoesOnWhereTheLoopCannotBeCaptured) {
  build();
  const auto backend = make();
  driver().failing["cuGraphInstantiateWithFlags"] = 801;
  const std::vector<Array> queued = answers(*backend, 1);
  driver().failing.clear();
  const std::vector<Array> launched = answers(*backend, 1);
  for (std::size_t i = 0; i < queued.size(); ++i) EXPECT_TRUE(queued[i].equals(launched[i]));
}

TEST_F(OnABundle, TellsWhyAnEngineFails) {
  build("10.16.0.1", "encoder");
  const auto backend = make();
  const Graph& encoder = backend->variant.graph("encoder", Size{128, 128});
  EXPECT_EQ(sentence_of([&] { backend->prepare(encoder); }),
            "the engine of 'graphs/encoder-128x128.onnx' takes or gives ['pixels float32 (1, 3, 1, "
            "128, 129)'] where the manifest says ['pixels float32 (1, 3, 1, 128, 128)']; build it "
            "again with lavin-build.");
  driver().failing["enqueueV3"] = 1;
  const Graph& modulation = backend->variant.graph("modulation");
  const Array t = floats({1}, {0.5F});
  EXPECT_EQ(sentence_of([&] {
              backend->infer_one(modulation, {{"t", &t}});
            }),
            "tensorrt 10.16.0.1 on Stub, compute capability 8.9 refused to run an engine (an "
            "address is missing).");
}

TEST_F(OnABundle, DoesNotLoadWhatIsNoEngine) {
  TensorrtDevice device(find_gpu(), *load_library(kModule));
  EXPECT_EQ(sentence_of([&] { device.load("no plan"); }),
            "tensorrt 10.16.0.1 on Stub, compute capability 8.9 does not load the engine (no magic "
            "number); build it again with lavin-build.");
}

TEST_F(OnABundle, TellsOfMissingEnginesBeforeTheFirstFrame) {
  EXPECT_NE(sentence_of([&] { make(); })
                .find("has no engine for modulation (fp32, native); run: "
                      "lavin-build "),
            std::string::npos);
  build("10.15.0.1");
  EXPECT_NE(sentence_of([&] { make(); })
                .find("it was built by tensorrt 10.15.0.1, here is "
                      "10.16.0.1"),
            std::string::npos);
}

TEST_F(OnABundle, AsksTheGpuBeforeAnythingElse) {
  Machine machine;
  machine.gpu = []() -> Gpu { throw InputError("no GPU here."); };
  machine.library = [](const std::string&) -> std::optional<Library> {
    ADD_FAILURE() << "a library was opened without a GPU";
    return std::nullopt;
  };
  EXPECT_EQ(sentence_of([&] { make_tensorrt(*bundle, "", "", machine); }), "no GPU here.");
}

TEST_F(OnABundle, TakesTheLibraryThatTheEnginesAreOf) {
  const EngineStore store(path, bundle->manifest());
  Machine machine;
  machine.library = [](const std::string& file) -> std::optional<Library> {
    const bool rtx = file.find("rtx") != std::string::npos;
    const bool late = file.find("11") != std::string::npos;
    return Library{rtx ? "tensorrt-rtx" : "tensorrt", rtx ? "1.7.1" : late ? "11.1.0" : "10.3.0"};
  };
  EXPECT_EQ(choose_library(store, machine).version, "11.1.0");
  build();
  EXPECT_EQ(choose_library(store, machine).version, "10.3.0");
  machine.library = [](const std::string& file) -> std::optional<Library> {
    if (file == kModule) return std::nullopt;
    throw InputError(file.find("rtx") != std::string::npos ? "no RTX." : "no TensorRT.");
  };
  EXPECT_EQ(sentence_of([&] { choose_library(store, machine); }), "no TensorRT. Or: no RTX.");
  machine.library = [](const std::string&) -> std::optional<Library> { return std::nullopt; };
  EXPECT_NE(sentence_of([&] { choose_library(store, machine); }).find("and there is none; build"),
            std::string::npos);
}

}  // namespace
}  // namespace lavin::core
