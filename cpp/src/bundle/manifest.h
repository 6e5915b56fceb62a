// What manifest.json of a bundle says; the Python package's bundle/manifest.py is the
// specification.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/size.h"
#include "base/text.h"

namespace lavin::core {

inline constexpr int kFormatVersion = 1;
inline constexpr const char* kManifest = "manifest.json";

// One input or output of a graph.
struct TensorSpec {
  std::string name;
  std::string dtype;  // numpy's name
  Shape shape;        // static
};

// "'latent' float32 (1, 16, 1, 4, 4), 't' float32 (1)", for messages.
std::string listed(const std::vector<TensorSpec>& tensors);

// Whether two sets of tensors are equal, in whatever order.
bool same_tensors(std::vector<TensorSpec> mine, std::vector<TensorSpec> its);

// One ONNX file of a variant.
struct Graph {
  std::string name;
  std::optional<int> height, width, pairs, frames;
  std::string file;
  std::vector<TensorSpec> inputs, outputs;
};

// What a step takes of its context: its latents (joint), keys and values that a whole step gives
// now and then (refresh), or those of the pairs once for a task and of the query once for a frame
// (frozen); with merged pairs the query itself in place of its keys and values (merged).
enum class ContextKind { kJoint, kRefresh, kFrozen, kMerged };

// All graphs of one precision and dialect.
struct Variant {
  std::string precision, dialect, context = "joint", pairing = "sequence";
  std::optional<int> refresh_every;  // of a joint model whose keys and values are kept for steps
  std::vector<std::string> weights;
  std::vector<Graph> graphs;

  ContextKind context_kind() const;

  // BundleError: there is none of that name, size and number of pairs, or there are several.
  const Graph& graph(std::string_view name, std::optional<Size> size = {},
                     std::optional<int> pairs = {}) const;
};

struct Bucket {
  int height, width, pairs;
};

// scaled = (mean - shift) * scale; one cell covers downsample^2 pixels.
struct Latent {
  double shift = 0, scale = 1;
  int channels = 16, downsample = 8;
};

struct Defaults {
  int steps = 1;
  double guidance = 1;
  std::string precision;
  int pairs = 1;
  Size size;
};

// A float32 .npy whose row i belongs to time grid[i].
struct Table {
  std::string file;
  std::vector<double> grid;
};

struct TaskEntry {
  std::string name, file;
};

struct FileEntry {
  std::uint64_t size = 0;
  std::string sha256;
};

struct Manifest {
  std::string name, licence;
  Latent latent;
  std::string time_kind;  // "linear-quadratic" or "uniform"
  std::vector<double> default_grid;
  Defaults defaults;
  std::vector<Bucket> buckets;
  std::vector<Variant> variants;
  std::map<std::string, Table> tables;
  std::vector<TaskEntry> tasks;
  std::map<std::string, FileEntry> files;

  // BundleError: it is not JSON, of another format, incomplete or contradicts itself.
  static Manifest from_text(std::string_view text);

  // The sizes there are buckets for, the default first.
  std::vector<Size> sizes() const;
  // The numbers of pairs there are buckets for at one size, ascending.
  std::vector<int> pairs_at(Size size) const;
};

// (1, C, 1, h/8, w/8), the latent of one picture.
Shape latent_shape(const Manifest& manifest, Size size);

}  // namespace lavin::core
