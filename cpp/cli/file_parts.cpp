#include "file_parts.h"

#include <algorithm>
#include <cstring>

bool Part::begins(const std::string& text) const {
  return size >= text.size() && std::memcmp(data, text.data(), text.size()) == 0;
}

unsigned Part::half(std::size_t at) const {
  return at + 2 <= size ? data[at] * 256U + data[at + 1] : 0U;
}

unsigned long Part::word(std::size_t at) const {
  return half(at) * 65536UL + half(at + 2);
}

std::vector<Part> parts_of(const unsigned char* file, std::size_t size) {
  const Part whole{"", file, size};
  std::vector<Part> parts;
  if (whole.begins("\x89PNG\r\n\x1a\n")) {
    for (std::size_t at = 8; at + 12 <= size;) {
      const std::size_t length = std::min<std::size_t>(whole.word(at), size - at - 12);
      parts.push_back({{file + at + 4, file + at + 8}, file + at + 8, length});
      at += 12 + length;
    }
  } else if (whole.begins("\xFF\xD8")) {
    std::size_t at = 2;
    while (at + 4 <= size && file[at] == 0xFF && file[at + 1] != 0xDA) {
      if (file[at + 1] == 0xFF) {  // what fills up before a marker
        ++at;
        continue;
      }
      const std::size_t length = std::max(whole.half(at + 2), 2U) - 2U;
      const std::size_t held = std::min(length, size - at - 4);
      parts.push_back({std::string(1, static_cast<char>(file[at + 1])), file + at + 4, held});
      at += 4 + length;
    }
  }
  return parts;
}
