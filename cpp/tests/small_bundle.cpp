#include "small_bundle.h"

#include "support.h"

namespace lavin::core {

Files small_files() {
  Files files;
  for (const char* path :
       {"graphs/encoder.onnx", "graphs/modulation.onnx", "graphs/step.onnx", "graphs/fp32.weights",
        "tables/modulation.npy", "tasks/depth/task.json"}) {
    files[path] = std::string("what is in ") + path;
  }
  return files;
}

nlohmann::ordered_json small_manifest(const Files& files) {
  auto manifest = nlohmann::ordered_json::parse(R"({
    "format_version": 1, "name": "small", "created_by": "a test", "licence": "MIT",
    "source": {"kind": "trained", "sha256": "00"}, "model": {"any": [1]},
    "latent": {"shift": 0.5, "scale": 2},
    "time": {"kind": "uniform", "default_grid": [0, 0.5, 1]},
    "defaults": {"steps": 2, "precision": "fp32", "pairs": 1, "size": [16, 32]},
    "buckets": [{"height": 16, "width": 16, "pairs": 2}, {"height": 16, "width": 32, "pairs": 2},
                {"height": 16, "width": 32, "pairs": 1}],
    "variants": [{
      "precision": "fp32", "dialect": "native", "context": "frozen",
      "refresh": {"every": 3, "error": {"3": 0.01}},
      "stream": {"chunk": 2, "frames": [8], "encoder": {"l2": 0, "max": 0},
                 "decoder": {"l2": 0, "max": 0}},
      "weights": ["graphs/fp32.weights"], "islands": ["norm"],
      "graphs": [
        {"name": "encoder", "height": 16, "width": 32, "file": "graphs/encoder.onnx",
         "inputs": [{"name": "pixels", "dtype": "float32", "shape": [1, 3, 1, 16, 32]}],
         "outputs": [{"name": "mean", "dtype": "float32", "shape": [1, 16, 1, 2, 4]}]},
        {"name": "step", "height": 16, "width": 32, "pairs": 1, "frames": null,
         "file": "graphs/step.onnx", "inputs": [], "outputs": []},
        {"name": "modulation", "file": "graphs/modulation.onnx", "inputs": [], "outputs": []}]}],
    "tables": {"modulation": {"file": "tables/modulation.npy", "grid": [0, 1]}},
    "tasks": [{"name": "depth", "file": "tasks/depth/task.json"}],
    "validation": {"depth": {"folder": "validation/depth", "samples": 4}},
    "later_versions_may_add": {"keys": true}, "files": {}})");
  for (const auto& [path, content] : files) {
    manifest["files"][path] = {{"size", content.size()},
                               {"sha256", digest(content.data(), content.size())}};
  }
  return manifest;
}

}  // namespace lavin::core
