// Writes an answer as a program, for the graphs of a variant.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "base/grids.h"
#include "base/size.h"
#include "bundle/manifest.h"
#include "device/program.h"

namespace lavin::core {

// Writes the program of one size and number of pairs.
class Planner {
 public:
  Planner(const Variant& variant, const Latent& latent, Size size, int pairs);

  // The program for a checked time grid and a guidance weight; at 1 nothing of the null branch
  // runs. BundleError: the variant has no graphs for it, or they lack the folded timestep.
  Program program(const Grid& grid, double guidance);

 private:
  class Branch;
  class Joint;
  class Refresh;
  class Frozen;
  class Merged;

  // Whether steps on keys and values take the query too.
  bool merged() const { return variant_.pairing == "merged"; }
  const Graph& graph(const std::string& name, bool pairs = false) const;
  Place need(const std::string& name, std::size_t size);
  Run run(const Graph& graph, const Places& inputs, const Places& outputs);
  Place row(std::size_t step) const;
  std::size_t latent_bytes(int frames) const;
  Affine affine(Place target, Place source, int frames, float add, float factor, float shift);
  Affine scaled_query(const std::string& name, int frames);

  const Variant& variant_;
  Latent latent_;
  Size size_;
  int pairs_;
  int cells_;
  std::map<std::string, std::size_t> buffers_;
  std::size_t row_bytes_ = 0, row_stride_ = 0;
};

}  // namespace lavin::core
