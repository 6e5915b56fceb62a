#include "support.h"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "backends/onnxruntime_library.h"
#include "base/sha256.h"

namespace lavin::core {

std::string golden(const std::string& name) {
  return std::string(LAVIN_TEST_DATA) + "/" + name;
}

const Json& host_vectors() {
  static const Json json = [] {
    std::ifstream file(golden("host.json"));
    const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    return parse_json(text, "host.json");
  }();
  return json;
}

Picture made_picture(int height, int width, std::uint64_t seed) {
  Picture picture(height, width);
  for (std::uint64_t i = 0; i < picture.data.size(); ++i) {
    const std::uint64_t word = (i * 2654435761U + seed * 40503U) & 0xffffffffU;
    picture.data[i] = static_cast<std::uint8_t>(word >> 24U);
  }
  return picture;
}

std::string digest(const void* data, std::size_t size) {
  Sha256 sha;
  sha.update(data, size);
  return sha.hex();
}

bool has_onnxruntime() {
  static const bool there = sentence_of([] { OrtLibrary(""); }).empty();
  return there;
}

std::string sentence_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

Array floats(Shape shape, const std::vector<float>& values) {
  Array array(std::move(shape));
  EXPECT_EQ(array.count(), values.size());
  std::memcpy(array.data(), values.data(), array.bytes());
  return array;
}

std::vector<float> values_of(const Array& array) {
  return {array.floats(), array.floats() + array.count()};
}

}  // namespace lavin::core
