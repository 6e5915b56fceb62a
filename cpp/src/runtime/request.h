// What one run asks of a bundle: checked against the manifest before anything is computed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bundle/manifest.h"
#include "bundle/task.h"
#include "runtime/codec.h"
#include "runtime/flow.h"

namespace lavin::core {

// A caller's request; what is empty or 0 is left to the task, else to the bundle.
struct Request {
  std::string task;  // name of a stored task, or "" with pairs
  Pairs pairs;
  int steps = 0;
  std::optional<double> guidance;
  std::uint64_t seed = 0;
  std::vector<float> noise;  // replaces the seeded draw
  int num_pairs = 0;
  std::optional<Size> size;

  bool operator==(const Request& other) const;
};

// All that the sampler needs, checked.
struct Settings {
  Grid grid;
  double guidance = 1;
  std::uint64_t seed = 0;
  std::vector<float> noise;
};

// What is asked for, else what the task recommends, else the bundle's default.
// InputError: an option is out of range.
Settings make_settings(const Manifest& manifest, const StoredTask* task, const Request& request);

// The manifest's own grid if it has that many steps, else one of the manifest's kind.
Grid choose_grid(const Manifest& manifest, int steps);

// The size that fits a frame's aspect ratio best; the first among equals.
Size choose_size(const std::vector<Size>& sizes, Size frame);

// A size if the bundle has it. InputError: it does not; the message lists what it has.
Size check_size(const Manifest& manifest, Size size);

// How many of the available pairs to use, the first ones. `requested` 0 chooses: `preferred` where
// graphs and pairs allow it, else as many as the largest graph takes.
// InputError: no graph takes that number, or the pairs do not suffice.
int choose_pairs(const Manifest& manifest, Size size, int available, int requested, int preferred);

// InputError: noise is not finite, or has another number of values than each of the shapes.
void check_noise(const std::vector<float>& noise, const std::vector<Shape>& shapes);

}  // namespace lavin::core
