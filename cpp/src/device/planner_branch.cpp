#include "device/planner_branch.h"

namespace lavin::core {

using namespace buffer;

namespace {

Place at(const std::string& name) {
  return {name, 0};
}

Places with(Places places, const Places& more) {
  places.insert(more.begin(), more.end());
  return places;
}

}  // namespace

Planner::Branch::Branch(Planner& planner, bool null)
    : planner_(planner),
      null_(null),
      suffix_(null ? "_null" : ""),
      context_(null ? kNullContext : kContext),
      out_(at(null ? kNullVelocity : kVelocity)) {}

Operations Planner::Branch::once(std::size_t) {
  return {};
}

Operations Planner::Branch::begin(std::size_t) {
  return {};
}

const Graph& Planner::Branch::graph(const std::string& name) const {
  return planner_.graph(name + suffix_, !null_);
}

Run Planner::Branch::step(const Place& row) const {
  const Graph& part = graph("step");
  Places inputs = with({{"latent", at(kLatent)}, {"modulation", row}}, keys_values(part));
  if (planner_.merged()) inputs["query"] = at(kQuery);
  return planner_.run(part, inputs, {{"velocity", out_}});
}

Places Planner::Branch::keys_values(const Graph& graph, const std::string& prefix) const {
  Places places;
  for (const auto* specs : {&graph.inputs, &graph.outputs}) {
    for (const TensorSpec& spec : *specs) {
      const std::string kind = spec.name.substr(0, 2);
      if (kind == "k." || kind == "v.") places[spec.name] = at(prefix + spec.name + suffix_);
    }
  }
  return places;
}

// Whole steps: the context's latents go into each.
class Planner::Joint : public Branch {
 public:
  using Branch::Branch;

  Operations place_query() override {
    return {planner_.scaled_query(context_, null_ ? 2 : 2 * planner_.pairs_ + 1)};
  }

  Run velocity(std::size_t step) override {
    const Places inputs = {
        {"latent", at(kLatent)}, {"context", at(context_)}, {"modulation", planner_.row(step)}};
    return planner_.run(graph("step"), inputs, {{"velocity", out_}});
  }
};

// Whole steps that also give keys and values, which the steps between them go on with.
class Planner::Refresh : public Joint {
 public:
  Refresh(Planner& planner, bool null, int every)
      : Joint(planner, null), every_(static_cast<std::size_t>(every)) {}

  // The query apart too, for the steps that take it beside keys and values; one for both branches.
  Operations place_query() override {
    Operations operations = Joint::place_query();
    if (planner_.merged() && !null_) operations.emplace_back(planner_.scaled_query(kQuery, 1));
    return operations;
  }

  Run velocity(std::size_t index) override {
    const Place row = planner_.row(index);
    if (index % every_ == 0) {
      const Graph& whole = graph("refresh");
      const Places inputs = {
          {"latent", at(kLatent)}, {"context", at(context_)}, {"modulation", row}};
      return planner_.run(whole, inputs, with({{"velocity", out_}}, keys_values(whole)));
    }
    return step(row);
  }

 private:
  std::size_t every_;
};

// Keys and values of the pairs once for a task, of the query once for a frame.
class Planner::Frozen : public Branch {
 public:
  using Branch::Branch;

  Operations once(std::size_t clean) override {
    if (null_) return {};
    const Graph& pairs = graph("context");
    const Places inputs = {{"context", at(kContext)}, {"modulation", planner_.row(clean)}};
    return {planner_.run(pairs, inputs, keys_values(pairs, "pair_"))};
  }

  Operations place_query() override {
    if (null_) return {};
    return {planner_.scaled_query(kQuery, 1)};
  }

  Operations begin(std::size_t clean) override {
    const Graph& query = graph("query");
    const Places keys = keys_values(query);
    Places inputs = {{"query", at(kQuery)}, {"modulation", planner_.row(clean)}};
    for (const auto& key : keys) inputs["pair_" + key.first] = at("pair_" + key.first);
    return {planner_.run(query, inputs, keys)};
  }

  Run velocity(std::size_t index) override { return step(planner_.row(index)); }
};

// Merged pairs: their keys and values once for a task; the query goes into each step.
class Planner::Merged : public Frozen {
 public:
  using Frozen::Frozen;

  Operations once(std::size_t clean) override {
    const Graph& pairs = graph("context");
    const Places inputs = {{"context", at(context_)}, {"modulation", planner_.row(clean)}};
    return {planner_.run(pairs, inputs, keys_values(pairs))};
  }

  Operations begin(std::size_t) override { return {}; }
};

std::unique_ptr<Planner::Branch> Planner::Branch::make(Planner& planner, bool null) {
  const Variant& variant = planner.variant_;
  switch (variant.context_kind()) {
    case ContextKind::kJoint:
      return std::make_unique<Joint>(planner, null);
    case ContextKind::kRefresh:
      return std::make_unique<Refresh>(planner, null, *variant.refresh_every);
    case ContextKind::kMerged:
      return std::make_unique<Merged>(planner, null);
    default:
      return std::make_unique<Frozen>(planner, null);
  }
}

}  // namespace lavin::core
