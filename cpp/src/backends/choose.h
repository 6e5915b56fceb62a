// Which back end runs a bundle.
#pragma once

#include <memory>
#include <string>

#include "backends/backend.h"

namespace lavin::core {

// How a caller wants a bundle to run.
struct BackendChoice {
  std::string name = "auto";  // "auto", "onnxruntime" or "tensorrt"
  std::string precision, dialect, library;
  int threads = 0;
};

// InputError: `name` is none of a back end.
void check_backend_name(const std::string& name);

// The back end of that name, ready; with "auto", TensorRT where the bundle has engines and this
// machine runs them, else ONNX Runtime.
std::unique_ptr<Backend> make_backend(const Bundle& bundle, const BackendChoice& choice);

}  // namespace lavin::core
