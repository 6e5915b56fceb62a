// The parts of PNG and JPEG files beside their pixels: chunks and segments.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

using Bytes = std::vector<unsigned char>;

// One chunk or segment: its name ("iCCP"; of a JPEG the marker as one char, "\xE1"), and where its
// content lies, within the file.
struct Part {
  std::string name;
  const unsigned char* data;
  std::size_t size;
  bool begins(const std::string& text) const;
  unsigned half(std::size_t at) const;  // big-endian; 0 beyond the end
  unsigned long word(std::size_t at) const;
};

// The parts of a PNG up to its end, or of a JPEG up to its first scan; none for other files.
std::vector<Part> parts_of(const unsigned char* file, std::size_t size);
