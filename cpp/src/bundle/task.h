// A task as a bundle stores it: tasks/<name>/task.json and the scaled latents of its pairs beside
// it.
#pragma once

#include <optional>
#include <string>

#include "base/array.h"
#include "bundle/bundle.h"

namespace lavin::core {

// What task.json says.
struct StoredTask {
  std::string name;
  std::string file;  // path of task.json in the bundle
  int pairs = 0;     // example pairs it has
  std::optional<int> steps;
  std::optional<double> guidance;
  std::optional<int> num_pairs;  // to use, the first ones
};

// Read a task of a bundle. InputError: there is none of that name; the message has the nearest one.
// BundleError: its task.json is damaged.
StoredTask read_task(const Bundle& bundle, const std::string& name);

// The scaled latents of a task's pairs at one size: (1, C, 2 pairs, h, w) float32, frames in1,
// tgt1, in2, tgt2, ... BundleError: the task has none of that size, or they are damaged.
Array read_context(const Bundle& bundle, const StoredTask& task, Size size);

}  // namespace lavin::core
