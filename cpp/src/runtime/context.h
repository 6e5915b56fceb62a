// Where the context of a run comes from: a stored task or example pairs of the caller.
#pragma once

#include <memory>

#include "bundle/task.h"
#include "runtime/codec.h"

namespace lavin::core {

// Example pairs as scaled latents.
class Context {
 public:
  virtual ~Context() = default;
  // How many pairs there are, and how many to use unless a run asks for another number; 0: all that
  // the largest graph takes.
  virtual int available() const = 0;
  virtual int preferred() const = 0;
  // The first `count` pairs at the codec's size: (1, C, 2 count, h, w) float32 scaled.
  virtual Array latents(Codec& codec, int count) const = 0;
};

std::unique_ptr<Context> stored_context(const Bundle& bundle, StoredTask task);

// InputError: the pictures of a pair differ in size.
std::unique_ptr<Context> given_pairs(Pairs pairs);

}  // namespace lavin::core
