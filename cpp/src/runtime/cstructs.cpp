#include "runtime/cstructs.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <iterator>

#include "base/errors.h"

namespace lavin::core {

namespace {

constexpr std::uint32_t kMaxSide = 65535;

// A struct as this version knows it: the caller's fields, zeros where the caller's is shorter.
template <typename Struct>
Struct read(const Struct* source, const char* name, std::size_t least) {
  require(source, name);
  if (source->struct_size < least) {
    throw InputError(cat(name, ".struct_size is ", source->struct_size, "; set it to sizeof(", name,
                         "), which is ", sizeof(Struct), "."));
  }
  Struct value{};
  std::memcpy(&value, source, std::min(source->struct_size, sizeof(Struct)));
  return value;
}

// The size of a struct in its first version, which ended with `field`.
#define FIRST_SIZE(type, field) (offsetof(type, field) + sizeof(type::field))

// Nothing is left at the end of a struct where a later field would hide from struct_size.
static_assert(FIRST_SIZE(lavin_options, library) == sizeof(lavin_options));
static_assert(FIRST_SIZE(lavin_image, data) == sizeof(lavin_image));
static_assert(FIRST_SIZE(lavin_request, reserved) == sizeof(lavin_request));
static_assert(FIRST_SIZE(lavin_result, reserved) == sizeof(lavin_result));
static_assert(FIRST_SIZE(lavin_stream_options, drop) == sizeof(lavin_stream_options));

std::string text(const char* source) {
  return source == nullptr ? "" : source;
}

}  // namespace

void require(const void* pointer, const char* name) {
  if (pointer == nullptr) throw InputError(cat(name, " is NULL; give one."));
}

BackendChoice read_options(const lavin_options* options) {
  BackendChoice choice;
  if (options == nullptr) return choice;
  const lavin_options fields = read(options, "lavin_options", FIRST_SIZE(lavin_options, library));
  if (fields.backend != nullptr) choice.name = fields.backend;
  choice.precision = text(fields.precision);
  choice.dialect = text(fields.dialect);
  choice.library = text(fields.library);
  choice.threads = fields.threads;
  return choice;
}

lavin_stream_options read_stream_options(const lavin_stream_options* options) {
  lavin_stream_options fields{};
  if (options != nullptr) {
    fields = read(options, "lavin_stream_options", FIRST_SIZE(lavin_stream_options, drop));
  }
  if (fields.capacity == 0) fields.capacity = 2;
  return fields;
}

bool has_data(const lavin_image* source) {
  return read(source, "lavin_image", FIRST_SIZE(lavin_image, data)).data != nullptr;
}

lavin_image read_image(const lavin_image* source) {
  lavin_image image = read(source, "lavin_image", FIRST_SIZE(lavin_image, data));
  if (image.width < 1 || image.height < 1 || image.width > kMaxSide || image.height > kMaxSide) {
    throw InputError(cat("a picture has 1 to ", kMaxSide, " pixels a side; given: ", image.width,
                         "x", image.height, " (width x height)."));
  }
  const std::size_t row = std::size_t{3} * image.width;
  if (image.stride == 0) image.stride = row;
  if (image.stride < row) {
    throw InputError(cat("a row of ", image.width, " pixels has ", row, " bytes; the stride is ",
                         image.stride, "."));
  }
  return image;
}

Picture read_picture(const lavin_image* source) {
  const lavin_image image = read_image(source);
  require(image.data, "lavin_image.data");
  return Picture(static_cast<int>(image.height), static_cast<int>(image.width), image.data,
                 image.stride);
}

void require_size(const lavin_image& out, Size size) {
  if (static_cast<int>(out.width) != size.width || static_cast<int>(out.height) != size.height) {
    throw InputError(cat("the answer has ", size.width, "x", size.height,
                         " pixels (width x height), the frame's; out has ", out.width, "x",
                         out.height, "."));
  }
  require(out.data, "out.data");
}

void write_picture(const Picture& picture, const lavin_image& out) {
  for (int y = 0; y < picture.height; ++y) {
    std::memcpy(out.data + static_cast<std::size_t>(y) * out.stride, picture.row(y),
                picture.row_bytes());
  }
}

Request read_request(const lavin_request* source) {
  const lavin_request request = read(source, "lavin_request", FIRST_SIZE(lavin_request, reserved));
  Request asked;
  asked.task = text(request.task);
  if (request.pair_count != 0) require(request.pairs, "lavin_request.pairs");
  for (std::size_t i = 0; i < request.pair_count; ++i) {
    asked.pairs.emplace_back(read_picture(&request.pairs[i].input),
                             read_picture(&request.pairs[i].target));
  }
  if (request.steps < 0) {
    throw InputError(
        cat("steps is ", request.steps, "; it counts model evaluations and is at least 1."));
  }
  if (request.num_pairs < 0) {
    throw InputError(cat("num_pairs is ", request.num_pairs, "; it is at least 1."));
  }
  asked.steps = request.steps;
  if (request.has_guidance != 0) asked.guidance = request.guidance;
  asked.seed = request.seed;
  if (request.noise != nullptr || request.noise_count != 0) {
    require(request.noise, "lavin_request.noise");
    if (request.noise_count == 0) throw InputError("lavin_request.noise_count is 0; set it.");
    asked.noise.assign(request.noise, request.noise + request.noise_count);
  }
  asked.num_pairs = request.num_pairs;
  if (request.width != 0 || request.height != 0) {
    if (request.width > kMaxSide || request.height > kMaxSide) {
      throw InputError(cat("a size has 1 to ", kMaxSide, " pixels a side; given: ", request.width,
                           "x", request.height, " (width x height)."));
    }
    asked.size = Size{static_cast<int>(request.height), static_cast<int>(request.width)};
  }
  return asked;
}

lavin_result read_result(const lavin_result* source) {
  return read(source, "lavin_result", FIRST_SIZE(lavin_result, seconds));
}

void write_result(Answer latest, lavin_result* target) {
  thread_local Answer answer;
  answer = std::move(latest);
  lavin_result result = read_result(target);
  result.target.struct_size = sizeof(lavin_image);
  result.target.width = static_cast<std::uint32_t>(answer.target.width);
  result.target.height = static_cast<std::uint32_t>(answer.target.height);
  result.target.stride = answer.target.row_bytes();
  result.target.data = answer.target.data.data();
  result.latents = answer.latents.floats();
  result.latents_count = answer.latents.count();
  const Seconds& s = answer.seconds;
  const double seconds[] = {s.setup, s.preprocess, s.encode, s.sample, s.decode, s.postprocess};
  std::copy(std::begin(seconds), std::end(seconds), result.seconds);
  result.pairs = answer.pairs;
  std::memcpy(target, &result, std::min(target->struct_size, sizeof result));
}

}  // namespace lavin::core
