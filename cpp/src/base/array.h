// A tensor on the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/text.h"

namespace lavin::core {

// The product of a shape. BundleError: it is negative somewhere or does not fit 2^40.
std::size_t element_count(const Shape& shape);

// Bytes of one element by numpy's name of the type. BundleError: an unknown type.
std::size_t element_bytes(const std::string& dtype);

// Values of one type in C order, owned. Move-only; `clone` copies.
class Array {
 public:
  Array() = default;
  // Uninitialised values.
  Array(std::string dtype, Shape shape);
  // Float32, uninitialised.
  explicit Array(Shape shape) : Array("float32", std::move(shape)) {}
  static Array zeros(Shape shape);

  const std::string& dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  std::size_t count() const { return count_; }
  std::size_t bytes() const { return bytes_; }
  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  // The values of a float32 array.
  float* floats() { return reinterpret_cast<float*>(data_.get()); }
  const float* floats() const { return reinterpret_cast<const float*>(data_.get()); }
  Array clone() const;
  // Whether dtype, shape and all bytes are equal.
  bool equals(const Array& other) const;

 private:
  std::string dtype_ = "float32";
  Shape shape_ = {0};
  std::size_t count_ = 0;
  std::size_t bytes_ = 0;
  std::unique_ptr<std::byte[]> data_;
};

using Outputs = std::map<std::string, Array>;
using Feed = std::map<std::string, const Array*>;

// Frames first, ... of latents (1, C, T, h, w) float32, `count` of them.
Array frames_of(const Array& latents, std::int64_t first, std::int64_t count);

// Latents (1, C, T1, h, w) and (1, C, T2, h, w) float32, one behind the other along time.
Array join_frames(const Array& left, const Array& right);

}  // namespace lavin::core
