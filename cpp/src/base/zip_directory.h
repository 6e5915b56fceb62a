// The central directory of a zip file, from its bytes.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/zip.h"

namespace lavin::core {

// A little-endian number of 1 to 8 bytes; the text must have them.
inline std::uint64_t little(std::string_view text, std::size_t at, std::size_t bytes) {
  std::uint64_t number = 0;
  for (std::size_t i = bytes; i-- > 0;) {
    number = number << 8 | static_cast<unsigned char>(text[at + i]);
  }
  return number;
}

// Where the directory lies; offsets in it count from `base`.
struct ZipDirectory {
  std::uint64_t start = 0, size = 0, base = 0;
};

// Find it in the last bytes of the file (all of it, or 65,633 of its bytes and more).
// ZipError: there is none.
ZipDirectory find_directory(std::string_view tail, std::uint64_t file_size);

// The entries in the directory's bytes. ZipError: they are damaged.
std::vector<ZipEntry> read_directory(std::string_view directory, std::uint64_t base);

}  // namespace lavin::core
