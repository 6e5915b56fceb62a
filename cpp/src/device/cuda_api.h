// The functions of the CUDA driver that are used, declared here so that no header of CUDA is
// needed. Names are those that libcuda.so.1 exports, whose _v2 entries are what cuda.h makes of the
// plain names. A CUresult, a CUdevice and flags are whole numbers, a CUdeviceptr an Address, the
// rest pointers. Not run on a GPU yet.
#pragma once

#include <cstddef>
#include <string>

#include "device/device.h"

namespace lavin::core {

// FUNCTION(member, exported name, arguments...)
#define LAVIN_CUDA_FUNCTIONS(FUNCTION)                                                          \
  FUNCTION(init, "cuInit", unsigned)                                                            \
  FUNCTION(error_name, "cuGetErrorName", int, const char**)                                     \
  FUNCTION(device_get, "cuDeviceGet", int*, int)                                                \
  FUNCTION(primary_retain, "cuDevicePrimaryCtxRetain", void**, int)                             \
  FUNCTION(set_current, "cuCtxSetCurrent", void*)                                               \
  FUNCTION(stream_create, "cuStreamCreate", void**, unsigned)                                   \
  FUNCTION(stream_destroy, "cuStreamDestroy_v2", void*)                                         \
  FUNCTION(stream_synchronize, "cuStreamSynchronize", void*)                                    \
  FUNCTION(module_load, "cuModuleLoadData", void**, const void*)                                \
  FUNCTION(module_function, "cuModuleGetFunction", void**, void*, const char*)                  \
  FUNCTION(module_unload, "cuModuleUnload", void*)                                              \
  FUNCTION(launch_kernel, "cuLaunchKernel", void*, unsigned, unsigned, unsigned, unsigned,      \
           unsigned, unsigned, unsigned, void*, void**, void**)                                 \
  FUNCTION(memory_allocate, "cuMemAlloc_v2", Address*, std::size_t)                             \
  FUNCTION(memory_free, "cuMemFree_v2", Address)                                                \
  FUNCTION(host_allocate, "cuMemHostAlloc", void**, std::size_t, unsigned)                      \
  FUNCTION(host_free, "cuMemFreeHost", void*)                                                   \
  FUNCTION(copy_up, "cuMemcpyHtoDAsync_v2", Address, const void*, std::size_t, void*)           \
  FUNCTION(copy_down, "cuMemcpyDtoHAsync_v2", void*, Address, std::size_t, void*)               \
  FUNCTION(copy_across, "cuMemcpyDtoDAsync_v2", Address, Address, std::size_t, void*)           \
  FUNCTION(capture_begin, "cuStreamBeginCapture_v2", void*, int)                                \
  FUNCTION(capture_end, "cuStreamEndCapture", void*, void**)                                    \
  FUNCTION(graph_instantiate, "cuGraphInstantiateWithFlags", void**, void*, unsigned long long) \
  FUNCTION(graph_destroy, "cuGraphDestroy", void*)                                              \
  FUNCTION(graph_launch, "cuGraphLaunch", void*, void*)                                         \
  FUNCTION(graph_exec_destroy, "cuGraphExecDestroy", void*)                                     \
  FUNCTION(event_create, "cuEventCreate", void**, unsigned)                                     \
  FUNCTION(event_record, "cuEventRecord", void*, void*)                                         \
  FUNCTION(event_elapsed, "cuEventElapsedTime", float*, void*, void*)                           \
  FUNCTION(event_destroy, "cuEventDestroy_v2", void*)

inline constexpr unsigned kStreamNonBlocking = 1;  // CU_STREAM_NON_BLOCKING
inline constexpr int kCaptureThreadLocal = 1;      // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL

// A function by its name, for messages.
template <typename... Arguments>
struct CudaFunction {
  const char* name;
  int (*call)(Arguments...) = nullptr;
};

// All of them. The library stays loaded for as long as the process lives.
class CudaApi {
 public:
  // InputError: the driver's library is missing or lacks one.
  explicit CudaApi(const std::string& library);

#define LAVIN_CUDA_MEMBER(member, name, ...) CudaFunction<__VA_ARGS__> member{name};
  LAVIN_CUDA_FUNCTIONS(LAVIN_CUDA_MEMBER)
#undef LAVIN_CUDA_MEMBER

  // Call one. WorkError: it failed; the message has the driver's name of the error.
  template <typename... Arguments, typename... Values>
  void ask(const CudaFunction<Arguments...>& function, Values... values) const {
    check(function.name, function.call(values...));
  }
  // WorkError: the status of a function is not success.
  void check(const char* name, int status) const;
};

}  // namespace lavin::core
