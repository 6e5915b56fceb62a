// ONNX Runtime on the CPU.
#pragma once

#include <memory>
#include <string>

#include "backends/backend.h"

namespace lavin::core {

// ONNX Runtime on the CPU; `threads` 0 takes the physical cores.
std::unique_ptr<Backend> make_onnxruntime(const Bundle& bundle, const Variant& variant, int threads,
                                          const std::string& library);

}  // namespace lavin::core
