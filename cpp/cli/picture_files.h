// Picture files as lavin-run reads them: PNG, JPEG and PPM in and out, each where its library was
// found when this was built; PPM always.
#pragma once

#include <string>
#include <vector>

#include "lavin/lavin.hpp"

using Bytes = std::vector<unsigned char>;

// A picture file's bytes as it is meant to be seen: grey becomes RGB, transparent parts lie on
// white, 16-bit grey is scaled, a JPEG is turned as its EXIF says. `path` names it in the sentences
// of errors, which are std::runtime_error.
lavin::Picture decode_picture(const Bytes& file, const std::string& path);

// The picture in a file; errors as those of decode_picture.
lavin::Picture read_picture_file(const std::string& path);

// Write a picture in the format of the suffix, whole or not at all. std::runtime_error.
void write_picture_file(const std::string& path, const lavin::Picture& picture);

// std::runtime_error with a sentence unless the suffix is one that can be written.
void check_output_name(const std::string& path);

// Why a file is no picture; empty for a good one. Sizes are checked before memory is taken.
struct Decoded {
  lavin::Picture picture;
  std::string fault;
};

// The two formats, in files of their own.
Decoded decode_png(const Bytes& file);
Decoded decode_jpeg(const Bytes& file);
bool write_png(const std::string& path, const lavin::Picture& picture);
bool write_jpeg(const std::string& path, const lavin::Picture& picture);

// "" or the sentence about a picture of too many pixels.
std::string too_large(unsigned long width, unsigned long height);
