// Picture files as lavin-run reads them: PNG, JPEG, BMP, PPM and more in, PNG, JPEG and BMP out.
#pragma once

#include <string>
#include <vector>

#include "lavin/lavin.hpp"

// A picture file's bytes as it is meant to be seen: grey becomes RGB, transparent parts lie on
// white, 16-bit grey is scaled, a JPEG is turned as its EXIF says. `path` names it in the sentences
// of errors, which are std::runtime_error.
lavin::Picture decode_picture(const std::vector<unsigned char>& file, const std::string& path);

// The picture in a file; errors as those of decode_picture.
lavin::Picture read_picture_file(const std::string& path);

// Write a picture in the format of the suffix (.png, .jpg, .jpeg, .bmp), whole or not at all.
// std::runtime_error with a sentence.
void write_picture_file(const std::string& path, const lavin::Picture& picture);

// std::runtime_error with a sentence unless the suffix is one that can be written.
void check_output_name(const std::string& path);
