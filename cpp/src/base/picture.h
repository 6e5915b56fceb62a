// Pictures, and the model's pixel range.
#pragma once

#include <cstdint>
#include <vector>

#include "base/array.h"
#include "base/size.h"

namespace lavin::core {

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

// The encoder's input, (1, 3, 1, H, W) float32 in [-1, 1].
Array to_pixels(const Picture& image);

// The decoder's output as a picture: floor(255 * clip(x / 2 + 0.5, 0, 1)).
// WorkError: a value is infinite or not a number.
Picture to_picture(const Array& pixels);

}  // namespace lavin::core
