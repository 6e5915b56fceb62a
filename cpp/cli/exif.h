// What EXIF and XMP data in a JPEG or PNG say of the picture.
#pragma once

#include <vector>

#include "file_parts.h"

// The orientation 1 to 8, by EXIF or, where that has none, by XMP; 1, as it is, where a file says
// nothing.
int orientation_of(const Bytes& file);

// Whether EXIF among a file's parts says that the colours are Adobe RGB (1998), as cameras do
// without a profile.
bool says_adobe_rgb(const std::vector<Part>& parts);
