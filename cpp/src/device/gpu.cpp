// Not run on a GPU yet.
#include "device/gpu.h"

#include <dlfcn.h>

#include "base/errors.h"
#include "base/text.h"

namespace lavin::core {

namespace {

constexpr std::pair<int, int> kOldestDriver = {12, 6};  // JetPack 6.2's
constexpr std::pair<int, int> kOldestCapability = {7, 5};
constexpr int kMajor = 75, kMinor = 76, kProcessors = 16;  // CUdevice_attribute

std::string dotted(std::pair<int, int> version) {
  return cat(version.first, ".", version.second);
}

// Asks functions of the driver's library by their names; CUresult and CUdevice are ints.
class Driver {
 public:
  explicit Driver(const std::string& library)
      : handle_(dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr) {
      throw InputError(cat("no NVIDIA driver is installed here (", library,
                           " cannot be loaded); install the driver, start the container with GPU "
                           "access, or use the back end 'onnxruntime'."));
    }
  }

  template <typename... Arguments>
  void ask(const char* function, Arguments... arguments) const {
    void* const symbol = dlsym(handle_, function);
    if (symbol == nullptr) {
      throw InputError(cat("the NVIDIA driver has no ", function,
                           "; it is a stub or too old: install the driver of the GPU."));
    }
    const int status = reinterpret_cast<int (*)(Arguments...)>(symbol)(arguments...);
    if (status != 0) {
      throw InputError(cat("the NVIDIA driver is there but ", function, " failed with CUDA error ",
                           status,
                           "; is the GPU there, and does the driver's version match its kernel "
                           "module (nvidia-smi)?"));
    }
  }

 private:
  void* handle_;  // stays open: a driver is not made to be unloaded
};

Gpu describe(const Driver& driver, int index, std::pair<int, int> supported) {
  int device = 0;
  driver.ask<int*, int>("cuDeviceGet", &device, index);
  char name[256] = "";
  driver.ask<char*, int, int>("cuDeviceGetName", name, static_cast<int>(sizeof name) - 1, device);
  Gpu gpu;
  gpu.index = index;
  gpu.name = name;
  gpu.driver = supported;
  driver.ask<std::size_t*, int>("cuDeviceTotalMem_v2", &gpu.memory, device);
  const std::pair<int*, int> numbers[] = {{&gpu.capability.first, kMajor},
                                          {&gpu.capability.second, kMinor},
                                          {&gpu.processors, kProcessors}};
  for (const auto& [number, attribute] : numbers) {
    driver.ask<int*, int, int>("cuDeviceGetAttribute", number, attribute, device);
  }
  return gpu;
}

}  // namespace

std::string Gpu::text() const {
  return cat(name, ", compute capability ", dotted(capability));
}

Gpu find_gpu(const std::string& library) {
  const Driver driver(library);
  int version = 0;
  driver.ask<int*>("cuDriverGetVersion", &version);
  const std::pair<int, int> supported = {version / 1000, version % 1000 / 10};
  if (supported < kOldestDriver) {
    throw InputError(cat("the NVIDIA driver supports CUDA ", dotted(supported), "; engines need ",
                         dotted(kOldestDriver),
                         " or later: update the driver, or use the back end 'onnxruntime'."));
  }
  driver.ask<unsigned>("cuInit", 0U);
  int count = 0;
  driver.ask<int*>("cuDeviceGetCount", &count);
  if (count < 1) {
    throw InputError(
        "the NVIDIA driver finds no GPU (is CUDA_VISIBLE_DEVICES empty?); use the back end "
        "'onnxruntime'.");
  }
  const Gpu gpu = describe(driver, 0, supported);
  if (gpu.capability < kOldestCapability) {
    throw InputError(cat("the GPU is ", gpu.text(),
                         "; engines need 7.5 (Turing) or later: use the back end 'onnxruntime'."));
  }
  return gpu;
}

}  // namespace lavin::core
