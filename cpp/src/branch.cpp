#include "branch.h"

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

class JointBranch : public Branch {
 public:
  JointBranch(Backend& backend, Modulation& modulation, const Graph& graph)
      : backend_(backend), modulation_(modulation), graph_(graph) {}
  void prepare() override { backend_.prepare(graph_); }
  void begin(const Array& context) override { context_ = &context; }
  Array velocity(const Array& z, float t) override {
    const Time time(modulation_, graph_, t);
    Feed feed = {{"latent", &z}, {"context", context_}};
    time.put_into(feed);
    return backend_.infer_one(graph_, feed);
  }

 private:
  Backend& backend_;
  Modulation& modulation_;
  const Graph& graph_;
  const Array* context_ = nullptr;
};

class RefreshBranch : public Branch {
 public:
  RefreshBranch(Backend& backend, Modulation& modulation, const Graph& refresh, const Graph& step,
                int every)
      : backend_(backend), modulation_(modulation), refresh_(refresh), step_(step), every_(every) {}
  void prepare() override {
    backend_.prepare(refresh_);
    backend_.prepare(step_);
  }
  void begin(const Array& context) override {
    context_ = &context;
    count_ = 0;
  }
  Array velocity(const Array& z, float t) override {
    Feed feed = {{"latent", &z}, {"modulation", &modulation_.row(t)}};
    if (count_++ % every_ != 0) {
      put_all(feed, known_);
      return backend_.infer_one(step_, feed);
    }
    feed["context"] = context_;
    known_ = backend_.infer(refresh_, feed);
    auto velocity = known_.extract("velocity");
    return std::move(velocity.mapped());
  }

 private:
  Backend& backend_;
  Modulation& modulation_;
  const Graph& refresh_;
  const Graph& step_;
  int every_;
  int count_ = 0;
  const Array* context_ = nullptr;
  Outputs known_;
};

class FrozenBranch : public Branch {
 public:
  FrozenBranch(Backend& backend, Modulation& modulation, const Graph* context, const Graph& query,
               const Graph& step)
      : backend_(backend), modulation_(modulation), context_(context), query_(query), step_(step) {}
  void prepare() override {
    if (context_ != nullptr) backend_.prepare(*context_);
    backend_.prepare(query_);
    backend_.prepare(step_);
  }
  // Pairs that are those of the last call are not computed again.
  void begin(const Array& context) override {
    const Array& row = modulation_.row(kClean);
    const std::int64_t before = context.shape()[2] - 1;
    const Array query = frames_of(context, before, 1);
    if (context_ != nullptr) {
      Array pairs = frames_of(context, 0, before);
      if (!pairs.equals(pairs_)) {
        Outputs given = backend_.infer(*context_, {{"context", &pairs}, {"modulation", &row}});
        of_pairs_.clear();
        for (auto& [name, array] : given) of_pairs_.emplace("pair_" + name, std::move(array));
        pairs_ = std::move(pairs);
      }
    }
    Feed feed = {{"query", &query}, {"modulation", &row}};
    put_all(feed, of_pairs_);
    known_ = backend_.infer(query_, feed);
  }
  Array velocity(const Array& z, float t) override {
    Feed feed = {{"latent", &z}, {"modulation", &modulation_.row(t)}};
    put_all(feed, known_);
    return backend_.infer_one(step_, feed);
  }

 private:
  Backend& backend_;
  Modulation& modulation_;
  const Graph* context_;
  const Graph& query_;
  const Graph& step_;
  Array pairs_;
  Outputs of_pairs_, known_;
};

}  // namespace

std::unique_ptr<Branch> make_branch(Backend& backend, Modulation& modulation, Size size, int pairs,
                                    bool null) {
  const Variant& variant = backend.variant;
  const Shape latent = latent_shape(backend.bundle.manifest(), size);
  const auto graph = [&](const std::string& name) -> const Graph& {
    const Graph& found =
        null ? variant.graph(name + "_null", size) : variant.graph(name, size, pairs);
    if (name == "step" || name == "refresh") require_output(found, "velocity", latent);
    return found;
  };
  if (variant.context == "joint") {
    return std::make_unique<JointBranch>(backend, modulation, graph("step"));
  }
  if (variant.refresh_every) {
    return std::make_unique<RefreshBranch>(backend, modulation, graph("refresh"), graph("step"),
                                           std::max(1, *variant.refresh_every));
  }
  const Graph* context = null ? nullptr : &graph("context");
  return std::make_unique<FrozenBranch>(backend, modulation, context, graph("query"),
                                        graph("step"));
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

Array EulerSteps::advance(const Array& z, const Array& context, float t, float dt) {
  const Time time(modulation_, graph_, t);
  Array span(Shape{1});
  span.floats()[0] = dt;
  Feed feed = {{"latent", &z}, {"context", &context}, {"dt", &span}};
  time.put_into(feed);
  return backend_.infer_one(graph_, feed);
}

}  // namespace lavin::core
