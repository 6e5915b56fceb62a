// NVIDIA's library and the logger it wants, for tensorrt_module.cpp alone. Not run on a GPU yet.
#pragma once

#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <exception>
#include <mutex>
#include <string>

#define LAVIN_TEXT_OF(number) #number
#define LAVIN_TEXT(number) LAVIN_TEXT_OF(number)

namespace {

#ifdef TRT_MAJOR_RTX
constexpr const char* kTarget = "tensorrt-rtx";
constexpr int kMajor = TRT_MAJOR_RTX;
constexpr const char* kLibrary = "libtensorrt_rtx.so." LAVIN_TEXT(TRT_MAJOR_RTX);
#else
#ifdef TRT_MAJOR_ENTERPRISE
#define LAVIN_TRT_MAJOR TRT_MAJOR_ENTERPRISE
#else
#define LAVIN_TRT_MAJOR NV_TENSORRT_MAJOR
#endif
static_assert(LAVIN_TRT_MAJOR >= 10, "TensorRT 10.3 or later");
constexpr const char* kTarget = "tensorrt";
constexpr int kMajor = LAVIN_TRT_MAJOR;
constexpr const char* kLibrary = "libnvinfer.so." LAVIN_TEXT(LAVIN_TRT_MAJOR);
#endif

// Keeps the last error, for nothing is printed; called by any thread.
class Logger : public nvinfer1::ILogger {
 public:
  void log(Severity severity, nvinfer1::AsciiChar const* text) noexcept override {
    if (severity > Severity::kERROR || text == nullptr) return;
    try {
      const std::lock_guard<std::mutex> lock(mutex_);
      last_ = text;
    } catch (const std::exception&) {  // an error that cannot be kept is lost
    }
  }

  std::string take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::string text;
    text.swap(last_);
    return text;
  }

 private:
  std::mutex mutex_;
  std::string last_;
};

// NVIDIA's library, opened once a process and never closed.
struct Library {
  std::string version, fault;
  int32_t number = 0;
  void* (*create)(void* logger, int32_t version) = nullptr;

  Library() {
    void* const handle = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      const char* const said = dlerror();
      fault = said == nullptr ? "it cannot be loaded" : said;
      return;
    }
    int32_t parts[4] = {0, 0, 0, 0};
    const char* const names[4] = {"getInferLibMajorVersion", "getInferLibMinorVersion",
                                  "getInferLibPatchVersion", "getInferLibBuildVersion"};
    for (int i = 0; i < 4; ++i) {
      const auto part = reinterpret_cast<int32_t (*)()>(dlsym(handle, names[i]));
      if (part == nullptr && i == 3) break;  // the build alone may be missing
      if (part == nullptr) {
        fault = std::string("it has no ") + names[i];
        return;
      }
      parts[i] = part();
      version += (i == 0 ? "" : ".") + std::to_string(parts[i]);
    }
    const auto lib_version = reinterpret_cast<int32_t (*)()>(dlsym(handle, "getInferLibVersion"));
    create = reinterpret_cast<decltype(create)>(dlsym(handle, "createInferRuntime_INTERNAL"));
    if (create == nullptr || lib_version == nullptr) {
      fault = "it has no createInferRuntime_INTERNAL";
    } else if (parts[0] != kMajor) {
      fault = "it is version " + version;
    } else {
      number = lib_version();
    }
  }
};

const Library& library() {
  static const Library opened;
  return opened;
}

}  // namespace
