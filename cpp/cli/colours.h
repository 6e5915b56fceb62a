// A picture's colours to sRGB, as lavin_deploy/runtime/media/colour_profiles.py has it.
#pragma once

#include <string>

#include "file_parts.h"

enum class Space { grey, wide_grey, rgb, cmyk };  // wide: 16 bits in this machine's order

struct Converted {
  Bytes rgb;           // 3 bytes a pixel
  std::string notice;  // a sentence's end where a profile is of no use, else empty
  std::string fault;   // why the picture is refused, else empty
};

// Converts by what the file says: cICP, an ICC profile, sRGB, gAMA and cHRM, in this order.
//   samples  pixels without transparency, 1, 1 (of 16 bits), 3 or 4 samples each; CMYK 0 for none
Converted to_srgb(const Bytes& file, Space space, const Bytes& samples);
