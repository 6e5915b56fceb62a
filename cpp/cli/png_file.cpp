// PNG by libpng.
#include <png.h>

#include <cstring>

#include "picture_files.h"

namespace {

// What is read, beside libpng's own state: longjmp leaves it alone.
struct Reading {
  explicit Reading(const Bytes& bytes) : file(bytes) {}
  const Bytes& file;
  std::size_t at = 0;
  Bytes pixels;  // RGBA, or 16-bit grey in this machine's order
  std::vector<png_bytep> rows;
  unsigned long width = 0, height = 0;
  bool grey = false, wide_grey = false;
  int key = -1;  // the transparent value of 16-bit grey
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
  const int type = png_get_color_type(png, info);
  reading.grey = type == PNG_COLOR_TYPE_GRAY || type == PNG_COLOR_TYPE_GRAY_ALPHA;
  reading.wide_grey = png_get_bit_depth(png, info) == 16 && type == PNG_COLOR_TYPE_GRAY;
  if (reading.wide_grey) {
    png_color_16p key = nullptr;
    if (png_get_tRNS(png, info, nullptr, nullptr, &key) != 0) reading.key = key->gray;
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

Decoded to_samples(const Reading& reading) {
  Decoded decoded;
  decoded.width = static_cast<std::uint32_t>(reading.width);
  decoded.height = static_cast<std::uint32_t>(reading.height);
  decoded.space = reading.wide_grey ? Space::wide_grey : reading.grey ? Space::grey : Space::rgb;
  const std::size_t count = std::size_t{decoded.width} * decoded.height;
  decoded.alpha.resize(count);
  if (reading.wide_grey) {
    decoded.samples = reading.pixels;
    for (std::size_t i = 0; i < count; ++i) {
      std::uint16_t grey = 0;
      std::memcpy(&grey, reading.pixels.data() + 2 * i, 2);
      decoded.alpha[i] = grey == reading.key ? 0 : 255;
    }
    return decoded;
  }
  const std::size_t step = reading.grey ? 1 : 3;
  decoded.samples.resize(step * count);
  for (std::size_t i = 0; i < count; ++i) {
    std::memcpy(decoded.samples.data() + step * i, reading.pixels.data() + 4 * i, step);
    decoded.alpha[i] = reading.pixels[4 * i + 3];
  }
  return decoded;
}

// Of an animated PNG the first picture is read.
std::string told_frames(const Bytes& file) {
  bool shown = false;  // is the first picture part of the animation?
  unsigned long frames = 1;
  for (const Part& part : parts_of(file.data(), file.size())) {
    if (part.name == "acTL") frames = part.word(0);
    if (part.name == "fcTL") shown = true;
    if (part.name == "IDAT") break;
  }
  frames += frames > 1 && !shown ? 1 : 0;
  return frames > 1 ? "holds " + std::to_string(frames) + " pictures; one is taken" : "";
}

}  // namespace

Decoded decode_png(const Bytes& file) {
  Reading reading(file);
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
  if (!whole) return fault(reading.fault.empty() ? "there is no memory for it" : reading.fault);
  Decoded decoded = to_samples(reading);
  decoded.notice = told_frames(file);
  return decoded;
}

bool write_png(const std::string& path, const lavin::Picture& picture) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = picture.width();
  image.height = picture.height();
  image.format = PNG_FORMAT_RGB;
  return png_image_write_to_file(&image, path.c_str(), 0, picture.data(), 0, nullptr) != 0;
}
