// One branch of guidance: the velocity under a context, by whatever graphs a variant has for it.
#pragma once

#include <memory>

#include "backend.h"
#include "modulation.h"

namespace lavin::core {

// The velocity field of one target at a time.
class Branch {
 public:
  virtual ~Branch() = default;
  // Load the graphs.
  virtual void prepare() = 0;
  // Take the context (1, C, T, h, w) float32 scaled of the target that is solved next; it stays the
  // caller's and lives until that is solved.
  virtual void begin(const Array& context) = 0;
  // dz/dt at (z, t).
  virtual Array velocity(const Array& z, float t) = 0;
};

// A branch and the graphs it takes, by the variant's kind of context: whole steps (joint), whole
// steps whose keys and values serve the steps between them (refresh), or keys and values of the
// pairs once for a task and of the query once for a frame (frozen). `null` is that of guidance,
// whose context has no pairs.
std::unique_ptr<Branch> make_branch(Backend& backend, Modulation& modulation, Size size, int pairs,
                                    bool null);

// Whole steps with the update inside, for a weight of 1; null where the bundle has no such graph.
class EulerSteps {
 public:
  static std::unique_ptr<EulerSteps> find(Backend& backend, Modulation& modulation, Size size,
                                          int pairs);
  void prepare() { backend_.prepare(graph_); }
  // The latents at t + dt.
  Array advance(const Array& z, const Array& context, float t, float dt);

 private:
  EulerSteps(Backend& backend, Modulation& modulation, const Graph& graph)
      : backend_(backend), modulation_(modulation), graph_(graph) {}
  Backend& backend_;
  Modulation& modulation_;
  const Graph& graph_;
};

}  // namespace lavin::core
