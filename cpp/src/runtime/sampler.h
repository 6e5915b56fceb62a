// From noise to latents: Euler over a time grid through a bundle's graphs.
#pragma once

#include <memory>

#include "runtime/branch.h"
#include "runtime/flow.h"

namespace lavin::core {

// Runs the flow for one size and number of pairs. BundleError: the variant has no graphs for them.
class Sampler {
 public:
  Sampler(Backend& backend, Modulation& modulation, Size size, int pairs);
  // Take the pairs (1, C, 2 pairs, h, w) float32 scaled and compute what they alone decide, for
  // sampling with that guidance weight; done once, before `sample`.
  void take_pairs(const Array& pairs, double guidance);
  // The graphs that sampling with that weight needs.
  std::vector<const Graph*> graphs(double guidance) const;
  // Integrate from t = 0 (noise) to t = 1 (data). Noise, query and what is returned are
  // (1, C, 1, h, w) float32, the latter two scaled. At a guidance of 1 the null branch does not
  // run.
  Array sample(const Array& noise, const Array& query, const Grid& grid, double guidance);

 private:
  bool with_update_inside(double guidance) const { return guidance == 1.0 && euler_; }

  std::unique_ptr<Branch> conditional_, null_;
  std::unique_ptr<EulerSteps> euler_;
};

}  // namespace lavin::core
