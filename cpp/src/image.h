// Pictures: the fit into a model's bucket, and the model's pixel range.
#pragma once

#include <cstdint>
#include <vector>

#include "array.h"
#include "manifest.h"

namespace lavin::core {

inline constexpr std::uint64_t kMaxPixels = 89478485;  // Pillow's limit for decompression bombs

// (height, width, 3) uint8 RGB, rows from the top.
struct Picture {
  int height = 0;
  int width = 0;
  std::vector<std::uint8_t> data;

  Picture() = default;
  Picture(int rows, int columns);
  // A copy of rows that lie `stride` bytes apart.
  Picture(int rows, int columns, const std::uint8_t* source, std::size_t stride);
  Size size() const { return {height, width}; }
  std::size_t row_bytes() const { return 3 * static_cast<std::size_t>(width); }
  std::uint8_t* row(int y) { return data.data() + static_cast<std::size_t>(y) * row_bytes(); }
  const std::uint8_t* row(int y) const {
    return data.data() + static_cast<std::size_t>(y) * row_bytes();
  }
};

// Pillow's antialiased BICUBIC (a = -0.5) on uint8, bit for bit.
Picture resize_bicubic(const Picture& image, int rows, int columns);

// The fit of a picture of any size into a bucket, padded by mirroring, and the way back.
class Letterbox {
 public:
  Letterbox(Size source, Size bucket);
  // Rows and columns of the picture inside the bucket; rounded half up.
  Size inner() const { return inner_; }
  // Rows above and columns to the left of it.
  Size offset() const { return offset_; }
  Picture forward(const Picture& image) const;
  Picture backward(const Picture& target) const;

 private:
  Size source_, bucket_, inner_, offset_;
};

// The encoder's input, (1, 3, 1, H, W) float32 in [-1, 1].
Array to_pixels(const Picture& image);

// The decoder's output as a picture: floor(255 * clip(x / 2 + 0.5, 0, 1)).
// WorkError: a value is infinite or not a number.
Picture to_picture(const Array& pixels);

}  // namespace lavin::core
