// Not run on a GPU yet.
#include "device/tensorrt_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/errors.h"
#include "base/text.h"

namespace lavin::core {

namespace {

namespace fs = std::filesystem;

// TensorRT's parser knows Attention, RMSNormalization and RotaryEmbedding from here on.
constexpr std::pair<long, long> kNativeSince = {10, 15};

constexpr const char* kInstall =
    "install TensorRT of the machine (a Jetson has it from JetPack), and if the system does not "
    "find it, name its folder in LD_LIBRARY_PATH";

// The folder of the file that this code is in: liblavin, or the program it is linked into.
fs::path own_folder() {
  Dl_info info{};
  const auto here = reinterpret_cast<const void*>(&load_library);
  if (dladdr(here, &info) == 0 || info.dli_fname == nullptr) return {};
  std::error_code fault;
  const fs::path file = fs::canonical(info.dli_fname, fault);
  return fault ? fs::path() : file.parent_path();
}

std::string last_fault() {
  const char* const said = dlerror();
  return said == nullptr ? "no reason is given" : said;
}

}  // namespace

std::string Library::dialect() const {
  return dialect_of(target, version);
}

std::string dialect_of(const std::string& target, const std::string& version) {
  char* end = nullptr;
  const long major = std::strtol(version.c_str(), &end, 10);
  const long minor = *end == '.' ? std::strtol(end + 1, nullptr, 10) : 0;
  const bool native = target == "tensorrt-rtx" || std::pair(major, minor) >= kNativeSince;
  return native ? "native" : "portable";
}

const std::vector<std::string>& module_files() {
  static const std::vector<std::string> files = {"liblavin_tensorrt11.so", "liblavin_tensorrt10.so",
                                                 "liblavin_tensorrt_rtx1.so"};
  return files;
}

std::optional<Library> load_library(const std::string& file) {
  const fs::path folder = own_folder();
  std::error_code fault;
  const bool beside = !folder.empty() && fs::exists(folder / file, fault);
  const std::string path = beside ? (folder / file).string() : file;
  void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);  // never closed
  if (handle == nullptr && !beside) return std::nullopt;
  if (handle == nullptr) {
    throw InputError(cat("the module ", file, " cannot be loaded (", last_fault(),
                         "); install liblavin again."));
  }
  const auto entry = reinterpret_cast<LavinTrtEntry>(dlsym(handle, LAVIN_TENSORRT_ENTRY));
  const LavinTrtTable* const table = entry == nullptr ? nullptr : entry(LAVIN_TENSORRT_TABLE);
  if (table == nullptr) {
    throw InputError(
        cat("the module ", file, " belongs to another version of liblavin; install both again."));
  }
  char reason[512] = "";
  const char* version = "";
  if (table->library_version(&version, {reason, sizeof reason}) != LAVIN_TRT_OK) {
    throw InputError(cat(table->target, " needs ", table->library, ", which cannot be loaded (",
                         reason, "); ", kInstall, "."));
  }
  return Library{table->target, version, table};
}

}  // namespace lavin::core
