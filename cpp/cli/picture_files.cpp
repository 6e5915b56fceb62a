#include "picture_files.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

#include "orientation.h"

#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_MAX_DIMENSIONS 65535
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#include <stb/stb_image.h>
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

namespace {

using Bytes = std::vector<unsigned char>;

constexpr long long kMaxPixels = 89478485;  // beyond it lie decompression bombs

[[noreturn]] void refuse(const std::string& sentence) {
  throw std::runtime_error(sentence);
}

Bytes read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) refuse(path + " does not exist or cannot be read.");
  Bytes content{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (file.bad() || content.empty()) refuse(path + " cannot be read as a picture: it is empty.");
  return content;
}

// A colour on white, as Pillow's alpha_composite has it, in its fixed point.
std::uint8_t on_white(unsigned value, unsigned alpha) {
  if (alpha == 0) return 255;
  const unsigned shown = alpha << 7U, rest = (255U << 7U) - shown;
  const unsigned sum = value * shown + 255U * rest + (0x80U << 7U);
  return static_cast<std::uint8_t>((((sum >> 8U) + sum) >> 8U) >> 7U);
}

template <typename Value>
using Loaded = std::unique_ptr<Value, void (*)(void*)>;

lavin::Picture from_wide_grey(const Bytes& file, int width, int height) {
  int channels = 0;
  const Loaded<stbi_us> grey(stbi_load_16_from_memory(file.data(), static_cast<int>(file.size()),
                                                      &width, &height, &channels, 1),
                             stbi_image_free);
  if (!grey) return {};
  lavin::Picture picture(static_cast<std::uint32_t>(width), static_cast<std::uint32_t>(height));
  for (std::size_t i = 0; i < picture.size() / 3; ++i) {
    const double scaled = std::nearbyint(grey.get()[i] * (255.0 / 65535.0));
    std::fill_n(picture.data() + 3 * i, 3, static_cast<std::uint8_t>(scaled));
  }
  return picture;
}

std::string suffix_of(const std::string& path) {
  const std::size_t dot = path.find_last_of("./");
  std::string suffix = dot == std::string::npos || path[dot] == '/' ? "" : path.substr(dot);
  std::transform(suffix.begin(), suffix.end(), suffix.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return suffix;
}

}  // namespace

lavin::Picture read_picture_file(const std::string& path) {
  return decode_picture(read_file(path), path);
}

lavin::Picture decode_picture(const Bytes& file, const std::string& path) {
  const auto length = static_cast<int>(std::min<std::size_t>(file.size(), 1U << 30U));
  int width = 0, height = 0, channels = 0;
  if (stbi_info_from_memory(file.data(), length, &width, &height, &channels) == 0) {
    refuse(path + " is not a picture (PNG, JPEG, BMP, GIF, PPM, TGA are read).");
  }
  if (static_cast<long long>(width) * height > kMaxPixels) {
    refuse(path + " has more than " + std::to_string(kMaxPixels) +
           " pixels and is taken for a decompression bomb; scale it down first.");
  }
  if (channels == 1 && stbi_is_16_bit_from_memory(file.data(), length) != 0) {
    lavin::Picture picture = from_wide_grey(file, width, height);
    if (picture.size() != 0) return picture;
  }
  const Loaded<stbi_uc> pixels(
      stbi_load_from_memory(file.data(), length, &width, &height, &channels, 4), stbi_image_free);
  if (!pixels) refuse(path + " cannot be read as a picture: " + stbi_failure_reason() + ".");
  lavin::Picture picture(static_cast<std::uint32_t>(width), static_cast<std::uint32_t>(height));
  for (std::size_t i = 0; i < picture.size() / 3; ++i) {
    const stbi_uc* pixel = pixels.get() + 4 * i;
    for (std::size_t c = 0; c < 3; ++c) {
      picture.data()[3 * i + c] = pixel[3] == 255 ? pixel[c] : on_white(pixel[c], pixel[3]);
    }
  }
  return upright(picture, exif_orientation(file.data(), file.size()));
}

void check_output_name(const std::string& path) {
  const std::string suffix = suffix_of(path);
  for (const char* good : {".png", ".jpg", ".jpeg", ".bmp"}) {
    if (suffix == good) return;
  }
  refuse(path + " has no suffix of a picture that can be written; use one of .png, .jpg, .jpeg, " +
         ".bmp.");
}

void write_picture_file(const std::string& path, const lavin::Picture& picture) {
  check_output_name(path);
  const std::string suffix = suffix_of(path), part = path + "." + std::to_string(getpid());
  const int width = static_cast<int>(picture.width()), height = static_cast<int>(picture.height());
  int written = 0;
  if (suffix == ".png") {
    written = stbi_write_png(part.c_str(), width, height, 3, picture.data(), 3 * width);
  } else if (suffix == ".bmp") {
    written = stbi_write_bmp(part.c_str(), width, height, 3, picture.data());
  } else {
    written = stbi_write_jpg(part.c_str(), width, height, 3, picture.data(), 95);
  }
  if (written == 0 || std::rename(part.c_str(), path.c_str()) != 0) {
    std::remove(part.c_str());
    refuse(path + " could not be written; is its folder there, and has the disk room?");
  }
}
