// Is there a GPU that can run engines? Asked of the driver, before any library is touched.
//
// Lean runtimes of TensorRT hand out pointers that crash the process where there is no driver, so
// nothing of theirs is called before this says yes. Only the driver's own library is loaded.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

namespace lavin::core {

inline constexpr const char* kDriverLibrary = "libcuda.so.1";

// One GPU.
struct Gpu {
  int index = 0;                   // the driver's number of it
  std::string name;                // e.g. "NVIDIA H100"
  std::pair<int, int> capability;  // compute capability, major and minor
  std::size_t memory = 0;          // bytes
  int processors = 0;              // multiprocessors
  std::pair<int, int> driver;      // CUDA version that the driver supports

  // "NVIDIA H100, compute capability 9.0".
  std::string text() const;
};

// The first GPU; `library` is the file of the driver.
// InputError: no driver, one that is too old, no GPU, or one that is too old.
Gpu find_gpu(const std::string& library = kDriverLibrary);

}  // namespace lavin::core
