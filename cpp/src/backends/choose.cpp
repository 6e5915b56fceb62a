#include "backends/choose.h"

#include <filesystem>

#include "backends/onnxruntime.h"
#include "backends/tensorrt.h"
#include "base/errors.h"

namespace lavin::core {

void check_backend_name(const std::string& name) {
  if (name != "auto" && name != "onnxruntime" && name != "tensorrt") {
    throw unknown_name("backend", name, {"auto", "onnxruntime", "tensorrt"});
  }
}

std::unique_ptr<Backend> make_backend(const Bundle& bundle, const BackendChoice& choice) {
  check_backend_name(choice.name);
  const bool automatic = choice.name == "auto";
  std::string reason = "the bundle has no engines";
  std::error_code fault;
  const bool engines = std::filesystem::is_directory(bundle.path() / "engines", fault);
  if (choice.name == "tensorrt" || (automatic && engines)) {
    try {
      auto backend = make_tensorrt(bundle, choice.precision, choice.dialect);
      if (automatic) {
        backend->choice = "backend auto: tensorrt, for the bundle has engines for this GPU";
      }
      return backend;
    } catch (const Error& error) {
      if (!automatic) throw;
      reason = error.what();
    }
  }
  const Variant& variant = bundle.variant(choice.precision, choice.dialect);
  auto backend = make_onnxruntime(bundle, variant, choice.threads, choice.library);
  if (automatic) backend->choice = cat("backend auto: ", backend->describe(), "; ", reason);
  return backend;
}

}  // namespace lavin::core
