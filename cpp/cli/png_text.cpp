#include "png_text.h"

#include <algorithm>

#ifdef LAVIN_HAS_PNG
#include <zlib.h>

Bytes inflated(const unsigned char* data, std::size_t size) {
  Bytes held(std::size_t{1} << 24U);  // more than any profile has
  uLongf length = held.size();
  if (uncompress(held.data(), &length, data, static_cast<uLong>(size)) != Z_OK) return {1};
  held.resize(length);
  return held;
}

std::string png_text(const std::vector<Part>& parts, const std::string& name) {
  std::string text;
  for (const Part& part : parts) {
    const bool plain = part.name == "tEXt", packed = part.name == "zTXt";
    const bool wide = part.name == "iTXt";
    if (!(plain || packed || wide) || !part.begins(name) || part.size <= name.size() ||
        part.data[name.size()] != 0) {
      continue;
    }
    const unsigned char* from = part.data + name.size() + 1;
    const unsigned char* end = part.data + part.size;
    bool zipped = packed;
    if (packed) from = std::min(from + 1, end);  // the method, which is zlib's
    if (wide) {  // whether it is packed, the method, a language and the name in it
      zipped = end - from >= 2 && *from == 1;
      from = std::min(from + 2, end);
      for (int i = 0; i < 2; ++i) from = std::min(std::find(from, end, 0) + 1, end);
    }
    if (zipped) {
      const Bytes held = inflated(from, static_cast<std::size_t>(end - from));
      text.assign(held.begin(), held.end());
    } else {
      text.assign(from, end);
    }
  }
  return text;
}
#else
std::string png_text(const std::vector<Part>&, const std::string&) {
  return "";
}
#endif
