// An answer as a list of operations on named buffers: what a device does, decided without one.
//
// One program serves one size, number of pairs, time grid and guidance weight. Constants (the rows
// of the folded timestep, the noise, the latents of the pairs) are uploaded once; `once` runs after
// that, `encode`, `sample` and `decode` for every frame. Nothing but the picture goes up and
// nothing but the picture and the latents come back.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "bundle/manifest.h"
#include "device/device.h"

namespace lavin::core {

// Names of buffers.
namespace buffer {
inline constexpr const char* kRows = "rows";
inline constexpr const char* kNoise = "noise";
inline constexpr const char* kLatent = "latent";
inline constexpr const char* kMean = "mean";
inline constexpr const char* kPixels = "pixels";
inline constexpr const char* kAnswer = "answer";
inline constexpr const char* kContext = "context";
inline constexpr const char* kNullContext = "null_context";
inline constexpr const char* kQuery = "query";
inline constexpr const char* kUnscaled = "unscaled";
inline constexpr const char* kVelocity = "velocity";
inline constexpr const char* kNullVelocity = "null_velocity";
}  // namespace buffer

// Bytes from `offset` on in a buffer.
struct Place {
  std::string buffer;
  std::size_t offset = 0;
};
using Places = std::map<std::string, Place>;

// An engine, and where its inputs and outputs are.
struct Run {
  const Graph* graph;
  Places tensors;
};

// A copy of so many bytes.
struct Copy {
  Place target, source;
  std::size_t size;
};

struct Affine {
  Place target, source;
  AffineNumbers numbers;
};

// An Euler step.
struct Update {
  Place z, velocity, null;
  UpdateNumbers numbers;
};

using Operation = std::variant<Run, Copy, Affine, Update>;
using Operations = std::vector<Operation>;

// What a device does for one answer after the other. Graphs are the variant's, which must stay.
struct Program {
  std::map<std::string, std::size_t> buffers;  // bytes of each
  std::vector<float> times;    // whose rows kRows holds; the last is the time of a frozen context
  std::size_t row_stride = 0;  // bytes between rows
  Operations once;             // after the constants are there: what the pairs alone decide
  Operations encode;           // from kPixels to the query's latent
  Operations sample;           // from kNoise to kLatent
  Operations decode;           // from kLatent to kAnswer

  // Every graph that is run, each once.
  std::vector<const Graph*> graphs() const;
  // The buffers one behind the other: each one's offset, and the bytes of all.
  std::pair<std::map<std::string, std::size_t>, std::size_t> offsets() const;
};

// Bytes of a tensor.
std::size_t tensor_bytes(const TensorSpec& tensor);

}  // namespace lavin::core
