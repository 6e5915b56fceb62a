// From noise to latents: Euler over a time grid through a bundle's graphs.
#pragma once

#include <memory>

#include "branch.h"
#include "flow.h"

namespace lavin::core {

// Runs the flow for one size and number of pairs. BundleError: the variant has no graphs for them.
class Sampler {
 public:
  Sampler(Backend& backend, Modulation& modulation, Size size, int pairs);
  // Load the graphs that sampling with that weight needs.
  void prepare(double guidance);
  // Integrate from t = 0 (noise) to t = 1 (data). `noise` is (1, C, 1, h, w) float32, `context`
  // (1, C, 2 pairs + 1, h, w) float32 scaled with the query last; so is what is returned. At a
  // guidance of 1 the null branch does not run.
  Array sample(const Array& noise, const Array& context, const Grid& grid, double guidance);

 private:
  std::unique_ptr<Branch> conditional_, null_;
  std::unique_ptr<EulerSteps> euler_;
};

}  // namespace lavin::core
