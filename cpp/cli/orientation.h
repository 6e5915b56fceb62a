// How EXIF data in a JPEG or PNG say that the picture is to be turned.
#pragma once

#include <cstddef>

#include "lavin/lavin.hpp"

// EXIF's orientation 1 to 8; 1, as it is, where a file has none.
int exif_orientation(const unsigned char* file, std::size_t size);

// The picture turned and mirrored by an orientation.
lavin::Picture upright(const lavin::Picture& picture, int orientation);
