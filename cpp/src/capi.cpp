// The C ABI: structs are checked and copied, errors become a status and a sentence.
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <string>

#include "errors.h"
#include "lavin/lavin.h"
#include "model.h"
#include "stream.h"

namespace core = lavin::core;
using core::cat;
using core::InputError;

struct lavin_model {
  core::Model model;
};

struct lavin_stream {
  core::Stream stream;
};

namespace {

constexpr std::uint32_t kMaxSide = 65535;

std::string& last_error() {
  thread_local std::string message;
  return message;
}

lavin_status fail(int code, const char* message) noexcept {
  try {
    last_error() = message;
  } catch (...) {
    last_error().clear();  // there is no memory for a sentence either
  }
  return static_cast<lavin_status>(code);
}

// Run `work`, which may throw and returns a status.
template <typename Work>
lavin_status guarded(Work work) noexcept {
  try {
    return work();
  } catch (const core::Error& error) {
    return fail(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return fail(LAVIN_FAILED, "there is not enough memory; close other models or pictures.");
  } catch (const std::exception& error) {
    return fail(LAVIN_FAILED, error.what());
  } catch (...) {
    return fail(LAVIN_FAILED, "the computation failed for an unknown reason.");
  }
}

template <typename Pointer>
void require(Pointer pointer, const char* name) {
  if (pointer == nullptr) throw InputError(cat(name, " is NULL; give one."));
}

// A struct as this version knows it: the caller's fields, zeros where the caller's is shorter.
template <typename Struct>
Struct read(const Struct* given, const char* name, std::size_t least) {
  require(given, name);
  if (given->struct_size < least) {
    throw InputError(cat(name, ".struct_size is ", given->struct_size, "; set it to sizeof(", name,
                         "), which is ", sizeof(Struct), "."));
  }
  Struct value{};
  std::memcpy(&value, given, std::min(given->struct_size, sizeof(Struct)));
  return value;
}

// The size of a struct in its first version, which ended with `field`.
#define FIRST_SIZE(type, field) (offsetof(type, field) + sizeof(type::field))

// Nothing is left at the end of a struct where a later field would hide from struct_size.
static_assert(FIRST_SIZE(lavin_options, library) == sizeof(lavin_options));
static_assert(FIRST_SIZE(lavin_image, data) == sizeof(lavin_image));
static_assert(FIRST_SIZE(lavin_request, reserved) == sizeof(lavin_request));
static_assert(FIRST_SIZE(lavin_result, seconds) == sizeof(lavin_result));
static_assert(FIRST_SIZE(lavin_stream_options, drop) == sizeof(lavin_stream_options));

std::string text(const char* given) {
  return given == nullptr ? "" : given;
}

// A checked image, its stride in bytes.
lavin_image read_image(const lavin_image* given) {
  lavin_image image = read(given, "lavin_image", FIRST_SIZE(lavin_image, data));
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

core::Picture read_picture(const lavin_image* given) {
  const lavin_image image = read_image(given);
  require(image.data, "lavin_image.data");
  return core::Picture(static_cast<int>(image.height), static_cast<int>(image.width), image.data,
                       image.stride);
}

void require_size(const lavin_image& out, core::Size size) {
  if (static_cast<int>(out.width) != size.width || static_cast<int>(out.height) != size.height) {
    throw InputError(cat("the answer has ", size.width, "x", size.height,
                         " pixels (width x height), the frame's; out has ", out.width, "x",
                         out.height, "."));
  }
  require(out.data, "out.data");
}

void write_picture(const core::Picture& picture, const lavin_image& out) {
  for (int y = 0; y < picture.height; ++y) {
    std::memcpy(out.data + static_cast<std::size_t>(y) * out.stride, picture.row(y),
                picture.row_bytes());
  }
}

core::Request read_request(const lavin_request* given) {
  const lavin_request request = read(given, "lavin_request", FIRST_SIZE(lavin_request, reserved));
  core::Request asked;
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
    asked.size = core::Size{static_cast<int>(request.height), static_cast<int>(request.width)};
  }
  return asked;
}

lavin_result read_result(const lavin_result* given) {
  return read(given, "lavin_result", FIRST_SIZE(lavin_result, seconds));
}

// Point at an answer, which is kept for the calling thread.
void write_result(core::Answer made, lavin_result* given) {
  thread_local core::Answer answer;
  answer = std::move(made);
  lavin_result result = read_result(given);
  result.target.struct_size = sizeof(lavin_image);
  result.target.width = static_cast<std::uint32_t>(answer.target.width);
  result.target.height = static_cast<std::uint32_t>(answer.target.height);
  result.target.stride = answer.target.row_bytes();
  result.target.data = answer.target.data.data();
  result.latents = answer.latents.floats();
  result.latents_count = answer.latents.count();
  const core::Seconds& s = answer.seconds;
  const double seconds[] = {s.setup, s.preprocess, s.encode, s.sample, s.decode, s.postprocess};
  std::copy(std::begin(seconds), std::end(seconds), result.seconds);
  std::memcpy(given, &result, std::min(given->struct_size, sizeof result));
}

}  // namespace

extern "C" {

const char* lavin_version(void) {
  return LAVIN_VERSION;
}

const char* lavin_last_error(const lavin_model*) {
  return last_error().c_str();
}

lavin_status lavin_load(const char* path, const lavin_options* options, lavin_model** model) {
  if (model != nullptr) *model = nullptr;
  return guarded([&] {
    require(model, "model");
    require(path, "path");
    core::BackendChoice choice;
    if (options != nullptr) {
      const lavin_options given =
          read(options, "lavin_options", FIRST_SIZE(lavin_options, library));
      if (given.backend != nullptr) choice.name = given.backend;
      choice.precision = text(given.precision);
      choice.dialect = text(given.dialect);
      choice.library = text(given.library);
      choice.threads = given.threads;
    }
    *model = new lavin_model{{path, choice}};
    return LAVIN_OK;
  });
}

void lavin_free(lavin_model* model) {
  delete model;
}

const char* lavin_describe(const lavin_model* model) {
  return model == nullptr ? "" : model->model.description().c_str();
}

const char* lavin_manifest(const lavin_model* model) {
  return model == nullptr ? "" : model->model.bundle().manifest_text().c_str();
}

const char* lavin_task_name(const lavin_model* model, size_t index) {
  if (model == nullptr) return nullptr;
  const auto& tasks = model->model.bundle().manifest().tasks;
  return index < tasks.size() ? tasks[index].name.c_str() : nullptr;
}

lavin_status lavin_run(lavin_model* model, const char* task, const lavin_image* in,
                       lavin_image* out) {
  lavin_request request{};
  request.struct_size = sizeof request;
  request.task = task;
  return lavin_run_request(model, &request, in, out, nullptr);
}

lavin_status lavin_run_request(lavin_model* model, const lavin_request* request,
                               const lavin_image* in, lavin_image* out, lavin_result* result) {
  return guarded([&] {
    require(model, "model");
    core::Request asked = read_request(request);
    const core::Picture frame = read_picture(in);
    const lavin_image target = read_image(out);
    require_size(target, frame.size());
    if (result != nullptr) read_result(result);
    core::Answer answer = [&] {
      const auto lock = model->model.lock();
      return model->model.run(std::move(asked), frame);
    }();
    write_picture(answer.image, target);
    if (result != nullptr) write_result(std::move(answer), result);
    return LAVIN_OK;
  });
}

lavin_status lavin_stream_open(lavin_model* model, const lavin_request* request,
                               const lavin_stream_options* options, lavin_stream** stream) {
  if (stream != nullptr) *stream = nullptr;
  return guarded([&] {
    require(stream, "stream");
    require(model, "model");
    lavin_stream_options given{};
    if (options != nullptr) {
      given = read(options, "lavin_stream_options", FIRST_SIZE(lavin_stream_options, drop));
    }
    const core::Request asked = read_request(request);
    core::Model& shared = model->model;
    // The answerer is made and ends under the model's lock: on a device it owns memory there.
    const auto end = [&shared](core::Answerer* made) {
      const auto lock = shared.lock();
      delete made;
    };
    std::unique_ptr<core::Answerer> made;
    {
      const auto lock = shared.lock();
      made = shared.answerer(asked);
    }
    const std::shared_ptr<core::Answerer> answerer(made.release(), end);
    const auto work = [&shared, answerer](const core::Picture& frame) {
      const auto held = shared.lock();
      return std::move(answerer->answer(frame).image);
    };
    *stream = new lavin_stream{{work, given.capacity == 0 ? 2 : given.capacity, given.drop != 0}};
    return LAVIN_OK;
  });
}

lavin_status lavin_stream_push(lavin_stream* stream, const lavin_image* in, int64_t id,
                               int32_t timeout_ms) {
  return guarded([&] {
    require(stream, "stream");
    return stream->stream.push(read_picture(in), id, timeout_ms) ? LAVIN_OK : LAVIN_TIMEOUT;
  });
}

lavin_status lavin_stream_pull(lavin_stream* stream, lavin_image* out, int64_t* id,
                               int32_t timeout_ms) {
  return guarded([&] {
    require(stream, "stream");
    const lavin_image given = read(out, "lavin_image", FIRST_SIZE(lavin_image, data));
    lavin_status status = LAVIN_OK;
    const auto take = [&](const core::Stream::Item& item) {
      if (id != nullptr) *id = item.id;
      if (item.fault != 0) {
        fail(item.fault, item.message.c_str());
        status = LAVIN_FRAME_FAILED;
        return true;
      }
      if (given.data != nullptr) {
        const lavin_image target = read_image(out);
        require_size(target, item.picture.size());
        write_picture(item.picture, target);
        return true;
      }
      out->width = static_cast<std::uint32_t>(item.picture.width);
      out->height = static_cast<std::uint32_t>(item.picture.height);
      out->stride = 0;
      return false;
    };
    switch (stream->stream.pull(take, timeout_ms)) {
      case core::Stream::Pulled::kTimeout:
        return LAVIN_TIMEOUT;
      case core::Stream::Pulled::kEnd:
        return LAVIN_END;
      default:
        return status;
    }
  });
}

void lavin_stream_finish(lavin_stream* stream) {
  if (stream != nullptr) stream->stream.finish();
}

uint64_t lavin_stream_dropped(const lavin_stream* stream) {
  return stream == nullptr ? 0 : stream->stream.dropped();
}

void lavin_stream_close(lavin_stream* stream) {
  delete stream;
}

}  // extern "C"
