// One task at fixed settings, frame after frame: everything that can be is computed once.
#pragma once

#include <map>
#include <memory>

#include "backends/backend.h"
#include "runtime/context.h"
#include "runtime/modulation.h"
#include "runtime/request.h"

namespace lavin::core {

// The answer to one frame.
struct Answer {
  Picture image;   // in the frame's size
  Picture target;  // as the model made it
  Array latents;   // (1, C, 1, h/8, w/8) float32 scaled
  int pairs = 0;    // example pairs that were used, the first ones
  Seconds seconds;
};

// Answers frames by one request; remembers context latents and noise for each size.
class Answerer {
 public:
  // InputError: the bundle lacks the task, the size or graphs for the pairs, or noise fits no size.
  Answerer(Backend& backend, Modulation& modulation, const Request& request);
  Answer answer(const Picture& frame);

 private:
  std::unique_ptr<Frames> prepare(Size size);
  int count_pairs(Size size) const;

  Backend& backend_;
  Modulation& modulation_;
  int num_pairs_;
  std::unique_ptr<Context> context_;
  Settings settings_;
  std::vector<Size> sizes_;
  std::map<Size, int> counts_;  // of pairs, by size
  std::map<Size, std::unique_ptr<Frames>> prepared_;
};

}  // namespace lavin::core
