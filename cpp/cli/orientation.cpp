#include "orientation.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "file_parts.h"

namespace {

// Numbers of a file, never beyond its end; what lies there reads as 0.
class Reader {
 public:
  Reader(const unsigned char* data, std::size_t size) : data_(data), size_(size) {}
  bool little = false;
  std::size_t size() const { return size_; }
  unsigned byte(std::size_t at) const { return at < size_ ? data_[at] : 0U; }
  unsigned half(std::size_t at) const {
    return little ? byte(at) | byte(at + 1) << 8U : byte(at) << 8U | byte(at + 1);
  }
  unsigned word(std::size_t at) const {
    return little ? half(at) | half(at + 2) << 16U : half(at) << 16U | half(at + 2);
  }
  bool is(std::size_t at, const char* text, std::size_t length) const {
    return at + length <= size_ && std::memcmp(data_ + at, text, length) == 0;
  }

 private:
  const unsigned char* data_;
  std::size_t size_;
};

// The orientation in the TIFF structure that begins at `start`.
int tiff_orientation(Reader file, std::size_t start) {
  file.little = file.is(start, "II", 2);
  const std::size_t entries = start + file.word(start + 4);
  const unsigned count = file.half(entries);
  for (unsigned i = 0; i < count; ++i) {
    const std::size_t entry = entries + 2 + std::size_t{12} * i;
    if (entry + 12 > file.size()) break;
    if (file.half(entry) == 0x0112U) {
      const unsigned found = file.half(entry + 8);
      return found >= 1 && found <= 8 ? static_cast<int>(found) : 1;
    }
  }
  return 1;
}

}  // namespace

int exif_orientation(const unsigned char* data, std::size_t size) {
  const std::string exif("Exif\0\0", 6);
  for (const Part& part : parts_of(data, size)) {
    if (part.name == "eXIf") return tiff_orientation({part.data, part.size}, 0);
    if (part.name == "\xE1" && part.begins(exif)) {
      return tiff_orientation({part.data, part.size}, exif.size());
    }
  }
  return 1;
}

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
