#include "base/picture.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/errors.h"
#include "base/limits.h"

namespace lavin::core {

namespace {

std::size_t checked_bytes(int rows, int columns) {
  const std::int64_t pixels = std::int64_t{rows} * columns;
  if (rows < 0 || columns < 0 || pixels > limits::picture_pixels) {
    throw InputError(cat("a picture of ", rows, "x", columns, " pixels is too large: at most ",
                         limits::picture_pixels, " are taken; scale it down first."));
  }
  return static_cast<std::size_t>(3 * pixels);
}

}  // namespace

Picture::Picture(int rows, int columns)
    : height(rows), width(columns), data(checked_bytes(rows, columns)) {}

Picture::Picture(int rows, int columns, const std::uint8_t* source, std::size_t stride)
    : Picture(rows, columns) {
  for (int y = 0; y < rows; ++y) {
    std::memcpy(row(y), source + static_cast<std::size_t>(y) * stride, row_bytes());
  }
}

Array to_pixels(const Picture& image) {
  Array pixels({1, 3, 1, image.height, image.width});
  const std::size_t plane = pixels.count() / 3;
  for (std::size_t at = 0; at < plane; ++at) {
    for (std::size_t channel = 0; channel < 3; ++channel) {
      const float value = static_cast<float>(image.data[3 * at + channel]);
      pixels.floats()[channel * plane + at] = value / 127.5F - 1.0F;
    }
  }
  return pixels;
}

Picture to_picture(const Array& pixels) {
  const float* values = pixels.floats();
  for (std::size_t at = 0; at < pixels.count(); ++at) {
    if (!std::isfinite(values[at])) {
      throw WorkError(
          "the model's answer holds infinite or undefined values; run it at a higher precision, "
          "e.g. --precision fp32.");
    }
  }
  Picture image(static_cast<int>(pixels.shape()[3]), static_cast<int>(pixels.shape()[4]));
  const std::size_t plane = pixels.count() / 3;
  for (std::size_t at = 0; at < plane; ++at) {
    for (std::size_t channel = 0; channel < 3; ++channel) {
      const float unit = std::clamp(values[channel * plane + at] / 2.0F + 0.5F, 0.0F, 1.0F);
      image.data[3 * at + channel] = static_cast<std::uint8_t>(unit * 255.0F);
    }
  }
  return image;
}

}  // namespace lavin::core
