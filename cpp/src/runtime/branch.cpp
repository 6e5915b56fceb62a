#include "runtime/branch.h"

#include <algorithm>

namespace lavin::core {

namespace {

constexpr float kClean = 1.0F;  // the time whose row modulates a frozen context

bool takes(const Graph& graph, std::string_view input) {
  return std::any_of(graph.inputs.begin(), graph.inputs.end(),
                     [input](const TensorSpec& spec) { return spec.name == input; });
}

// The time as a graph takes it: a row of factors, or t itself.
class Time {
 public:
  Time(Modulation& modulation, const Graph& graph, float t) : value_(Shape{1}) {
    if (takes(graph, "modulation")) {
      row_ = &modulation.row(t);
    } else {
      value_.floats()[0] = t;
    }
  }
  void put_into(Feed& feed) const {
    row_ != nullptr ? feed["modulation"] = row_ : feed["t"] = &value_;
  }

 private:
  Array value_;
  const Array* row_ = nullptr;
};

void put_all(Feed& feed, const Outputs& outputs) {
  for (const auto& [name, array] : outputs) feed[name] = &array;
}

// What a branch sees before the query: the pairs, or for guidance an empty frame.
Array before_query(const Array& pairs, bool null) {
  if (!null) return pairs.clone();
  Shape one = pairs.shape();
  one[2] = 1;
  return Array::zeros(one);
}

class JointBranch : public Branch {
 public:
  JointBranch(Backend& backend, Modulation& modulation, const Graph& step, bool null)
      : backend_(backend), modulation_(modulation), step_(step), null_(null) {}
  void take_pairs(const Array& pairs) override { before_ = before_query(pairs, null_); }
  std::vector<const Graph*> graphs() const override { return {&step_}; }
  void begin(const Array& query) override { context_ = join_frames(before_, query); }
  Array velocity(const Array& z, float t) override {
    const Time time(modulation_, step_, t);
    Feed feed = {{"latent", &z}, {"context", &context_}};
    time.put_into(feed);
    return backend_.infer_one(step_, feed);
  }

 private:
  Backend& backend_;
  Modulation& modulation_;
  const Graph& step_;
  bool null_;
  Array before_, context_;
};

class RefreshBranch : public Branch {
 public:
  RefreshBranch(Backend& backend, Modulation& modulation, const Graph& refresh, const Graph& step,
                int every, bool null)
      : backend_(backend),
        modulation_(modulation),
        refresh_(refresh),
        step_(step),
        every_(every),
        null_(null) {}
  void take_pairs(const Array& pairs) override { before_ = before_query(pairs, null_); }
  std::vector<const Graph*> graphs() const override { return {&refresh_, &step_}; }
  void begin(const Array& query) override {
    context_ = join_frames(before_, query);
    if (takes(step_, "query")) query_ = query.clone();
    count_ = 0;
  }
  Array velocity(const Array& z, float t) override {
    Feed feed = {{"latent", &z}, {"modulation", &modulation_.row(t)}};
    if (count_++ % every_ != 0) {
      put_all(feed, keys_values_);
      if (takes(step_, "query")) feed["query"] = &query_;
      return backend_.infer_one(step_, feed);
    }
    feed["context"] = &context_;
    keys_values_ = backend_.infer(refresh_, feed);
    auto velocity = keys_values_.extract("velocity");
    return std::move(velocity.mapped());
  }

 private:
  Backend& backend_;
  Modulation& modulation_;
  const Graph& refresh_;
  const Graph& step_;
  int every_;
  bool null_;
  int count_ = 0;
  Array before_, context_, query_;
  Outputs keys_values_;
};

class FrozenBranch : public Branch {
 public:
  FrozenBranch(Backend& backend, Modulation& modulation, const Graph* context, const Graph& query,
               const Graph& step)
      : backend_(backend), modulation_(modulation), context_(context), query_(query), step_(step) {}
  // The graph of the pairs is given back: its weights are as many as those of a step.
  void take_pairs(const Array& pairs) override {
    if (context_ == nullptr) return;
    const Feed feed = {{"context", &pairs}, {"modulation", &modulation_.row(kClean)}};
    pair_keys_values_.clear();
    for (auto& [name, array] : backend_.infer(*context_, feed)) {
      pair_keys_values_.emplace("pair_" + name, std::move(array));
    }
    backend_.release(*context_);
  }
  std::vector<const Graph*> graphs() const override { return {&query_, &step_}; }
  void begin(const Array& query) override {
    Feed feed = {{"query", &query}, {"modulation", &modulation_.row(kClean)}};
    put_all(feed, pair_keys_values_);
    keys_values_ = backend_.infer(query_, feed);
  }
  Array velocity(const Array& z, float t) override {
    Feed feed = {{"latent", &z}, {"modulation", &modulation_.row(t)}};
    put_all(feed, keys_values_);
    return backend_.infer_one(step_, feed);
  }

 private:
  Backend& backend_;
  Modulation& modulation_;
  const Graph* context_;
  const Graph& query_;
  const Graph& step_;
  Outputs pair_keys_values_, keys_values_;
};

// Merged pairs: their keys and values once for a task; the query goes into each step.
class MergedBranch : public Branch {
 public:
  MergedBranch(Backend& backend, Modulation& modulation, const Graph& context, const Graph& step,
               bool null)
      : backend_(backend), modulation_(modulation), context_(context), step_(step), null_(null) {}
  void take_pairs(const Array& pairs) override {
    const Array before = before_query(pairs, null_);
    const Feed feed = {{"context", &before}, {"modulation", &modulation_.row(kClean)}};
    keys_values_ = backend_.infer(context_, feed);
    backend_.release(context_);
  }
  std::vector<const Graph*> graphs() const override { return {&step_}; }
  void begin(const Array& query) override { query_ = query.clone(); }
  Array velocity(const Array& z, float t) override {
    Feed feed = {{"latent", &z}, {"query", &query_}, {"modulation", &modulation_.row(t)}};
    put_all(feed, keys_values_);
    return backend_.infer_one(step_, feed);
  }

 private:
  Backend& backend_;
  Modulation& modulation_;
  const Graph& context_;
  const Graph& step_;
  bool null_;
  Array query_;
  Outputs keys_values_;
};

}  // namespace

std::unique_ptr<Branch> make_branch(Backend& backend, Modulation& modulation, Size size, int pairs,
                                    bool null) {
  const Variant& variant = backend.variant;
  const Shape latent = latent_shape(backend.bundle.manifest(), size);
  const auto graph = [&](const std::string& name) -> const Graph& {
    const Graph& chosen =
        null ? variant.graph(name + "_null", size) : variant.graph(name, size, pairs);
    if (name == "step" || name == "refresh") require_output(chosen, "velocity", latent);
    return chosen;
  };
  switch (variant.context_kind()) {
    case ContextKind::kJoint:
      return std::make_unique<JointBranch>(backend, modulation, graph("step"), null);
    case ContextKind::kRefresh:
      return std::make_unique<RefreshBranch>(backend, modulation, graph("refresh"), graph("step"),
                                             *variant.refresh_every, null);
    case ContextKind::kMerged:
      return std::make_unique<MergedBranch>(backend, modulation, graph("context"), graph("step"),
                                            null);
    default:
      const Graph* context = null ? nullptr : &graph("context");
      return std::make_unique<FrozenBranch>(backend, modulation, context, graph("query"),
                                            graph("step"));
  }
}

std::unique_ptr<EulerSteps> EulerSteps::find(Backend& backend, Modulation& modulation, Size size,
                                             int pairs) {
  for (const Graph& graph : backend.variant.graphs) {
    if (graph.name == "step_euler" && graph.height == size.height && graph.width == size.width &&
        graph.pairs == pairs) {
      for (const TensorSpec& spec : graph.outputs) {
        require_output(graph, spec.name, latent_shape(backend.bundle.manifest(), size));
      }
      return std::unique_ptr<EulerSteps>(new EulerSteps(backend, modulation, graph));
    }
  }
  return nullptr;
}

Array EulerSteps::advance(const Array& z, float t, float dt) {
  const Time time(modulation_, graph_, t);
  Array span(Shape{1});
  span.floats()[0] = dt;
  Feed feed = {{"latent", &z}, {"context", &context_}, {"dt", &span}};
  time.put_into(feed);
  return backend_.infer_one(graph_, feed);
}

}  // namespace lavin::core
