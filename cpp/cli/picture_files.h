// Picture files as lavin-run reads them: PNG, JPEG and PPM in and out, each where its library was
// found when this was built; PPM always.
#pragma once

#include <string>
#include <vector>

#include "colours.h"
#include "file_parts.h"
#include "lavin/lavin.hpp"

// A picture file's bytes as it is meant to be seen: colours become sRGB by the file's profile, grey
// and CMYK become RGB, transparent parts lie on white, 16-bit grey is scaled, and it is turned as
// its EXIF says. `path` names it in the sentences of errors, which are std::runtime_error, and in
// those added to `notices`.
lavin::Picture decode_picture(const Bytes& file, const std::string& path,
                              std::vector<std::string>& notices);

// The picture in a file, notices on stderr; errors as those of decode_picture.
lavin::Picture read_picture_file(const std::string& path);

// Write a picture in the format of the suffix, whole or not at all. std::runtime_error.
void write_picture_file(const std::string& path, const lavin::Picture& picture);

// std::runtime_error with a sentence unless the suffix is one that can be written.
void check_output_name(const std::string& path);

// A file's samples, or why it is no picture. Sizes are checked before memory is taken.
struct Decoded {
  std::uint32_t width = 0, height = 0;
  Space space = Space::rgb;
  Bytes samples;       // as to_srgb takes them
  Bytes alpha;         // one byte a pixel; empty where nothing is transparent
  std::string fault;   // empty for a good one
  std::string notice;  // a sentence's end, or empty
};

Decoded fault(const std::string& sentence);

// The two formats, in files of their own.
Decoded decode_png(const Bytes& file);
Decoded decode_jpeg(const Bytes& file);
bool write_png(const std::string& path, const lavin::Picture& picture);
bool write_jpeg(const std::string& path, const lavin::Picture& picture);

// "" or the sentence about a picture of too many pixels.
std::string too_large(unsigned long width, unsigned long height);
