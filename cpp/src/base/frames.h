// What answers pictures, on the host or on a device.
#pragma once

#include <functional>

#include "base/array.h"
#include "base/picture.h"

namespace lavin::core {

// The modulation row of a time in [0, 1], (1, R) float32; it stays until the answers end.
using RowOf = std::function<const Array&(float)>;

// Seconds of the stages of one answer.
struct Seconds {
  double setup = 0, preprocess = 0, encode = 0, sample = 0, decode = 0, postprocess = 0;
};

// Answers pictures of one size at fixed settings.
class Frames {
 public:
  virtual ~Frames() = default;
  // The latents (1, C, 1, h, w) float32 scaled and the target of a picture of the size; sets
  // encode, sample and decode of `seconds`.
  virtual Array answer(const Picture& picture, Picture& target, Seconds& seconds) = 0;
};

}  // namespace lavin::core
