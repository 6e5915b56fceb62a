// The engines of a bundle: what an engine is, where it lies, and whether it fits.
//
// engines/LIBRARY/GRAPH.PRECISION.DIALECT.DIGEST/ holds engine.plan and engine.json (its identity,
// size and sha256), as the Python package's lavin-build writes them. They belong to a machine, so
// the manifest does not list them; each is verified when it is loaded.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "bundle/manifest.h"
#include "device/gpu.h"

namespace lavin::core {

// What engine.json says of an engine.
struct Identity {
  std::string graph, precision, dialect;
  std::string onnx;                       // sha256 over the graph's file and its weights'
  std::string library, version;           // that built it
  std::vector<std::string> capabilities;  // compute capabilities "8.9", ..., or "any"
  bool version_compatible = false;        // runs on later versions of the library's major version
  bool hardware_compatible = false;       // runs on all GPUs from Ampere on
  bool stripped = false;                  // without weights
};

// What a runtime needs of an engine.
struct EngineNeeds {
  std::string onnx;              // as the bundle's graph is now
  std::string library, version;  // that will load it
  Gpu gpu;                       // that will run it

  // A sentence for each part of an engine that does not fit; none: it fits.
  std::vector<std::string> differences(const Identity& identity) const;
};

// Name and shape bucket of a graph as a file name: step-128x128-p1, modulation.
std::string graph_label(const Graph& graph);

// A sha256 (hex) over what the manifest says of a graph's file and its weights'.
std::string onnx_digest(const Manifest& manifest, const Variant& variant, const Graph& graph);

// Whether versions are the same. One of them may leave out its last numbers, for TensorRT's Python
// module says 10.3.0 where its library says 10.3.0.26.
bool same_version(const std::string& one, const std::string& other);

// The engines of one bundle in its folder form.
class EngineStore {
 public:
  struct Record {
    std::filesystem::path folder;
    Identity identity;
    FileEntry plan;
  };

  // InputError: the bundle is a zip file.
  EngineStore(std::filesystem::path bundle, const Manifest& manifest);

  // Of every complete engine, by the names of their folders; unreadable ones are passed.
  std::vector<Record> records() const;

  // The bytes of the engine for a graph that fits. BundleError: there is none, or what there is
  // does not fit or is damaged; the message says which part differs and the command that fixes it.
  std::string find(const Variant& variant, const Graph& graph, const EngineNeeds& needs) const;

 private:
  std::filesystem::path bundle_;
  const Manifest& manifest_;
};

}  // namespace lavin::core
