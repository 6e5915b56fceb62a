// Rows of factors that a step takes in place of the time.
#pragma once

#include <map>

#include "backends/backend.h"

namespace lavin::core {

// Rows of the folded timestep: from the bundle's table, else from its `modulation` graph, which
// runs once for each time.
class Modulation {
 public:
  // BundleError: the table does not fit its grid or the graph.
  explicit Modulation(Backend& backend);
  // The (1, R) float32 row of time t in [0, 1]; it stays for as long as this lives.
  const Array& row(float t);

 private:
  Backend& backend_;
  const Graph& graph_;
  std::map<float, Array> rows_;
};

}  // namespace lavin::core
