#include "orientation.h"

#include <algorithm>

lavin::Picture upright(const lavin::Picture& picture, int orientation) {
  if (orientation == 1) return picture;
  const bool turned = orientation >= 5;  // rows become columns
  const std::uint32_t width = picture.width(), height = picture.height();
  lavin::Picture result(turned ? height : width, turned ? width : height);
  const bool from_right =
      orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_below =
      orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  for (std::uint32_t y = 0; y < result.height(); ++y) {
    for (std::uint32_t x = 0; x < result.width(); ++x) {
      std::uint32_t column = turned ? y : x, row = turned ? x : y;
      if (from_right) column = width - 1 - column;
      if (from_below) row = height - 1 - row;
      const std::size_t source = 3 * (std::size_t{row} * width + column);
      std::copy_n(picture.data() + source, 3,
                  result.data() + 3 * (std::size_t{y} * result.width() + x));
    }
  }
  return result;
}
