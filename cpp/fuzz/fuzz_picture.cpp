// Files that the command line takes for pictures.
#include <stdexcept>

#include "picture_files.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  try {
    std::vector<std::string> notices;
    decode_picture(std::vector<unsigned char>(data, data + size), "it", notices);
  } catch (const std::runtime_error&) {
  }
  return 0;
}
