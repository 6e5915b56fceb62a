// The fit of pictures into a model's bucket.
#pragma once

#include "base/picture.h"

namespace lavin::core {

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

}  // namespace lavin::core
