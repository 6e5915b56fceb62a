// JPEG by libjpeg.
// clang-format off
#include <csetjmp>
#include <cstdio>  // which the next needs
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include <memory>

#include "picture_files.h"

namespace {

// libjpeg's errors, which leave by longjmp to `back`.
struct Errors {
  jpeg_error_mgr manager;  // first, so that a pointer to it is one to this
  std::jmp_buf back;
  char fault[JMSG_LENGTH_MAX] = "";
  bool broken_off = false;  // the file ends before its end marker
  bool damaged = false;     // pixels were missing, or not what they should be
};

Errors& errors_of(j_common_ptr state) {
  return *reinterpret_cast<Errors*>(state->err);
}

[[noreturn]] void on_error(j_common_ptr state) {
  state->err->format_message(state, errors_of(state).fault);
  std::longjmp(errors_of(state).back, 1);
}

void on_message(j_common_ptr state, int level) {
  if (level >= 0) return;
  (state->err->msg_code == JWRN_JPEG_EOF ? errors_of(state).broken_off : errors_of(state).damaged) =
      true;
}

void set_up(Errors& errors) {
  jpeg_std_error(&errors.manager);
  errors.manager.error_exit = on_error;
  errors.manager.emit_message = on_message;
}

// Are pixels missing, now that all that is there was read? In files of several scans the last ones
// can be missing without a trace; only progressive ones tell which bits have come.
bool is_cut(const jpeg_decompress_struct& state, const Errors& errors, bool several_scans) {
  if (errors.damaged) return true;
  if (!several_scans) return false;
  if (state.progressive_mode == FALSE || state.coef_bits == nullptr) return true;
  for (int component = 0; component < state.num_components; ++component) {
    for (int bits : state.coef_bits[component]) {
      if (bits != 0) return true;
    }
  }
  return false;
}

// Decodes into `decoded`, which longjmp leaves alone.
void read_all(jpeg_decompress_struct& state, Errors& errors, const Bytes& file, Decoded& decoded) {
  if (setjmp(errors.back) != 0) {
    decoded.fault = errors.fault;
    return;
  }
  jpeg_create_decompress(&state);
  jpeg_mem_src(&state, file.data(), file.size());
  jpeg_read_header(&state, TRUE);
  decoded.fault = too_large(state.image_width, state.image_height);
  if (!decoded.fault.empty()) return;
  const auto depth = static_cast<std::size_t>(state.num_components == 2 ? 3 : state.num_components);
  decoded.space = depth == 1 ? Space::grey : depth == 3 ? Space::rgb : Space::cmyk;
  state.out_color_space = depth == 1 ? JCS_GRAYSCALE : depth == 3 ? JCS_RGB : JCS_CMYK;
  const bool several_scans = jpeg_has_multiple_scans(&state) != FALSE;
  jpeg_start_decompress(&state);
  decoded.width = state.output_width;
  decoded.height = state.output_height;
  decoded.samples.resize(depth * decoded.width * decoded.height);
  while (state.output_scanline < state.output_height) {
    JSAMPROW row = decoded.samples.data() + depth * decoded.width * state.output_scanline;
    jpeg_read_scanlines(&state, &row, 1);
  }
  const bool cut = is_cut(state, errors, several_scans);
  jpeg_finish_decompress(&state);
  if (errors.broken_off) {
    decoded.notice = "lacks its end marker; all its pixels are there";
    if (cut) decoded.fault = "it ends too early";
  }
  if (decoded.space == Space::cmyk) {  // files hold what is left of the paper's light
    for (unsigned char& value : decoded.samples) value = static_cast<unsigned char>(255 - value);
  }
}

bool write_all(jpeg_compress_struct& state, Errors& errors, std::FILE* file,
               const lavin::Picture& picture) {
  if (setjmp(errors.back) != 0) return false;
  jpeg_create_compress(&state);
  jpeg_stdio_dest(&state, file);
  state.image_width = picture.width();
  state.image_height = picture.height();
  state.input_components = 3;
  state.in_color_space = JCS_RGB;
  jpeg_set_defaults(&state);
  jpeg_set_quality(&state, 95, TRUE);
  for (int i = 0; i < state.num_components; ++i) {  // full colour
    state.comp_info[i].h_samp_factor = state.comp_info[i].v_samp_factor = 1;
  }
  jpeg_start_compress(&state, TRUE);
  while (state.next_scanline < state.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(picture.data()) +
                   std::size_t{3} * picture.width() * state.next_scanline;
    jpeg_write_scanlines(&state, &row, 1);
  }
  jpeg_finish_compress(&state);
  return true;
}

}  // namespace

Decoded decode_jpeg(const Bytes& file) {
  jpeg_decompress_struct state{};
  Errors errors;
  set_up(errors);
  state.err = &errors.manager;
  Decoded decoded;
  try {
    read_all(state, errors, file, decoded);
  } catch (...) {
    jpeg_destroy_decompress(&state);
    throw;
  }
  jpeg_destroy_decompress(&state);
  return decoded;
}

bool write_jpeg(const std::string& path, const lavin::Picture& picture) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) return false;
  jpeg_compress_struct state{};
  Errors errors;
  set_up(errors);
  state.err = &errors.manager;
  const bool written = write_all(state, errors, file, picture);
  jpeg_destroy_compress(&state);
  return std::fclose(file) == 0 && written;
}
