#include "backends/onnxruntime_library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <mutex>
#include <vector>

#include "base/errors.h"
#include "base/text.h"

namespace lavin::core {

namespace {

struct OrtApiBase {
  const void* (*get_api)(std::uint32_t version);
  const char* (*version)();
};

// Open the library and leave it open: its thread pools outlive any one model. It sends telemetry
// unless this variable stands in the environment when it loads; what the user set there holds.
void* open_library(const std::string& path) {
  const char* named = std::getenv("LAVIN_ONNXRUNTIME");
  std::vector<std::string> files = {"libonnxruntime.so.1", "libonnxruntime.so"};
  if (!path.empty()) {
    files = {path};
  } else if (named != nullptr && *named != '\0') {
    files = {named};
  }
  static std::once_flag once;
  std::call_once(once, [] { setenv("ORT_DISABLE_TELEMETRY", "1", /*overwrite=*/0); });
  std::string fault;
  for (const std::string& file : files) {
    if (void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
    if (fault.empty()) fault = dlerror();
  }
  throw InputError(cat(
      "the back end 'onnxruntime' needs ONNX Runtime's shared library, which cannot be loaded (",
      fault,
      "); install onnxruntime (the Python package carries it as "
      "onnxruntime/capi/libonnxruntime.so.*) and name the file in LAVIN_ONNXRUNTIME."));
}

template <typename Function>
void take(Function& function, const void* table, std::size_t index) {
  function = reinterpret_cast<Function>(static_cast<void* const*>(table)[index]);
}

OrtFunctions read_table(const void* table) {
  OrtFunctions f{};
  take(f.error_message, table, 2);
  take(f.create_env, table, 3);
  take(f.create_session, table, 7);
  take(f.run, table, 9);
  take(f.create_options, table, 10);
  take(f.set_execution_mode, table, 13);
  take(f.no_memory_pattern, table, 17);
  take(f.set_log_severity, table, 22);
  take(f.set_optimization, table, 23);
  take(f.set_intra_threads, table, 24);
  take(f.set_inter_threads, table, 25);
  take(f.count[0], table, 30);
  take(f.count[1], table, 31);
  take(f.type_info[0], table, 33);
  take(f.type_info[1], table, 34);
  take(f.name[0], table, 36);
  take(f.name[1], table, 37);
  take(f.create_tensor, table, 49);
  take(f.tensor_info, table, 55);
  take(f.element_type, table, 60);
  take(f.dimension_count, table, 61);
  take(f.dimensions, table, 62);
  take(f.cpu_memory, table, 69);
  take(f.free_by, table, 76);
  take(f.default_allocator, table, 78);
  take(f.release_env, table, 92);
  take(f.release_status, table, 93);
  take(f.release_memory, table, 94);
  take(f.release_session, table, 95);
  take(f.release_value, table, 96);
  take(f.release_type_info, table, 98);
  take(f.release_options, table, 100);
  take(f.add_config, table, 130);
  return f;
}

}  // namespace

void preload_onnxruntime(const std::string& library) {
  try {
    open_library(library);
  } catch (const Error&) {
    // Who needs it says so.
  }
}

OrtLibrary::OrtLibrary(const std::string& file) {
  void* library = open_library(file);
  using GetBase = const OrtApiBase* (*)();
  const auto get_base = reinterpret_cast<GetBase>(dlsym(library, "OrtGetApiBase"));
  if (get_base == nullptr) {
    throw InputError(cat("the library ", in_quotes(file),
                         " is not ONNX Runtime: it has no OrtGetApiBase; name the right file."));
  }
  const OrtApiBase* base = get_base();
  version_ = base->version();
  const std::size_t dot = version_.find('.');
  const int minor = dot == std::string::npos ? 0 : std::atoi(version_.c_str() + dot + 1);
  const bool old = std::atoi(version_.c_str()) == 1 && minor < static_cast<int>(kOrtApi);
  const void* table = old ? nullptr : base->get_api(kOrtApi);  // it prints where it is too old
  if (table == nullptr) {
    throw InputError(cat("ONNX Runtime ", version_, " is too old; 1.", kOrtApi,
                         " or later is needed: update it."));
  }
  functions_ = read_table(table);
  constexpr int kFatal = 4, kDeviceAllocator = 0, kDefaultMemory = 0;  // nothing else is printed
  std::string fault = message(functions_.create_env(kFatal, "lavin", &env_));
  if (fault.empty()) {
    fault = message(functions_.cpu_memory(kDeviceAllocator, kDefaultMemory, &memory_));
  }
  if (!fault.empty()) {
    if (env_ != nullptr) functions_.release_env(env_);
    throw WorkError(cat("onnxruntime ", version_, " cannot start: ", fault));
  }
}

OrtLibrary::~OrtLibrary() {
  functions_.release_memory(memory_);
  functions_.release_env(env_);
}

std::string OrtLibrary::message(OrtStatus* status) const {
  if (status == nullptr) return "";
  std::string text = functions_.error_message(status);
  functions_.release_status(status);
  return text.empty() ? "unknown error" : text;
}

}  // namespace lavin::core
