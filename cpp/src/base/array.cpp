#include "base/array.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/errors.h"

namespace lavin::core {
namespace {

constexpr std::int64_t kMostElements = std::int64_t{1} << 40;

// The frames of latents (1, C, T, h, w) float32. WorkError: they are none.
std::int64_t frames_in(const Array& latents) {
  if (latents.dtype() != "float32" || latents.shape().size() != 5 || latents.shape()[0] != 1) {
    throw WorkError(cat("latents are float32 of shape (1, C, T, h, w); these are ", latents.dtype(),
                        " of shape ", latents.shape(), "."));
  }
  return latents.shape()[2];
}

// Values of one frame of one channel.
std::size_t plane(const Array& latents) {
  return element_count({latents.shape()[3], latents.shape()[4]});
}

}  // namespace

std::size_t element_count(const Shape& shape) {
  std::int64_t count = 1;
  for (const std::int64_t side : shape) {
    if (side < 0) throw BundleError(cat("the shape ", shape, " has a negative side."));
    if (side == 0) count = 0;
  }
  for (const std::int64_t side : shape) {
    if (count > 0 && side > kMostElements / count) {
      throw BundleError(cat("the shape ", shape, " has more than 2^40 elements."));
    }
    count = count > 0 ? count * side : 0;
  }
  return static_cast<std::size_t>(count);
}

std::size_t element_bytes(const std::string& dtype) {
  static const std::map<std::string, std::size_t> kBytes = {
      {"bool", 1},    {"int8", 1},   {"uint8", 1},  {"int16", 2},   {"uint16", 2},
      {"float16", 2}, {"int32", 4},  {"uint32", 4}, {"float32", 4}, {"bfloat16", 2},
      {"int64", 8},   {"uint64", 8}, {"float64", 8}};
  const auto entry = kBytes.find(dtype);
  if (entry == kBytes.end()) throw BundleError(cat("the type ", in_quotes(dtype), " is unknown."));
  return entry->second;
}

Array::Array(std::string dtype, Shape shape)
    : dtype_(std::move(dtype)),
      shape_(std::move(shape)),
      count_(element_count(shape_)),
      bytes_(count_ * element_bytes(dtype_)),
      data_(new std::byte[bytes_]) {}

Array Array::zeros(Shape shape) {
  Array array(std::move(shape));
  std::fill_n(array.data(), array.bytes(), std::byte{0});
  return array;
}

Array Array::clone() const {
  Array copy(dtype_, shape_);
  std::copy_n(data(), bytes_, copy.data());
  return copy;
}

bool Array::equals(const Array& other) const {
  return dtype_ == other.dtype_ && shape_ == other.shape_ &&
         std::equal(data(), data() + bytes_, other.data());
}

Array frames_of(const Array& latents, std::int64_t first, std::int64_t count) {
  const std::int64_t frames = frames_in(latents);
  if (first < 0 || count < 0 || first > frames || count > frames - first) {
    throw WorkError(cat("latents of ", frames, " frames have no ", count, " from ", first, " on."));
  }
  Shape shape = latents.shape();
  shape[2] = count;
  Array part(shape);
  const std::size_t size = plane(latents);
  const std::size_t taken = static_cast<std::size_t>(count) * size;
  const std::size_t stride = static_cast<std::size_t>(frames) * size;
  const float* from = latents.floats() + static_cast<std::size_t>(first) * size;
  for (std::int64_t channel = 0; channel < shape[1]; ++channel) {
    const auto at = static_cast<std::size_t>(channel);
    std::copy_n(from + at * stride, taken, part.floats() + at * taken);
  }
  return part;
}

Array join_frames(const Array& left, const Array& right) {
  Shape shape = left.shape();
  const std::int64_t frames = frames_in(left) + frames_in(right);
  shape[2] = right.shape()[2];
  if (shape != right.shape()) {
    throw WorkError(
        cat("latents of shape ", left.shape(), " and ", right.shape(), " cannot be joined."));
  }
  shape[2] = frames;
  Array joined(shape);
  float* to = joined.floats();
  for (std::int64_t channel = 0; channel < shape[1]; ++channel) {
    for (const Array* part : {&left, &right}) {
      const std::size_t size = static_cast<std::size_t>(part->shape()[2]) * plane(*part);
      to = std::copy_n(part->floats() + static_cast<std::size_t>(channel) * size, size, to);
    }
  }
  return joined;
}

}  // namespace lavin::core
