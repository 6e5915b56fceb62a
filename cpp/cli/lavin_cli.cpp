// Answers one picture from the command line; also an example of lavin.hpp.
#include <getopt.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "lavin/lavin.hpp"
#include "picture_files.h"

namespace {

constexpr const char* kHelp = R"(usage: lavin_cli --task NAME --bundle DIR [options] INPUT OUTPUT
       lavin_cli --pair IN TARGET [--pair IN TARGET ...] --bundle DIR [options] INPUT OUTPUT
       lavin_cli --tasks --bundle DIR

Answers one picture; the output has the input's size.

  --bundle DIR       folder NAME.lavin or a stored zip of one
  --task NAME        stored task of the bundle
  --pair IN TARGET   example pair of picture files instead of a task; repeatable
  --tasks            list the bundle's tasks
  --steps N          model evaluations (default: the task's, else the bundle's)
  --guidance W       guidance weight, 1 for none (default: likewise)
  --seed N           seed of the noise (default: 0)
  --noise FILE       raw float32 values that replace the seeded noise
  --pairs N          use the first N pairs
  --size HxW         size of the bundle to run at (default: what fits the picture best)
  --backend NAME     auto (default), onnxruntime or tensorrt
  --precision NAME   variant to run, e.g. fp32 (default: the bundle's)
  --dialect NAME     native or portable (default: the first that the back end runs)
  --threads N        worker threads (default: the physical cores)
  --library FILE     ONNX Runtime's shared library (default: $LAVIN_ONNXRUNTIME, else the system's)
  --target FILE      also write the answer as the model made it
  --latents FILE     also write its latents, raw float32
  --repeat N         answer N times and tell the median
  --json             a summary as JSON
  --version, --help
)";

struct Arguments {
  std::string bundle, input, output, target, latents;
  lavin::Options options;
  lavin::Request request;
  std::vector<std::pair<lavin::Picture, lavin::Picture>> pairs;
  int repeat = 1;
  bool json = false, list = false;
};

[[noreturn]] void refuse(const std::string& sentence) {
  throw std::runtime_error(sentence);
}

// A whole number from `least` on.
template <typename Number>
Number number(const std::string& text, const char* option, Number least) {
  Number value{};
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc() || end != text.data() + text.size() || text.empty() || value < least) {
    refuse(std::string(option) + " is '" + text + "'; give a whole number from " +
           std::to_string(least) + " on.");
  }
  return value;
}

double real(const std::string& text, const char* option) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0') {
    refuse(std::string(option) + " is '" + text + "'; give a number.");
  }
  return value;
}

void read_size(const std::string& text, lavin::Request& request) {
  const std::size_t cross = text.find('x');
  if (cross == std::string::npos) refuse("--size is '" + text + "'; give HxW, e.g. 128x128.");
  request.height = number<std::uint32_t>(text.substr(0, cross), "--size", 1);
  request.width = number<std::uint32_t>(text.substr(cross + 1), "--size", 1);
}

std::vector<float> read_floats(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const std::streamoff bytes = file ? static_cast<std::streamoff>(file.tellg()) : 0;
  if (bytes < 4 || bytes % 4 != 0 || bytes > (1 << 28)) {
    refuse(path + " is no file of float32 values.");
  }
  std::vector<float> values(static_cast<std::size_t>(bytes) / 4);
  file.seekg(0);
  if (!file.read(reinterpret_cast<char*>(values.data()), bytes)) refuse(path + " cannot be read.");
  return values;
}

void write_floats(const std::string& path, const std::vector<float>& values) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(values.data()),
             static_cast<std::streamsize>(values.size() * sizeof(float)));
  if (!file.flush()) throw lavin::Error(LAVIN_FAILED, (path + " could not be written.").c_str());
}

Arguments parse(int count, char** words) {
  enum {
    kBundle = 256,
    kTask,
    kPair,
    kTasks,
    kSteps,
    kGuidance,
    kSeed,
    kNoise,
    kPairs,
    kSize,
    kBackend,
    kPrecision,
    kDialect,
    kThreads,
    kLibrary,
    kTarget,
    kLatents,
    kRepeat,
    kJson,
    kVersion,
    kHelpAsked
  };
  static const option table[] = {
      {"bundle", 1, nullptr, kBundle},   {"task", 1, nullptr, kTask},
      {"pair", 1, nullptr, kPair},       {"tasks", 0, nullptr, kTasks},
      {"steps", 1, nullptr, kSteps},     {"guidance", 1, nullptr, kGuidance},
      {"seed", 1, nullptr, kSeed},       {"noise", 1, nullptr, kNoise},
      {"pairs", 1, nullptr, kPairs},     {"size", 1, nullptr, kSize},
      {"backend", 1, nullptr, kBackend}, {"precision", 1, nullptr, kPrecision},
      {"dialect", 1, nullptr, kDialect}, {"threads", 1, nullptr, kThreads},
      {"library", 1, nullptr, kLibrary}, {"target", 1, nullptr, kTarget},
      {"latents", 1, nullptr, kLatents}, {"repeat", 1, nullptr, kRepeat},
      {"json", 0, nullptr, kJson},       {"version", 0, nullptr, kVersion},
      {"help", 0, nullptr, kHelpAsked},  {nullptr, 0, nullptr, 0}};
  Arguments given;
  opterr = 0;
  int found = 0;
  while ((found = getopt_long(count, words, "", table, nullptr)) != -1) {
    switch (found) {
      case kBundle:
        given.bundle = optarg;
        break;
      case kTask:
        given.request.task = optarg;
        break;
      case kPair: {
        if (optind >= count) refuse("--pair takes two files: the input and the target.");
        const char* target = words[optind++];
        given.pairs.emplace_back(read_picture_file(optarg), read_picture_file(target));
        break;
      }
      case kTasks:
        given.list = true;
        break;
      case kSteps:
        given.request.steps = number<int>(optarg, "--steps", 1);
        break;
      case kGuidance:
        given.request.guidance = real(optarg, "--guidance");
        break;
      case kSeed:
        given.request.seed = number<std::uint64_t>(optarg, "--seed", 0);
        break;
      case kNoise:
        given.request.noise = read_floats(optarg);
        break;
      case kPairs:
        given.request.num_pairs = number<int>(optarg, "--pairs", 1);
        break;
      case kSize:
        read_size(optarg, given.request);
        break;
      case kBackend:
        given.options.backend = optarg;
        break;
      case kPrecision:
        given.options.precision = optarg;
        break;
      case kDialect:
        given.options.dialect = optarg;
        break;
      case kThreads:
        given.options.threads = number<int>(optarg, "--threads", 1);
        break;
      case kLibrary:
        given.options.library = optarg;
        break;
      case kTarget:
        given.target = optarg;
        break;
      case kLatents:
        given.latents = optarg;
        break;
      case kRepeat:
        given.repeat = number<int>(optarg, "--repeat", 1);
        break;
      case kJson:
        given.json = true;
        break;
      case kVersion:
        std::cout << "lavin_cli " << lavin_version() << "\n";
        std::exit(0);
      case kHelpAsked:
        std::cout << kHelp;
        std::exit(0);
      default:
        refuse(std::string("the option ") + words[optind - 1] +
               " is unknown or lacks its value; see lavin_cli --help.");
    }
  }
  if (given.bundle.empty()) refuse("name a bundle: --bundle DIR.");
  if (given.list) return given;
  if (count - optind != 2) refuse("give an input and an output; see lavin_cli --help.");
  given.input = words[optind];
  given.output = words[optind + 1];
  check_output_name(given.output);
  if (!given.target.empty()) check_output_name(given.target);
  for (const auto& [input, target] : given.pairs) given.request.pairs.emplace_back(input, target);
  return given;
}

std::string quoted(const std::string& text) {  // as a JSON string
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
      result += escape;
    } else {
      result += c;
    }
  }
  return result + "\"";
}

int answer(const Arguments& given) {
  lavin::Model model(given.bundle, given.options);
  if (given.list) {
    for (const std::string& name : model.tasks()) std::cout << name << "\n";
    return 0;
  }
  if (given.options.backend.empty() || given.options.backend == "auto") {
    std::cerr << model.describe() << "\n";
  }
  const lavin::Picture frame = read_picture_file(given.input);
  std::vector<double> seconds;
  lavin::Result result;
  for (int i = 0; i < given.repeat; ++i) {
    const auto start = std::chrono::steady_clock::now();
    result = model.run(given.request, frame);
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
    seconds.push_back(passed.count());
  }
  write_picture_file(given.output, result.image);
  if (!given.target.empty()) write_picture_file(given.target, result.target);
  if (!given.latents.empty()) write_floats(given.latents, result.latents);
  std::sort(seconds.begin(), seconds.end());
  const double median = seconds[seconds.size() / 2];
  if (!given.json) {
    std::printf("%s: %ux%u, %.3f s, %s\n", given.output.c_str(), frame.width(), frame.height(),
                median, model.describe().c_str());
    return 0;
  }
  static const char* stages[] = {"setup",  "preprocess", "encode",
                                 "sample", "decode",     "postprocess"};
  std::printf(
      "{\"output\": %s, \"width\": %u, \"height\": %u, \"seconds\": %.6f, \"backend\": %s, "
      "\"seed\": %llu, \"stages\": {",
      quoted(given.output).c_str(), frame.width(), frame.height(), median,
      quoted(model.describe()).c_str(), static_cast<unsigned long long>(given.request.seed));
  for (std::size_t i = 0; i < result.seconds.size(); ++i) {
    std::printf("%s\"%s\": %.3f", i == 0 ? "" : ", ", stages[i], 1e3 * result.seconds[i]);
  }
  std::printf("}}\n");
  return 0;
}

}  // namespace

int main(int count, char** words) {
  try {
    return answer(parse(count, words));
  } catch (const lavin::Error& error) {
    std::cerr << "lavin_cli: " << error.what() << "\n";
    return error.status();
  } catch (const std::exception& error) {
    std::cerr << "lavin_cli: " << error.what() << "\n";
    return 2;
  }
}
