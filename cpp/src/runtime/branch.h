// One branch of guidance: the velocity under a context, by whatever graphs a variant has for it.
#pragma once

#include <memory>
#include <vector>

#include "backends/backend.h"
#include "runtime/modulation.h"

namespace lavin::core {

// The velocity field of one target at a time. Latents are float32 and scaled.
class Branch {
 public:
  virtual ~Branch() = default;
  // Take the pairs (1, C, 2 pairs, h, w) and compute what they alone decide; done once, first.
  virtual void take_pairs(const Array& pairs) = 0;
  // The graphs that every target needs.
  virtual std::vector<const Graph*> graphs() const = 0;
  // Take the query (1, C, 1, h, w) of the target that is solved next.
  virtual void begin(const Array& query) = 0;
  // dz/dt at (z, t).
  virtual Array velocity(const Array& z, float t) = 0;
};

// A branch and the graphs it takes, by the variant's kind of context: whole steps (joint), whole
// steps whose keys and values serve the steps between them (refresh), or keys and values of the
// pairs once for a task and of the query once for a frame (frozen), or of merged pairs alone, once
// for a task (merged). `null` is that of guidance, whose context is an empty frame in place of the
// pairs.
std::unique_ptr<Branch> make_branch(Backend& backend, Modulation& modulation, Size size, int pairs,
                                    bool null);

// Whole steps with the update inside, for a weight of 1; null where the bundle has no such graph.
class EulerSteps {
 public:
  static std::unique_ptr<EulerSteps> find(Backend& backend, Modulation& modulation, Size size,
                                          int pairs);
  void take_pairs(const Array& pairs) { pairs_ = pairs.clone(); }
  const Graph& graph() const { return graph_; }
  void begin(const Array& query) { context_ = join_frames(pairs_, query); }
  // The latents at t + dt.
  Array advance(const Array& z, float t, float dt);

 private:
  EulerSteps(Backend& backend, Modulation& modulation, const Graph& graph)
      : backend_(backend), modulation_(modulation), graph_(graph) {}
  Backend& backend_;
  Modulation& modulation_;
  const Graph& graph_;
  Array pairs_, context_;
};

}  // namespace lavin::core
