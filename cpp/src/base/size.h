// The size of a picture.
#pragma once

#include <utility>

namespace lavin::core {

// Height and width in pixels.
struct Size {
  int height = 0;
  int width = 0;
  bool operator==(const Size& other) const {
    return height == other.height && width == other.width;
  }
  bool operator!=(const Size& other) const { return !(*this == other); }
  bool operator<(const Size& other) const {
    return std::pair(height, width) < std::pair(other.height, other.width);
  }
};

}  // namespace lavin::core
