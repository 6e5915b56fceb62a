// PNG by libpng.
#include <png.h>

#include <cmath>
#include <cstring>

#include "picture_files.h"

namespace {

// What is read, beside libpng's own state: longjmp leaves it alone.
struct Reading {
  const Bytes& file;
  std::size_t at = 0;
  Bytes pixels;  // RGBA, or 16-bit grey in this machine's order
  std::vector<png_bytep> rows;
  unsigned long width = 0, height = 0;
  bool wide_grey = false;
  std::string fault;
};

void take_bytes(png_structp png, png_bytep data, png_size_t size) {
  auto& reading = *static_cast<Reading*>(png_get_io_ptr(png));
  if (size > reading.file.size() - reading.at) png_error(png, "it ends too early");
  std::memcpy(data, reading.file.data() + reading.at, size);
  reading.at += size;
}

void on_error(png_structp png, png_const_charp message) {
  static_cast<Reading*>(png_get_error_ptr(png))->fault = message;
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

// Everything becomes RGBA of 8 bits, but 16-bit grey, which is scaled as a whole.
void choose_form(png_structp png, png_infop info, Reading& reading) {
  const bool transparent = png_get_valid(png, info, PNG_INFO_tRNS) != 0;
  reading.wide_grey = png_get_bit_depth(png, info) == 16 && !transparent &&
                      png_get_color_type(png, info) == PNG_COLOR_TYPE_GRAY;
  if (reading.wide_grey) {
    const std::uint16_t one = 1;
    if (*reinterpret_cast<const std::uint8_t*>(&one) == 1) png_set_swap(png);
  } else {
    png_set_strip_16(png);
    png_set_expand(png);
    png_set_gray_to_rgb(png);
    png_set_add_alpha(png, 255, PNG_FILLER_AFTER);
  }
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
}

bool read_all(png_structp png, png_infop info, Reading& reading) {
  if (setjmp(png_jmpbuf(png)) != 0) return false;
  png_read_info(png, info);
  reading.width = png_get_image_width(png, info);
  reading.height = png_get_image_height(png, info);
  reading.fault = reading.width > 65535 || reading.height > 65535
                      ? "it has more than 65535 pixels a side"
                      : too_large(reading.width, reading.height);
  if (!reading.fault.empty()) return false;
  choose_form(png, info, reading);
  const std::size_t row = png_get_rowbytes(png, info);
  reading.pixels.resize(row * reading.height);
  for (std::size_t y = 0; y < reading.height; ++y) {
    reading.rows.push_back(reading.pixels.data() + y * row);
  }
  png_read_image(png, reading.rows.data());
  png_read_end(png, nullptr);
  return true;
}

// A colour on white, as Pillow's alpha_composite has it, in its fixed point.
std::uint8_t on_white(unsigned value, unsigned alpha) {
  if (alpha == 0) return 255;
  if (alpha == 255) return static_cast<std::uint8_t>(value);
  const unsigned shown = alpha << 7U, rest = (255U << 7U) - shown;
  const unsigned sum = value * shown + 255U * rest + (0x80U << 7U);
  return static_cast<std::uint8_t>((((sum >> 8U) + sum) >> 8U) >> 7U);
}

lavin::Picture to_rgb(const Reading& reading) {
  lavin::Picture picture(static_cast<std::uint32_t>(reading.width),
                         static_cast<std::uint32_t>(reading.height));
  for (std::size_t i = 0; i < picture.size() / 3; ++i) {
    std::uint8_t* target = picture.data() + 3 * i;
    if (reading.wide_grey) {
      std::uint16_t grey = 0;
      std::memcpy(&grey, reading.pixels.data() + 2 * i, 2);
      std::memset(target, static_cast<int>(std::nearbyint(grey * (255.0 / 65535.0))), 3);
      continue;
    }
    const unsigned char* pixel = reading.pixels.data() + 4 * i;
    for (std::size_t c = 0; c < 3; ++c) target[c] = on_white(pixel[c], pixel[3]);
  }
  return picture;
}

}  // namespace

Decoded decode_png(const Bytes& file) {
  Reading reading{file, 0, {}, {}, 0, 0, false, ""};
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &reading, on_error, on_warning);
  png_infop info = png == nullptr ? nullptr : png_create_info_struct(png);
  bool whole = false;
  if (info != nullptr) {
    png_set_read_fn(png, &reading, take_bytes);
    try {
      whole = read_all(png, info, reading);
    } catch (...) {
      png_destroy_read_struct(&png, &info, nullptr);
      throw;
    }
  }
  png_destroy_read_struct(&png, &info, nullptr);
  if (!whole) return {{}, reading.fault.empty() ? "there is no memory for it" : reading.fault};
  return {to_rgb(reading), ""};
}

bool write_png(const std::string& path, const lavin::Picture& picture) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = picture.width();
  image.height = picture.height();
  image.format = PNG_FORMAT_RGB;
  return png_image_write_to_file(&image, path.c_str(), 0, picture.data(), 0, nullptr) != 0;
}
