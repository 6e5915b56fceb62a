// The module of one major version of TensorRT, or of TensorRT-RTX: the only code that includes a
// header of theirs. It links nothing of NVIDIA's; compiled against the headers of 10.3 to 11, it
// uses what all of them have. Not run on a GPU yet.
#include "device/tensorrt_module.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "device/tensorrt_vendor.h"

static_assert(sizeof(void*) == sizeof(uint64_t), "device addresses are pointers");

namespace {

void tell(LavinTrtReason reason, const std::string& text) {
  if (reason.text != nullptr && reason.size > 0) {
    std::snprintf(reason.text, reason.size, "%s", text.c_str());
  }
}

// Runs `work`, which gives a status; an exception becomes one.
template <typename Work>
LavinTrtStatus guarded(LavinTrtReason reason, LavinTrtStatus otherwise, const Work& work) noexcept {
  try {
    tell(reason, "");
    return work();
  } catch (const std::exception& error) {
    try {
      tell(reason, error.what());
    } catch (...) {
    }
  } catch (...) {
  }
  return otherwise;
}

const char* name_of(nvinfer1::DataType type) {
  using nvinfer1::DataType;
  switch (type) {
    case DataType::kFLOAT:
      return "float32";
    case DataType::kHALF:
      return "float16";
    case DataType::kBF16:
      return "bfloat16";
    case DataType::kINT8:
      return "int8";
    case DataType::kINT32:
      return "int32";
    case DataType::kINT64:
      return "int64";
    case DataType::kUINT8:
      return "uint8";
    case DataType::kBOOL:
      return "bool";
    default:
      return "another type";
  }
}

struct Tensor {
  std::string name;
  const char* dtype;
  std::vector<int64_t> shape;
  bool input;
};

}  // namespace

struct LavinTrtRuntime {
  Logger logger;  // must outlive all that logs to it
  std::unique_ptr<nvinfer1::IRuntime> runtime;
};

struct LavinTrtEngine {
  LavinTrtRuntime* runtime;
  std::unique_ptr<nvinfer1::ICudaEngine> engine;
  std::unique_ptr<nvinfer1::IExecutionContext> context;  // goes before its engine
  std::vector<Tensor> tensors;
};

namespace {

LavinTrtStatus library_version(const char** text, LavinTrtReason reason) noexcept {
  return guarded(reason, LAVIN_TRT_NO_LIBRARY, [&] {
    tell(reason, library().fault);
    *text = library().version.c_str();
    return library().fault.empty() ? LAVIN_TRT_OK : LAVIN_TRT_NO_LIBRARY;
  });
}

LavinTrtStatus open(LavinTrtRuntime** runtime, LavinTrtReason reason) noexcept {
  return guarded(reason, LAVIN_TRT_NO_ROOM, [&] {
    if (!library().fault.empty()) {
      tell(reason, library().fault);
      return LAVIN_TRT_NO_LIBRARY;
    }
    auto opened = std::make_unique<LavinTrtRuntime>();
    // Within a major version tables of functions only grow, and 10.3 has all that is used, so an
    // older library is asked as if the headers were its own.
    const auto headers = static_cast<int32_t>(NV_TENSORRT_VERSION);
    opened->runtime.reset(static_cast<nvinfer1::IRuntime*>(
        library().create(&opened->logger, std::min(headers, library().number))));
    if (opened->runtime == nullptr) {
      tell(reason, opened->logger.take());
      return LAVIN_TRT_NO_LIBRARY;
    }
    opened->runtime->setEngineHostCodeAllowed(true);  // plugins lie inside the engine
    *runtime = opened.release();
    return LAVIN_TRT_OK;
  });
}

void close(LavinTrtRuntime* runtime) noexcept {
  delete runtime;
}

LavinTrtStatus load(LavinTrtRuntime* runtime, const void* plan, size_t size,
                    LavinTrtEngine** engine, LavinTrtReason reason) noexcept {
  return guarded(reason, LAVIN_TRT_NO_ROOM, [&] {
    auto loaded = std::make_unique<LavinTrtEngine>();
    loaded->runtime = runtime;
    runtime->logger.take();
    loaded->engine.reset(runtime->runtime->deserializeCudaEngine(plan, size));
    if (loaded->engine == nullptr) {
      tell(reason, runtime->logger.take());
      return LAVIN_TRT_BAD_PLAN;
    }
    for (int32_t i = 0; i < loaded->engine->getNbIOTensors(); ++i) {
      const char* const name = loaded->engine->getIOTensorName(i);
      const nvinfer1::Dims shape = loaded->engine->getTensorShape(name);
      Tensor tensor;
      tensor.name = name;
      tensor.dtype = name_of(loaded->engine->getTensorDataType(name));
      tensor.shape.assign(shape.d, shape.d + std::max(shape.nbDims, 0));
      tensor.input = loaded->engine->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
      loaded->tensors.push_back(std::move(tensor));
    }
    loaded->context.reset(loaded->engine->createExecutionContext(
        nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED));
    if (loaded->context == nullptr) {
      tell(reason, runtime->logger.take());
      return LAVIN_TRT_NO_ROOM;
    }
    *engine = loaded.release();
    return LAVIN_TRT_OK;
  });
}

void unload(LavinTrtEngine* engine) noexcept {
  delete engine;
}

size_t tensor_count(const LavinTrtEngine* engine) noexcept {
  return engine->tensors.size();
}

LavinTrtTensor tensor(const LavinTrtEngine* engine, size_t index) noexcept {
  const Tensor& chosen = engine->tensors[index];
  return {chosen.name.c_str(), chosen.dtype, chosen.shape.data(), chosen.shape.size(),
          chosen.input};
}

size_t scratch_size(const LavinTrtEngine* engine) noexcept {
  return static_cast<size_t>(std::max<int64_t>(engine->engine->getDeviceMemorySizeV2(), 0));
}

void set_scratch(LavinTrtEngine* engine, uint64_t address, size_t size) noexcept {
  engine->context->setDeviceMemoryV2(reinterpret_cast<void*>(address), static_cast<int64_t>(size));
}

LavinTrtStatus run(LavinTrtEngine* engine, const char* const* names, const uint64_t* addresses,
                   size_t count, void* stream, LavinTrtReason reason) noexcept {
  return guarded(reason, LAVIN_TRT_REFUSED, [&] {
    engine->runtime->logger.take();
    bool done = true;
    for (size_t i = 0; i < count && done; ++i) {
      done = engine->context->setTensorAddress(names[i], reinterpret_cast<void*>(addresses[i]));
    }
    done = done && engine->context->enqueueV3(static_cast<cudaStream_t>(stream));
    if (done) return LAVIN_TRT_OK;
    tell(reason, engine->runtime->logger.take());
    return LAVIN_TRT_REFUSED;
  });
}

constexpr LavinTrtTable kTable = {
    LAVIN_TENSORRT_TABLE, kTarget, kLibrary,     library_version, open, close, load, unload,
    tensor_count,         tensor,  scratch_size, set_scratch,     run};

}  // namespace

extern "C" __attribute__((visibility("default"))) const LavinTrtTable* lavin_tensorrt_module(
    uint32_t version) {
  return version == LAVIN_TENSORRT_TABLE ? &kTable : nullptr;
}
