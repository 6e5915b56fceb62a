#include "runtime/letterbox.h"

#include <algorithm>
#include <cstring>

#include "base/errors.h"

namespace lavin::core {

namespace {

std::string text(Size size) {
  return cat(Shape{size.height, size.width});
}

int rounded_half_up(std::int64_t product, std::int64_t divisor) {
  return static_cast<int>(std::max<std::int64_t>(1, (2 * product + divisor) / (2 * divisor)));
}

// The index that a position outside of [0, length) mirrors, the edge itself repeated.
int mirrored(int at, int length) {
  const int period = 2 * length;
  at %= period;
  if (at < 0) at += period;
  return at < length ? at : period - 1 - at;
}

void require_size(const Picture& image, Size size) {
  if (image.size() != size) {
    throw InputError(cat("expected a picture of ", text(size), " (rows, columns), got ",
                         text(image.size()), "."));
  }
}

}  // namespace

Letterbox::Letterbox(Size source, Size bucket) : source_(source), bucket_(bucket) {
  if (std::min({source.height, source.width, bucket.height, bucket.width}) < 1) {
    throw InputError(cat("cannot fit ", text(source), " into ", text(bucket),
                         ": every side must be 1 or more."));
  }
  const std::int64_t H = source.height, W = source.width, h = bucket.height, w = bucket.width;
  if (W * h >= H * w) {  // wider than the bucket
    inner_ = {rounded_half_up(H * w, W), bucket.width};
  } else {
    inner_ = {bucket.height, rounded_half_up(W * h, H)};
  }
  offset_ = {(bucket.height - inner_.height) / 2, (bucket.width - inner_.width) / 2};
}

Picture Letterbox::forward(const Picture& image) const {
  require_size(image, source_);
  Picture inner = resize_bicubic(image, inner_.height, inner_.width);
  if (inner_ == bucket_) return inner;
  Picture padded(bucket_.height, bucket_.width);
  for (int y = 0; y < bucket_.height; ++y) {
    const std::uint8_t* source = inner.row(mirrored(y - offset_.height, inner_.height));
    std::uint8_t* target = padded.row(y);
    for (int x = 0; x < bucket_.width; ++x) {
      std::memcpy(target + 3 * x, source + 3 * mirrored(x - offset_.width, inner_.width), 3);
    }
  }
  return padded;
}

Picture Letterbox::backward(const Picture& target) const {
  require_size(target, bucket_);
  const Picture inner(inner_.height, inner_.width, target.row(offset_.height) + 3 * offset_.width,
                      target.row_bytes());
  return resize_bicubic(inner, source_.height, source_.width);
}

}  // namespace lavin::core
