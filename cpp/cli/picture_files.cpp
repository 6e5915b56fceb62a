#include "picture_files.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>

#include "base/limits.h"
#include "exif.h"
#include "orientation.h"

namespace {

[[noreturn]] void refuse(const std::string& sentence) {
  throw std::runtime_error(sentence);
}

#ifdef LAVIN_HAS_PNG
constexpr bool kPng = true;
#else
constexpr bool kPng = false;
#endif
#ifdef LAVIN_HAS_JPEG
constexpr bool kJpeg = true;
#else
constexpr bool kJpeg = false;
#endif

std::string formats() {
  return std::string(kPng ? "PNG, " : "") + (kJpeg ? "JPEG, " : "") + "PPM";
}

std::string suffixes() {
  return std::string(kPng ? ".png, " : "") + (kJpeg ? ".jpg, .jpeg, " : "") + ".ppm";
}

bool begins_with(const Bytes& file, const char* text) {
  const std::size_t length = std::strlen(text);
  return file.size() >= length && std::memcmp(file.data(), text, length) == 0;
}

// A binary PPM, 8 bits a channel.
Decoded decode_ppm(const Bytes& file) {
  std::size_t at = 2;
  unsigned long numbers[3] = {};
  for (unsigned long& number : numbers) {
    for (bool comment = false; at < file.size(); ++at) {
      comment = comment ? file[at] != '\n' : file[at] == '#';
      if (!comment && std::isspace(file[at]) == 0) break;
    }
    for (; at < file.size() && std::isdigit(file[at]) != 0; ++at) {
      number = std::min(10 * number + (file[at] - '0'), 1000000UL);
    }
  }
  const auto [width, height, top] = numbers;
  ++at;  // the one space before the pixels
  if (width < 1 || height < 1 || top != 255) return fault("its header is no 8-bit PPM's");
  if (width > 65535 || height > 65535) return fault("it has more than 65535 pixels a side");
  if (!too_large(width, height).empty()) return fault(too_large(width, height));
  if (file.size() < at || file.size() - at < 3 * width * height) {
    return fault("it ends before its last pixel");
  }
  Decoded decoded;
  decoded.width = static_cast<std::uint32_t>(width);
  decoded.height = static_cast<std::uint32_t>(height);
  const unsigned char* pixels = file.data() + at;
  decoded.samples.assign(pixels, pixels + 3 * width * height);
  return decoded;
}

bool write_ppm(const std::string& path, const lavin::Picture& picture) {
  std::ofstream file(path, std::ios::binary);
  file << "P6\n" << picture.width() << " " << picture.height() << "\n255\n";
  file.write(reinterpret_cast<const char*>(picture.data()),
             static_cast<std::streamsize>(picture.size()));
  return static_cast<bool>(file.flush());
}

Decoded decode(const Bytes& file) {
  if (begins_with(file, "P6")) return decode_ppm(file);
#ifdef LAVIN_HAS_PNG
  if (begins_with(file, "\x89PNG")) return decode_png(file);
#endif
#ifdef LAVIN_HAS_JPEG
  if (begins_with(file, "\xff\xd8")) return decode_jpeg(file);
#endif
  return fault("-");
}

// A colour on white, as Pillow's alpha_composite has it, in its fixed point.
std::uint8_t on_white(unsigned value, unsigned alpha) {
  if (alpha == 0) return 255;
  if (alpha == 255) return static_cast<std::uint8_t>(value);
  const unsigned shown = alpha << 7U, rest = (255U << 7U) - shown;
  const unsigned sum = value * shown + 255U * rest + (0x80U << 7U);
  return static_cast<std::uint8_t>((((sum >> 8U) + sum) >> 8U) >> 7U);
}

bool write([[maybe_unused]] const std::string& suffix, const std::string& path,
           const lavin::Picture& picture) {
#ifdef LAVIN_HAS_PNG
  if (suffix == ".png") return write_png(path, picture);
#endif
#ifdef LAVIN_HAS_JPEG
  if (suffix == ".jpg" || suffix == ".jpeg") return write_jpeg(path, picture);
#endif
  return write_ppm(path, picture);
}

std::string suffix_of(const std::string& path) {
  const std::size_t dot = path.find_last_of("./");
  std::string suffix = dot == std::string::npos || path[dot] == '/' ? "" : path.substr(dot);
  std::transform(suffix.begin(), suffix.end(), suffix.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return suffix;
}

}  // namespace

std::string too_large(unsigned long width, unsigned long height) {
  constexpr unsigned long kMost = lavin::core::limits::picture_pixels;
  if (width <= kMost / height) return "";
  return "it has more than " + std::to_string(kMost) +
         " pixels and is taken for a decompression bomb; scale it down first";
}

Decoded fault(const std::string& sentence) {
  Decoded decoded;
  decoded.fault = sentence;
  return decoded;
}

lavin::Picture decode_picture(const Bytes& file, const std::string& path,
                              std::vector<std::string>& notices) {
  const Decoded decoded = decode(file);
  if (decoded.fault == "-") refuse(path + " is not a picture (" + formats() + " are read).");
  if (!decoded.fault.empty()) refuse(path + " cannot be read as a picture: " + decoded.fault + ".");
  if (!decoded.notice.empty()) notices.push_back(path + " " + decoded.notice + ".");
  const Converted converted = to_srgb(file, decoded.space, decoded.samples);
  if (!converted.fault.empty()) refuse(path + " cannot be read: " + converted.fault + ".");
  if (!converted.notice.empty()) notices.push_back(path + ": " + converted.notice + ".");
  lavin::Picture picture(decoded.width, decoded.height);
  std::copy(converted.rgb.begin(), converted.rgb.end(), picture.data());
  for (std::size_t i = 0; i < 3 * decoded.alpha.size(); ++i) {
    picture.data()[i] = on_white(picture.data()[i], decoded.alpha[i / 3]);
  }
  return upright(picture, orientation_of(file));
}

lavin::Picture read_picture_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) refuse(path + " does not exist or cannot be read.");
  std::vector<std::string> notices;
  const lavin::Picture picture = decode_picture(
      {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()}, path, notices);
  for (const std::string& notice : notices) std::cerr << notice << "\n";
  return picture;
}

void check_output_name(const std::string& path) {
  const std::string suffix = suffix_of(path);
  if (suffix == ".ppm" || (kPng && suffix == ".png")) return;
  if (kJpeg && (suffix == ".jpg" || suffix == ".jpeg")) return;
  refuse(path + " has no suffix of a picture that can be written; use one of " + suffixes() + ".");
}

void write_picture_file(const std::string& path, const lavin::Picture& picture) {
  check_output_name(path);
  const std::string part = path + "." + std::to_string(getpid());
  if (!write(suffix_of(path), part, picture) || std::rename(part.c_str(), path.c_str()) != 0) {
    std::remove(part.c_str());
    throw lavin::Error(
        LAVIN_FAILED,
        (path + " could not be written; is its folder there, and has the disk room?").c_str());
  }
}
