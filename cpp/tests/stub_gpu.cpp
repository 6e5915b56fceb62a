// The part of the stub of the driver that says what the GPU is and that runs the two kernels.
#include <cstdint>
#include <cstring>

#include "stub_cuda.h"

namespace {

using Pointer = std::uint64_t;

void* at(std::uint64_t address) {
  return reinterpret_cast<void*>(address);
}

template <typename Value>
Value value(void* place) {
  Value found;
  std::memcpy(&found, place, sizeof found);
  return found;
}

}  // namespace

EXPORT int cuDriverGetVersion(int* version) {
  *version = stub_cuda()->version;
  return begin("cuDriverGetVersion", false);
}
EXPORT int cuInit(unsigned) {
  return begin("cuInit", false);
}
EXPORT int cuDeviceGetCount(int* count) {
  *count = stub_cuda()->devices;
  return begin("cuDeviceGetCount", false);
}
EXPORT int cuDeviceGet(int* device, int index) {
  *device = index + 40;
  return begin("cuDeviceGet", false);
}
EXPORT int cuDeviceGetName(char* name, int size, int device) {
  if (size < 8 || device != 40) return kInvalid;
  std::strcpy(name, "Stub");
  return begin("cuDeviceGetName", false);
}
EXPORT int cuDeviceTotalMem_v2(std::size_t* bytes, int device) {
  *bytes = std::size_t{24} << 30;
  return device == 40 ? begin("cuDeviceTotalMem_v2", false) : kInvalid;
}
EXPORT int cuDeviceGetAttribute(int* number, int attribute, int device) {
  *number = attribute == 75 ? stub_cuda()->major : attribute == 76 ? stub_cuda()->minor : 16;
  return device == 40 ? begin("cuDeviceGetAttribute", false) : kInvalid;
}
EXPORT int cuGetErrorName(int status, const char** name) {
  *name = status == 2     ? "CUDA_ERROR_OUT_OF_MEMORY"
          : status == 900 ? "CUDA_ERROR_STREAM_CAPTURE"
                          : nullptr;
  return *name == nullptr ? kInvalid : 0;
}

// The kernels of elementwise.cu, one thread after the other.
EXPORT int cuLaunchKernel(void* function, unsigned blocks, unsigned, unsigned, unsigned threads,
                          unsigned, unsigned, unsigned, void* stream, void** v, void** extra) {
  if (const int status = begin("cuLaunchKernel")) return status;
  if (stream == nullptr || extra != nullptr) return kInvalid;
  const long long all = static_cast<long long>(blocks) * threads;
  if (std::strcmp(static_cast<char*>(function), "affine") == 0) {
    float* in = static_cast<float*>(at(value<Pointer>(v[0])));
    float* out = static_cast<float*>(at(value<Pointer>(v[1])));
    const int channels = value<int>(v[2]), length = value<int>(v[3]);
    const long long stride = value<long long>(v[4]);
    const float add = value<float>(v[5]), factor = value<float>(v[6]), shift = value<float>(v[7]);
    if (all < static_cast<long long>(channels) * length) return kInvalid;
    stub_cuda()->queue([=] {
      for (long long i = 0; i < static_cast<long long>(channels) * length; ++i) {
        out[i / length * stride + i % length] = (in[i] + add) * factor + shift;
      }
    });
    return 0;
  }
  float* z = static_cast<float*>(at(value<Pointer>(v[0])));
  const float* velocity = static_cast<float*>(at(value<Pointer>(v[1])));
  const float* null = static_cast<float*>(at(value<Pointer>(v[2])));
  const float weight = value<float>(v[3]), span = value<float>(v[4]);
  const int length = value<int>(v[5]);
  if (all < length) return kInvalid;
  stub_cuda()->queue([=] {
    for (int i = 0; i < length; ++i) {
      float step = velocity[i];
      if (weight != 1.0F) step = null[i] + weight * (step - null[i]);
      z[i] += span * step;
    }
  });
  return 0;
}
