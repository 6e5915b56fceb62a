// Pictures to scaled latents and back, through a bundle's encoder and decoder.
#pragma once

#include <utility>
#include <vector>

#include "backends/backend.h"

namespace lavin::core {

using Pairs = std::vector<std::pair<Picture, Picture>>;  // input and target

// Encodes and decodes single pictures of one size.
class Codec {
 public:
  Codec(Backend& backend, Size size);
  Size size() const { return size_; }
  // Both graphs.
  std::vector<const Graph*> graphs() const { return {&encoder_, &decoder_}; }
  // The posterior's mean of a picture of the size, scaled: (1, C, 1, h, w) float32.
  Array encode(const Picture& image);
  // Scaled latents (1, C, 1, h, w) as a picture of the size.
  Picture decode(const Array& latents);
  // The first `count` pairs, each picture letterboxed and encoded alone: (1, C, 2 count, h, w),
  // frames in1, tgt1, in2, tgt2, ...
  Array encode_pairs(const Pairs& pairs, int count);

 private:
  Backend& backend_;
  Size size_;
  const Graph& encoder_;
  const Graph& decoder_;
  float shift_, scale_;
};

}  // namespace lavin::core
