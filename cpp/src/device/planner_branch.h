// What a branch of guidance adds to a program: the velocity under a context, by the variant's
// graphs.
#pragma once

#include <memory>
#include <string>

#include "device/planner.h"

namespace lavin::core {

// One branch, as operations.
class Planner::Branch {
 public:
  // The branch of the planner's variant; `null` is the one without a condition.
  static std::unique_ptr<Branch> make(Planner& planner, bool null);
  Branch(Planner& planner, bool null);
  virtual ~Branch() = default;

  // After the constants are there; `clean` is the row of a frozen context's time.
  virtual Operations once(std::size_t clean);
  // From the encoder's mean to where the branch wants the query.
  virtual Operations place_query() = 0;
  // Before the first step of a frame.
  virtual Operations begin(std::size_t clean);
  virtual Run velocity(std::size_t step) = 0;

 protected:
  const Graph& graph(const std::string& name) const;
  // A step on this branch's keys and values, and on the query where it takes it.
  Run step(const Place& row) const;
  // Keys and values of a graph's inputs or outputs, by buffers of this branch.
  Places keys_values(const Graph& graph, const std::string& prefix = "") const;

  Planner& planner_;
  bool null_;
  std::string suffix_, context_;
  Place out_;
};

}  // namespace lavin::core
