// A module of liblavin whose library is none: engines of stub_engine.h on the stub of the driver.
#include <dlfcn.h>

#include <cstdio>
#include <memory>

#include "device/tensorrt_module.h"
#include "stub_cuda.h"
#include "stub_engine.h"

struct LavinTrtRuntime {
  int engines = 0;
};

struct LavinTrtEngine {
  LavinTrtRuntime* runtime;
  std::vector<stub::Tensor> tensors;
  std::uint64_t scratch = 0;
  std::size_t size = 0;
};

namespace {

StubCuda& cuda() {
  using Entry = StubCuda* (*)();
  static const Entry entry =
      reinterpret_cast<Entry>(dlsym(dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD), "stub_cuda"));
  return *entry();
}

LavinTrtStatus library_version(const char** text, LavinTrtReason) {
  *text = "10.16.0.1";
  return LAVIN_TRT_OK;
}

LavinTrtStatus open(LavinTrtRuntime** runtime, LavinTrtReason) {
  *runtime = new LavinTrtRuntime;
  ++cuda().live;
  return LAVIN_TRT_OK;
}

void close(LavinTrtRuntime* runtime) {
  if (runtime->engines == 0) --cuda().live;  // engines go first
  delete runtime;
}

LavinTrtStatus load(LavinTrtRuntime* runtime, const void* plan, size_t size,
                    LavinTrtEngine** engine, LavinTrtReason reason) {
  auto tensors = stub::tensors_of(std::string(static_cast<const char*>(plan), size));
  if (tensors.empty()) {
    std::snprintf(reason.text, reason.size, "%s", "no magic number");
    return LAVIN_TRT_BAD_PLAN;
  }
  ++runtime->engines;
  *engine = new LavinTrtEngine{runtime, std::move(tensors)};
  return LAVIN_TRT_OK;
}

void unload(LavinTrtEngine* engine) {
  --engine->runtime->engines;
  delete engine;
}

size_t tensor_count(const LavinTrtEngine* engine) {
  return engine->tensors.size();
}

LavinTrtTensor tensor(const LavinTrtEngine* engine, size_t index) {
  const stub::Tensor& found = engine->tensors[index];
  return {found.name.c_str(), found.dtype.c_str(), found.shape.data(), found.shape.size(),
          found.input ? 1 : 0};
}

size_t scratch_size(const LavinTrtEngine* engine) {
  return 1000 * engine->tensors.size();
}

void set_scratch(LavinTrtEngine* engine, uint64_t address, size_t size) {
  engine->scratch = address;
  engine->size = size;
}

LavinTrtStatus run(LavinTrtEngine* engine, const char* const* names, const uint64_t* addresses,
                   size_t count, void*, LavinTrtReason reason) {
  std::map<std::string, std::pair<const float*, std::size_t>> inputs;
  std::map<std::string, std::pair<float*, std::size_t>> outputs;
  std::size_t known = 0;
  for (const stub::Tensor& tensor : engine->tensors) {
    for (size_t i = 0; i < count; ++i) {
      if (tensor.name != names[i] || addresses[i] % 256 != 0) continue;
      ++known;
      float* const place = reinterpret_cast<float*>(addresses[i]);
      if (tensor.input) {
        inputs[tensor.name] = {place, tensor.count()};
      } else {
        outputs[tensor.name] = {place, tensor.count()};
      }
    }
  }
  if (known != engine->tensors.size() || engine->size != scratch_size(engine) ||
      engine->scratch == 0 || cuda().failing.count("enqueueV3") != 0) {
    std::snprintf(reason.text, reason.size, "%s", "an address is missing");
    return LAVIN_TRT_REFUSED;
  }
  cuda().queue([=] {
    unsigned char* const scratch = reinterpret_cast<unsigned char*>(engine->scratch);
    scratch[0] = scratch[engine->size - 1] = 1;
    stub::compute(inputs, outputs);
  });
  return LAVIN_TRT_OK;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const LavinTrtTable* lavin_tensorrt_module(
    uint32_t version) {
  static const LavinTrtTable table = {LAVIN_TENSORRT_TABLE,
                                      "tensorrt",
                                      "libnvinfer.so.10",
                                      library_version,
                                      open,
                                      close,
                                      load,
                                      unload,
                                      tensor_count,
                                      tensor,
                                      scratch_size,
                                      set_scratch,
                                      run};
  return version == LAVIN_TENSORRT_TABLE ? &table : nullptr;
}
