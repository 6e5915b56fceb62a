#include "runtime/context.h"

#include "base/errors.h"

namespace lavin::core {

namespace {

class StoredContext : public Context {
 public:
  StoredContext(const Bundle& bundle, StoredTask task) : bundle_(bundle), task_(std::move(task)) {}
  int available() const override { return task_.pairs; }
  int preferred() const override {
    return task_.num_pairs.value_or(bundle_.manifest().defaults.pairs);
  }
  Array latents(Codec& codec, int count) const override {
    return frames_of(read_context(bundle_, task_, codec.size()), 0, 2 * count);
  }

 private:
  const Bundle& bundle_;
  StoredTask task_;
};

class GivenPairs : public Context {
 public:
  explicit GivenPairs(Pairs pairs) : pairs_(std::move(pairs)) {
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      const auto& [input, target] = pairs_[i];
      if (input.size() != target.size()) {
        throw InputError(cat("the input of pair ", i + 1, " has ", input.height, "x", input.width,
                             " pixels and its target ", target.height, "x", target.width,
                             "; give both in one size."));
      }
    }
  }
  int available() const override { return static_cast<int>(pairs_.size()); }
  int preferred() const override { return 0; }
  Array latents(Codec& codec, int count) const override {
    return codec.encode_pairs(pairs_, count);
  }

 private:
  Pairs pairs_;
};

}  // namespace

std::unique_ptr<Context> stored_context(const Bundle& bundle, StoredTask task) {
  return std::make_unique<StoredContext>(bundle, std::move(task));
}

std::unique_ptr<Context> given_pairs(Pairs pairs) {
  return std::make_unique<GivenPairs>(std::move(pairs));
}

}  // namespace lavin::core
