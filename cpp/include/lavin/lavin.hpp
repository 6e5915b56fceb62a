// C++17 over lavin.h, header-only: owning handles, views, and exceptions on this side only.
//
//     lavin::Model model("edge.lavin");
//     lavin::Picture answer = model.run("segmentation", lavin::View(data, width, height));
//
// A call that fails throws lavin::Error with the library's sentence. Threads: see lavin.h.
#ifndef LAVIN_LAVIN_HPP
#define LAVIN_LAVIN_HPP

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lavin/lavin.h"

namespace lavin {

// A call failed; what() is the sentence, status() what the C function returned.
class Error : public std::runtime_error {
 public:
  Error(lavin_status status, const char* message) : std::runtime_error(message), status_(status) {}
  lavin_status status() const noexcept { return status_; }

 private:
  lavin_status status_;
};

namespace detail {

inline void check(lavin_status status) {
  if (status != LAVIN_OK) throw Error(status, lavin_last_error(nullptr));
}

template <typename Struct>
Struct sized() {
  Struct value{};
  value.struct_size = sizeof(Struct);
  return value;
}

inline const char* text_or_null(const std::string& text) {
  return text.empty() ? nullptr : text.c_str();
}

}  // namespace detail

// Pixels of somebody else: 8-bit RGB, rows from the top.
class View {
 public:
  View(const std::uint8_t* data, std::uint32_t width, std::uint32_t height, std::size_t stride = 0)
      : data_(data), width_(width), height_(height), stride_(stride) {}
  std::uint32_t width() const { return width_; }
  std::uint32_t height() const { return height_; }
  // Bytes from one row to the next.
  std::size_t stride() const { return stride_ ? stride_ : std::size_t{3} * width_; }
  const std::uint8_t* data() const { return data_; }

  lavin_image c_image() const {
    auto image = detail::sized<lavin_image>();
    image.width = width_;
    image.height = height_;
    image.stride = stride_;
    image.data = const_cast<std::uint8_t*>(data_);  // never written of a picture that goes in
    return image;
  }

 private:
  const std::uint8_t* data_;
  std::uint32_t width_, height_;
  std::size_t stride_;
};

// A picture of one's own: 8-bit RGB, rows from the top without gaps.
class Picture {
 public:
  Picture() = default;
  Picture(std::uint32_t width, std::uint32_t height)
      : width_(width), height_(height), data_(std::size_t{3} * width * height) {}
  std::uint32_t width() const { return width_; }
  std::uint32_t height() const { return height_; }
  std::uint8_t* data() { return data_.data(); }
  const std::uint8_t* data() const { return data_.data(); }
  std::size_t size() const { return data_.size(); }
  operator View() const { return View(data_.data(), width_, height_); }

  lavin_image c_image() {
    auto image = detail::sized<lavin_image>();
    image.width = width_;
    image.height = height_;
    image.data = data_.data();
    return image;
  }

 private:
  std::uint32_t width_ = 0, height_ = 0;
  std::vector<std::uint8_t> data_;
};

// How to open a bundle; what is empty or 0 is the default of lavin_options.
struct Options {
  std::string backend, precision, dialect, library;
  int threads = 0;
};

// What to do and how to sample; what is empty or 0 is the default of lavin_request.
struct Request {
  std::string task;
  // Example pairs instead of a task; the pixels stay the caller's, until `run` or the stream's
  // constructor has returned.
  std::vector<std::pair<View, View>> pairs;
  int steps = 0;
  std::optional<double> guidance;
  std::uint64_t seed = 0;
  std::vector<float> noise;
  int num_pairs = 0;
  std::uint32_t width = 0, height = 0;

  Request() = default;
  explicit Request(std::string name) : task(std::move(name)) {}
};

// The answer to one frame.
struct Result {
  Picture image;                    // in the frame's size
  Picture target;                   // as the model made it
  std::vector<float> latents;       // (1, channels, 1, h/8, w/8) scaled
  std::array<double, 6> seconds{};  // setup, preprocess, encode, sample, decode, postprocess
  int pairs = 0;                    // example pairs that were used, the first ones
};

namespace detail {

// A request as the C functions take it, with what it points to.
class CRequest {
 public:
  explicit CRequest(const Request& request) : value_(sized<lavin_request>()) {
    for (const auto& [input, target] : request.pairs) {
      pairs_.push_back({input.c_image(), target.c_image()});
    }
    value_.task = text_or_null(request.task);
    value_.pairs = pairs_.empty() ? nullptr : pairs_.data();
    value_.pair_count = pairs_.size();
    value_.steps = request.steps;
    value_.has_guidance = request.guidance.has_value();
    value_.guidance = request.guidance.value_or(0.0);
    value_.seed = request.seed;
    value_.noise = request.noise.empty() ? nullptr : request.noise.data();
    value_.noise_count = request.noise.size();
    value_.num_pairs = request.num_pairs;
    value_.width = request.width;
    value_.height = request.height;
  }
  CRequest(const CRequest&) = delete;
  CRequest& operator=(const CRequest&) = delete;
  const lavin_request* get() const { return &value_; }

 private:
  std::vector<lavin_pair> pairs_;
  lavin_request value_;
};

}  // namespace detail

// An open bundle, ready to run.
class Model {
 public:
  explicit Model(const std::string& path, const Options& options = {}) {
    auto given = detail::sized<lavin_options>();
    given.backend = detail::text_or_null(options.backend);
    given.precision = detail::text_or_null(options.precision);
    given.dialect = detail::text_or_null(options.dialect);
    given.library = detail::text_or_null(options.library);
    given.threads = options.threads;
    lavin_model* model = nullptr;
    detail::check(lavin_load(path.c_str(), &given, &model));
    model_.reset(model, lavin_free);
  }

  // The answer to a frame by a stored task at its defaults, in the frame's size.
  Picture run(const std::string& task, const View& frame) {
    Picture answer(frame.width(), frame.height());
    lavin_image in = frame.c_image(), out = answer.c_image();
    detail::check(lavin_run(model_.get(), task.c_str(), &in, &out));
    return answer;
  }

  // The same with all that can be asked and all that is known.
  Result run(const Request& request, const View& frame) {
    Result found;
    found.image = Picture(frame.width(), frame.height());
    lavin_image in = frame.c_image(), out = found.image.c_image();
    auto result = detail::sized<lavin_result>();
    const detail::CRequest asked(request);
    detail::check(lavin_run_request(model_.get(), asked.get(), &in, &out, &result));
    found.target = Picture(result.target.width, result.target.height);
    std::copy_n(result.target.data, found.target.size(), found.target.data());
    found.latents.assign(result.latents, result.latents + result.latents_count);
    std::copy(std::begin(result.seconds), std::end(result.seconds), found.seconds.begin());
    found.pairs = result.pairs;
    return found;
  }

  // Names of the stored tasks.
  std::vector<std::string> tasks() const {
    std::vector<std::string> names;
    while (const char* name = lavin_task_name(model_.get(), names.size())) names.emplace_back(name);
    return names;
  }

  // Library, version, device and threads of the back end in one line.
  std::string describe() const { return lavin_describe(model_.get()); }
  // The manifest as JSON text.
  std::string_view manifest() const { return lavin_manifest(model_.get()); }
  // For the C functions; the model keeps it.
  lavin_model* get() const { return model_.get(); }

 private:
  friend class Stream;
  std::shared_ptr<lavin_model> model_;  // streams have it too, so that it outlives them
};

// One answer of a stream; a frame that failed has its sentence in `error` and no image.
struct Answer {
  std::int64_t id = 0;
  Picture image;
  std::string error;
};

// Frames in, answers out, in order, with a worker thread between. Any threads may push; one pulls.
class Stream {
 public:
  // `capacity` frames wait at most, and as many answers; `drop` lets the oldest frame make room.
  Stream(Model& model, const Request& request, std::uint32_t capacity = 0, bool drop = false)
      : model_(model.model_) {
    auto options = detail::sized<lavin_stream_options>();
    options.capacity = capacity;
    options.drop = drop;
    lavin_stream* stream = nullptr;
    const detail::CRequest asked(request);
    detail::check(lavin_stream_open(model.get(), asked.get(), &options, &stream));
    stream_.reset(stream);
  }

  // Give a frame, which is copied; false: no room was made within `timeout_ms` (below 0: waits).
  bool push(const View& frame, std::int64_t id = 0, std::int32_t timeout_ms = -1) {
    const lavin_image in = frame.c_image();
    const lavin_status status = lavin_stream_push(stream_.get(), &in, id, timeout_ms);
    if (status == LAVIN_TIMEOUT) return false;
    detail::check(status);
    return true;
  }

  // Take the next answer; nothing within `timeout_ms`, or none comes any more (see finished).
  std::optional<Answer> pull(std::int32_t timeout_ms = -1) {
    Answer answer;
    auto out = detail::sized<lavin_image>();
    lavin_status status = lavin_stream_pull(stream_.get(), &out, &answer.id, timeout_ms);
    if (status == LAVIN_OK) {  // so far only looked at
      answer.image = Picture(out.width, out.height);
      out = answer.image.c_image();
      status = lavin_stream_pull(stream_.get(), &out, &answer.id, 0);
    }
    finished_ = status == LAVIN_END;
    if (status == LAVIN_TIMEOUT || finished_) return std::nullopt;
    if (status == LAVIN_FRAME_FAILED) {
      answer.image = Picture();
      answer.error = lavin_last_error(nullptr);
      return answer;
    }
    detail::check(status);
    return answer;
  }

  // Say that no further frame comes.
  void finish() { lavin_stream_finish(stream_.get()); }
  // Whether the last pull found that all answers were taken.
  bool finished() const { return finished_; }
  // Frames that were dropped so far.
  std::uint64_t dropped() const { return lavin_stream_dropped(stream_.get()); }
  // For the C functions; the stream keeps it.
  lavin_stream* get() const { return stream_.get(); }

 private:
  struct Close {
    void operator()(lavin_stream* stream) const { lavin_stream_close(stream); }
  };
  std::shared_ptr<lavin_model> model_;
  std::unique_ptr<lavin_stream, Close> stream_;  // closed before the model is let go
  bool finished_ = false;
};

}  // namespace lavin

#endif
