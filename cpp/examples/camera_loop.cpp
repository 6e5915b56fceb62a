// Answer a camera's frames as they come, and never fall behind: old frames make room for new ones.
//
//     camera_loop BUNDLE TASK /dev/video0 [WIDTHxHEIGHT] [-o FILE]
//     camera_loop BUNDLE TASK --frames FILE WIDTHxHEIGHT [--every] [-o FILE]
//
// Answers go to stdout or FILE as raw RGB, frame after frame; to see them:
//
//     camera_loop edge.lavin segmentation /dev/video0 640x480 |
//         ffplay -f rawvideo -pixel_format rgb24 -video_size 640x480 -
//
// --frames reads raw RGB frames from a file, or from stdin with -, instead of a camera; --every
// answers every one of them. One thread gives frames, another takes answers, a third one, of the
// library, runs the model.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "lavin/lavin.hpp"
#include "v4l2_camera.hpp"

namespace {

constexpr std::uint32_t kMaxSide = 16384;
constexpr const char* kUsage =
    "usage: camera_loop BUNDLE TASK /dev/video0 [WIDTHxHEIGHT] [-o FILE]\n"
    "       camera_loop BUNDLE TASK --frames FILE|- WIDTHxHEIGHT [--every] [-o FILE]\n";

struct Usage : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Settings {
  std::string bundle, task, device, frames, output;
  std::uint32_t width = 640, height = 480;
  bool every = false;
};

void parse_size(const std::string& text, Settings& settings) {
  const char* end = text.data() + text.size();
  const auto width = std::from_chars(text.data(), end, settings.width);
  const bool x = width.ec == std::errc() && width.ptr != end && *width.ptr == 'x';
  const auto height = std::from_chars(x ? width.ptr + 1 : end, end, settings.height);
  if (!x || height.ec != std::errc() || height.ptr != end || settings.width < 1 ||
      settings.height < 1 || settings.width > kMaxSide || settings.height > kMaxSide) {
    throw Usage("size '" + text + "' is not WIDTHxHEIGHT, with sides of 1 to 16384");
  }
}

Settings parse(const std::vector<std::string>& arguments) {
  Settings settings;
  std::vector<std::string> plain;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const bool more = i + 1 < arguments.size();
    if (arguments[i] == "-o" && more) {
      settings.output = arguments[++i];
    } else if (arguments[i] == "--frames" && more) {
      settings.frames = arguments[++i];
    } else if (arguments[i] == "--every") {
      settings.every = true;
    } else if (arguments[i].substr(0, 1) == "-") {
      throw Usage("option '" + arguments[i] + "' is unknown or lacks its value");
    } else {
      plain.push_back(arguments[i]);
    }
  }
  const bool camera = settings.frames.empty();
  const std::size_t before_size = camera ? 3 : 2;
  if (plain.size() > before_size + 1 || plain.size() < 3) {
    throw Usage("the arguments are not those of a camera or of --frames");
  }
  if (plain.size() > before_size) parse_size(plain[before_size], settings);
  settings.bundle = plain[0];
  settings.task = plain[1];
  if (camera) settings.device = plain[2];
  return settings;
}

volatile sig_atomic_t interrupted = 0;

// Ctrl+C ends the loop in order: what waits is answered. It ends a read of a pipe as well.
void listen_for_interrupt() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };
  sigaction(SIGINT, &action, nullptr);
}

// A file of frames; "-" or nothing is stdin or stdout.
class File {
 public:
  File(const std::string& path, const char* mode, std::FILE* standard)
      : path_(path),
        file_(path.empty() || path == "-" ? standard : std::fopen(path.c_str(), mode)) {
    if (!file_) throw std::runtime_error("cannot open " + path + ": " + std::strerror(errno));
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (file_ != stdin && file_ != stdout) std::fclose(file_);
  }

  // False at the end; a frame that ends early is an error.
  bool read(std::vector<std::uint8_t>& frame) {
    const std::size_t count = std::fread(frame.data(), 1, frame.size(), file_);
    if (count == frame.size()) return true;
    if (interrupted) return false;
    if (std::ferror(file_)) {
      throw std::runtime_error("cannot read " + path_ + ": " + std::strerror(errno));
    }
    if (count != 0) {
      throw std::runtime_error("frames of " + path_ + " end within a frame; is the size right?");
    }
    return false;
  }

  void write(const lavin::Picture& picture) {
    if (std::fwrite(picture.data(), 1, picture.size(), file_) != picture.size() ||
        std::fflush(file_) != 0) {
      throw std::runtime_error(std::string("cannot write an answer: ") + std::strerror(errno));
    }
  }

 private:
  std::string path_;
  std::FILE* file_;
};

enum class Got { frame, nothing, end };
using Source = std::function<Got(std::vector<std::uint8_t>&)>;

// Opens what gives the frames, and sets the size to what it really gives.
Source open_source(Settings& settings) {
  if (settings.device.empty()) {
    const auto file = std::make_shared<File>(settings.frames, "rb", stdin);
    return [file](auto& frame) { return file->read(frame) ? Got::frame : Got::end; };
  }
  const auto camera =
      std::make_shared<V4l2Camera>(settings.device, settings.width, settings.height);
  settings.width = camera->width();
  settings.height = camera->height();
  return [camera](auto& frame) { return camera->read(frame) ? Got::frame : Got::nothing; };
}

// Takes answers in a thread of its own, until the stream ends or something fails.
class Taker {
 public:
  Taker(lavin::Stream& stream, File& output)
      : stream_(stream), output_(output), thread_([this] { take_all(); }) {}
  Taker(const Taker&) = delete;
  Taker& operator=(const Taker&) = delete;
  ~Taker() { join(); }

  bool stopped() const { return stopped_; }

  // Waits for the last answers; throws what the thread met.
  void finish() {
    join();
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  using Clock = std::chrono::steady_clock;

  void join() {
    stream_.finish();
    if (thread_.joinable()) thread_.join();
  }

  void take_all() {
    try {
      const Clock::time_point begin = Clock::now();
      Clock::time_point told = begin;
      std::uint64_t count = 0, before = 0;
      while (const auto answer = stream_.pull()) {
        if (!answer->error.empty()) throw std::runtime_error(answer->error);
        output_.write(answer->image);
        ++count;
        if (Clock::now() - told < std::chrono::seconds(1)) continue;
        tell("", count - before, told);
        told = Clock::now();
        before = count;
      }
      tell("in all: ", count, begin);
    } catch (...) {
      failure_ = std::current_exception();
    }
    stopped_ = true;
  }

  void tell(const char* what, std::uint64_t count, Clock::time_point since) const {
    const double seconds = std::chrono::duration<double>(Clock::now() - since).count();
    std::fprintf(stderr, "%s%llu answers, %.2f frames per second, %llu dropped so far\n", what,
                 static_cast<unsigned long long>(count), static_cast<double>(count) / seconds,
                 static_cast<unsigned long long>(stream_.dropped()));
  }

  lavin::Stream& stream_;
  File& output_;
  std::exception_ptr failure_;
  std::atomic<bool> stopped_{false};
  std::thread thread_;
};

void loop(Settings settings) {
  if ((settings.output.empty() || settings.output == "-") && isatty(STDOUT_FILENO)) {
    throw Usage("answers are raw RGB, not for a terminal; give -o FILE or a pipe");
  }
  lavin::Model model(settings.bundle);
  const Source source = open_source(settings);
  File output(settings.output, "wb", stdout);
  std::fprintf(stderr, "%s; frames of %u x %u\n", model.describe().c_str(), settings.width,
               settings.height);

  lavin::Stream stream(model, lavin::Request(settings.task), 0, !settings.every);
  Taker taker(stream, output);
  std::vector<std::uint8_t> frame(std::size_t{3} * settings.width * settings.height);
  const lavin::View view(frame.data(), settings.width, settings.height);
  for (std::int64_t id = 0; !interrupted && !taker.stopped(); ++id) {
    const Got got = source(frame);
    if (got == Got::end) break;
    if (got == Got::nothing) continue;
    while (!stream.push(view, id, 100)) {  // waits with --every only
      if (interrupted || taker.stopped()) break;
    }
  }
  taker.finish();
}

}  // namespace

int main(int argc, char** argv) {
  listen_for_interrupt();
  try {
    loop(parse(std::vector<std::string>(argv + 1, argv + argc)));
    return LAVIN_OK;
  } catch (const Usage& error) {
    std::fprintf(stderr, "camera_loop: %s\n%s", error.what(), kUsage);
    return LAVIN_INVALID;
  } catch (const lavin::Error& error) {
    std::fprintf(stderr, "camera_loop: %s\n", error.what());
    return error.status();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "camera_loop: %s\n", error.what());
    return LAVIN_FAILED;
  }
}
