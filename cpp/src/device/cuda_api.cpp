// Not run on a GPU yet.
#include "device/cuda_api.h"

#include <dlfcn.h>

#include "base/errors.h"
#include "base/text.h"

namespace lavin::core {

namespace {

template <typename... Arguments>
void find(void* library, CudaFunction<Arguments...>& function) {
  void* const symbol = dlsym(library, function.name);
  if (symbol == nullptr) {
    throw InputError(cat("the NVIDIA driver has no ", function.name,
                         "; it is a stub or too old: install the driver of the GPU."));
  }
  function.call = reinterpret_cast<int (*)(Arguments...)>(symbol);
}

}  // namespace

CudaApi::CudaApi(const std::string& library) {
  void* const handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    throw InputError(cat("the NVIDIA driver's library ", library, " cannot be loaded."));
  }
#define LAVIN_CUDA_FIND(member, ...) find(handle, member);
  LAVIN_CUDA_FUNCTIONS(LAVIN_CUDA_FIND)
#undef LAVIN_CUDA_FIND
}

void CudaApi::check(const char* name, int status) const {
  if (status == 0) return;
  const char* text = nullptr;
  const bool named = error_name.call(status, &text) == 0 && text != nullptr;
  throw WorkError(cat(
      name, " failed on the GPU: ", named ? text : "CUDA error " + std::to_string(status), "."));
}

}  // namespace lavin::core
