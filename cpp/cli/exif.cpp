#include "exif.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>

#include "png_text.h"

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

// A tag of the folder that begins at `folder`: where its value of two or four bytes lies.
std::optional<std::size_t> tag_in(const Reader& tiff, std::size_t folder, unsigned tag) {
  const unsigned count = tiff.half(folder);
  for (unsigned i = 0; i < count; ++i) {
    const std::size_t entry = folder + 2 + std::size_t{12} * i;
    if (entry + 12 > tiff.size()) break;
    if (tiff.half(entry) == tag) return entry + 8;
  }
  return std::nullopt;
}

Reader opened(const unsigned char* data, std::size_t size) {
  Reader tiff(data, size);
  tiff.little = tiff.is(0, "II", 2);
  return tiff;
}

const std::string kExif("Exif\0\0", 6);

// The TIFF structure of the EXIF data, without the name before it; empty where there is none.
Bytes exif_in(const std::vector<Part>& parts) {
  for (const Part& part : parts) {
    if (part.name == "eXIf") return {part.data, part.data + part.size};
    if (part.name == "\xE1" && part.begins(kExif)) {
      return {part.data + kExif.size(), part.data + part.size};
    }
  }
  // "\nexif\n" and a length in a line of its own, then two letters a byte.
  const std::string text = png_text(parts, "Raw profile type exif");
  std::size_t at = 0;
  for (int line = 0; line < 3; ++line) {
    at = text.find('\n', at);
    if (at == std::string::npos) return {};
    ++at;
  }
  Bytes exif;
  int upper = -1;
  for (; at < text.size(); ++at) {
    static const std::string kDigits = "0123456789abcdef";
    const char letter =
        static_cast<char>(text[at] >= 'A' && text[at] <= 'F' ? text[at] | 0x20 : text[at]);
    const std::size_t digit = kDigits.find(letter);
    if (digit == std::string::npos) continue;
    if (upper < 0) {
      upper = static_cast<int>(digit);
    } else {
      exif.push_back(static_cast<unsigned char>(16 * upper + static_cast<int>(digit)));
      upper = -1;
    }
  }
  const bool named =
      exif.size() >= kExif.size() &&
      std::equal(kExif.begin(), kExif.end(), exif.begin(),
                 [](char a, unsigned char b) { return static_cast<unsigned char>(a) == b; });
  if (named) exif.erase(exif.begin(), exif.begin() + static_cast<std::ptrdiff_t>(kExif.size()));
  return exif;
}

// The digit behind tiff:Orientation=" or tiff:Orientation> in XMP.
int xmp_orientation(const std::vector<Part>& parts) {
  const std::string name("http://ns.adobe.com/xap/1.0/\0", 29), tag = "tiff:Orientation";
  std::string xmp = png_text(parts, "XML:com.adobe.xmp");
  for (const Part& part : parts) {
    if (part.name == "\xE1" && part.begins(name)) {
      xmp.assign(part.data + name.size(), part.data + part.size);
    }
  }
  for (std::size_t at = 0; (at = xmp.find(tag, at)) != std::string::npos;) {
    at += tag.size();
    const std::size_t digit = xmp.compare(at, 2, "=\"") == 0 ? at + 2
                              : xmp.compare(at, 1, ">") == 0 ? at + 1
                                                             : xmp.size();
    if (digit < xmp.size() && xmp[digit] >= '0' && xmp[digit] <= '9') return xmp[digit] - '0';
  }
  return 1;
}

}  // namespace

int orientation_of(const Bytes& file) {
  const std::vector<Part> parts = parts_of(file.data(), file.size());
  const Bytes exif = exif_in(parts);
  const Reader tiff = opened(exif.data(), exif.size());
  const auto tag = tag_in(tiff, tiff.word(4), 0x0112);
  const unsigned found = tag ? tiff.half(*tag) : static_cast<unsigned>(xmp_orientation(parts));
  return found >= 1 && found <= 8 ? static_cast<int>(found) : 1;
}

bool says_adobe_rgb(const std::vector<Part>& parts) {
  const Bytes exif = exif_in(parts);
  const Reader tiff = opened(exif.data(), exif.size());
  const auto folder = tag_in(tiff, tiff.word(4), 0x8769);
  if (!folder) return false;
  const std::size_t start = tiff.word(*folder);
  const auto space = tag_in(tiff, start, 0xA001);
  if (!space) return false;
  if (tiff.half(*space) == 2) return true;
  const auto further = tag_in(tiff, start, 0xA005);
  if (tiff.half(*space) != 0xFFFF || !further) return false;
  const auto index = tag_in(tiff, tiff.word(*further), 0x0001);
  return index && tiff.is(*index, "R03", 3);
}
