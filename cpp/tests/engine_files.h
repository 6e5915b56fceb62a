// Engines for tests, as lavin-build writes them.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "base/sha256.h"
#include "base/text.h"
#include "device/engine_store.h"

namespace lavin::core {

inline std::string quoted(const std::string& text) {
  return cat("\"", text, "\"");
}

// Writes an engine below a bundle and returns its folder.
inline std::filesystem::path keep_engine(const std::filesystem::path& bundle, const Identity& its,
                                         const std::string& plan) {
  const std::filesystem::path folder =
      bundle / "engines" / its.library /
      cat(its.graph, ".", its.precision, ".", its.dialect, ".", its.version);
  std::filesystem::create_directories(folder);
  std::string capabilities;
  for (const std::string& each : its.capabilities) {
    capabilities += cat(capabilities.empty() ? "" : ", ", quoted(each));
  }
  const auto flag = [](bool given) { return given ? "true" : "false"; };
  Sha256 digest;
  digest.update(plan.data(), plan.size());
  std::ofstream(folder / "engine.plan", std::ios::binary) << plan;
  std::ofstream(folder / "engine.json")
      << "{\"identity\": {\"graph\": " << quoted(its.graph)
      << ", \"precision\": " << quoted(its.precision) << ", \"dialect\": " << quoted(its.dialect)
      << ", \"onnx\": " << quoted(its.onnx) << ", \"library\": " << quoted(its.library)
      << ", \"version\": " << quoted(its.version) << ", \"options\": {\"capabilities\": ["
      << capabilities
      << "], \"memory\": null, \"version_compatible\": " << flag(its.version_compatible)
      << ", \"hardware_compatible\": " << flag(its.hardware_compatible)
      << ", \"stripped\": " << flag(its.stripped)
      << ", \"refittable\": false}, \"plugins\": null}, \"plan\": {\"size\": " << plan.size()
      << ", \"sha256\": " << quoted(digest.hex()) << "}, \"seconds\": 1.25}\n";
  return folder;
}

// A new empty folder, which goes with this.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "lavin-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code fault;
    std::filesystem::remove_all(path_, fault);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace lavin::core
