// ONNX Runtime's C functions, found at run time: no header of it and no link to it is needed.
//
// Its table of functions only ever grows at the end, so that an index means the same function in
// every version; the indices and signatures below are those of onnxruntime_c_api.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace lavin::core {

inline constexpr std::uint32_t kOrtApi = 21;  // ONNX Runtime 1.21

struct OrtEnv;
struct OrtStatus;
struct OrtSession;
struct OrtSessionOptions;
struct OrtValue;
struct OrtMemoryInfo;
struct OrtTypeInfo;
struct OrtTensorInfo;
struct OrtAllocator;
struct OrtRunOptions;

// The functions that are used, by their place in the table.
struct OrtFunctions {
  const char* (*error_message)(const OrtStatus*);
  OrtStatus* (*create_env)(int, const char*, OrtEnv**);
  OrtStatus* (*create_session)(const OrtEnv*, const char*, const OrtSessionOptions*, OrtSession**);
  OrtStatus* (*run)(OrtSession*, const OrtRunOptions*, const char* const*, const OrtValue* const*,
                    std::size_t, const char* const*, std::size_t, OrtValue**);
  OrtStatus* (*create_options)(OrtSessionOptions**);
  OrtStatus* (*set_execution_mode)(OrtSessionOptions*, int);
  OrtStatus* (*no_memory_pattern)(OrtSessionOptions*);
  OrtStatus* (*set_log_severity)(OrtSessionOptions*, int);
  OrtStatus* (*set_optimization)(OrtSessionOptions*, int);
  OrtStatus* (*set_intra_threads)(OrtSessionOptions*, int);
  OrtStatus* (*set_inter_threads)(OrtSessionOptions*, int);
  OrtStatus* (*count[2])(const OrtSession*, std::size_t*);  // of inputs, of outputs
  OrtStatus* (*type_info[2])(const OrtSession*, std::size_t, OrtTypeInfo**);
  OrtStatus* (*name[2])(const OrtSession*, std::size_t, OrtAllocator*, char**);
  OrtStatus* (*create_tensor)(const OrtMemoryInfo*, void*, std::size_t, const std::int64_t*,
                              std::size_t, int, OrtValue**);
  OrtStatus* (*tensor_info)(const OrtTypeInfo*, const OrtTensorInfo**);
  OrtStatus* (*element_type)(const OrtTensorInfo*, int*);
  OrtStatus* (*dimension_count)(const OrtTensorInfo*, std::size_t*);
  OrtStatus* (*dimensions)(const OrtTensorInfo*, std::int64_t*, std::size_t);
  OrtStatus* (*cpu_memory)(int, int, OrtMemoryInfo**);
  OrtStatus* (*free_by)(OrtAllocator*, void*);
  OrtStatus* (*default_allocator)(OrtAllocator**);
  void (*release_env)(OrtEnv*);
  void (*release_status)(OrtStatus*);
  void (*release_memory)(OrtMemoryInfo*);
  void (*release_session)(OrtSession*);
  void (*release_value)(OrtValue*);
  void (*release_type_info)(OrtTypeInfo*);
  void (*release_options)(OrtSessionOptions*);
  OrtStatus* (*add_config)(OrtSessionOptions*, const char*, const char*);
};

// The library, its environment and the memory of tensors on the host.
class OrtLibrary {
 public:
  // Load it: `file`, else what LAVIN_ONNXRUNTIME names, else libonnxruntime.so where the system
  // finds it. InputError: there is none, or it is older than 1.21.
  explicit OrtLibrary(const std::string& file);
  ~OrtLibrary();
  OrtLibrary(const OrtLibrary&) = delete;
  OrtLibrary& operator=(const OrtLibrary&) = delete;

  const OrtFunctions* operator->() const { return &functions_; }
  const std::string& version() const { return version_; }
  const OrtEnv* env() const { return env_; }
  const OrtMemoryInfo* memory() const { return memory_; }
  // The message of a failed call, which is released; "" for success.
  std::string message(OrtStatus* status) const;

 private:
  OrtFunctions functions_{};
  std::string version_;
  OrtEnv* env_ = nullptr;
  OrtMemoryInfo* memory_ = nullptr;
};

// Have the system load ONNX Runtime's library already; whether it can is seen when it is used.
void preload_onnxruntime(const std::string& library);

}  // namespace lavin::core
