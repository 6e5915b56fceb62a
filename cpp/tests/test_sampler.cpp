// Every kind of branch, on graphs that are functions.
#include "runtime/flow.h"
#include "runtime/sampler.h"
#include "support.h"

namespace lavin::core {
namespace {

constexpr Size kSize = {32, 32};
const Shape kLatent = {1, 16, 1, 4, 4};
const Shape kContext = {1, 16, 3, 4, 4};
const Shape kRow = {1, 2};
const Shape kKeys = {1, 4};

TensorSpec spec(std::string name, Shape shape) {
  return {std::move(name), "float32", shape};
}

Graph graph(std::string name, std::vector<TensorSpec> inputs, std::vector<TensorSpec> outputs,
            std::optional<int> pairs = {}) {
  Graph made;
  made.name = name;
  made.file = "graphs/" + name + ".onnx";
  if (name != "modulation") {
    made.height = kSize.height;
    made.width = kSize.width;
  }
  made.pairs = pairs;
  made.inputs = std::move(inputs);
  made.outputs = std::move(outputs);
  return made;
}

Array filled(const Shape& shape, float value) {
  Array array(shape);
  for (std::size_t i = 0; i < array.count(); ++i) array.floats()[i] = value;
  return array;
}

float first(const Array& array) {
  return array.floats()[0];
}

Outputs one(const std::string& name, Array array) {
  Outputs outputs;
  outputs.emplace(name, std::move(array));
  return outputs;
}

// A pair whose frames hold 1 and 2.
Array pair() {
  return join_frames(filled(kLatent, 1), filled(kLatent, 2));
}

// A query that holds 3.
Array query() {
  return filled(kLatent, 3);
}

std::vector<std::string> names(const std::vector<const Graph*>& graphs) {
  std::vector<std::string> found;
  for (const Graph* graph : graphs) found.push_back(graph->name);
  return found;
}

class Samplers : public testing::Test {
 protected:
  Samplers() : bundle(Bundle::open(golden("toy.lavin"))) {
    variant.precision = "fp32";
    variant.graphs.push_back(graph("modulation", {spec("t", {1})}, {spec("modulation", kRow)}));
  }

  // A back end whose velocity is 10 row[0] + whatever `context` sums to, and its sampler.
  void open() {
    backend = std::make_unique<FakeBackend>(*bundle, variant);
    backend->graphs["modulation"] = [](const Feed& feed) {
      return one("modulation", filled(kRow, first(*feed.at("t"))));
    };
    modulation = std::make_unique<Modulation>(*backend);
  }

  std::unique_ptr<Bundle> bundle;
  Variant variant;
  std::unique_ptr<FakeBackend> backend;
  std::unique_ptr<Modulation> modulation;
};

TEST_F(Samplers, RunWholeStepsOfAJointModel) {
  const std::vector<TensorSpec> inputs = {spec("latent", kLatent), spec("context", kContext),
                                          spec("modulation", kRow)};
  variant.graphs.push_back(graph("step", inputs, {spec("velocity", kLatent)}, 1));
  variant.graphs.push_back(
      graph("step_null",
            {spec("latent", kLatent), spec("context", {1, 16, 2, 4, 4}), spec("modulation", kRow)},
            {spec("velocity", kLatent)}));
  open();
  backend->graphs["step"] = [](const Feed& feed) {
    const Array& given = *feed.at("context");
    return one("velocity", filled(kLatent, first(given) + first(frames_of(given, 2, 1))));  // 4
  };
  backend->graphs["step_null"] = [](const Feed& feed) {
    const Array& given = *feed.at("context");
    EXPECT_EQ(first(given), 0.0F);
    return one("velocity", filled(kLatent, first(frames_of(given, 1, 1))));  // 3
  };
  Sampler sampler(*backend, *modulation, kSize, 1);
  EXPECT_EQ(names(sampler.graphs(1.0)), std::vector<std::string>{"step"});
  EXPECT_EQ(names(sampler.graphs(2.0)), (std::vector<std::string>{"step", "step_null"}));
  const Array noise = filled(kLatent, 0.5F);
  sampler.take_pairs(pair(), 2.0);
  EXPECT_EQ(first(sampler.sample(noise, query(), uniform(4), 1.0)), 4.5F);
  EXPECT_EQ(backend->calls["step_null"], 0);
  EXPECT_EQ(first(sampler.sample(noise, query(), uniform(4), 2.0)), 5.5F);  // 3 + 2 (4 - 3)
  EXPECT_EQ(backend->calls["step_null"], 4);
}

TEST_F(Samplers, TakeRowsOfTheTableAndComputeOthersOnce) {
  open();
  const float in_table = 0.25F, not_in_table = 0.3F;
  EXPECT_FLOAT_EQ(first(modulation->row(in_table)), 1.0F / 0.75F);  // the toy's table
  EXPECT_EQ(backend->calls["modulation"], 0);
  EXPECT_EQ(first(modulation->row(not_in_table)), not_in_table);
  EXPECT_EQ(first(modulation->row(not_in_table)), not_in_table);
  EXPECT_EQ(backend->calls["modulation"], 1);
}

TEST_F(Samplers, TakeTheGraphWithTheUpdateInsideWithoutGuidance) {
  const std::vector<TensorSpec> inputs = {spec("latent", kLatent), spec("context", kContext),
                                          spec("modulation", kRow)};
  variant.graphs.push_back(graph("step", inputs, {spec("velocity", kLatent)}, 1));
  variant.graphs.push_back(graph("step_null", inputs, {spec("velocity", kLatent)}));
  auto with_update = inputs;
  with_update.push_back(spec("dt", {1}));
  variant.graphs.push_back(graph("step_euler", with_update, {spec("next", kLatent)}, 1));
  open();
  backend->graphs["step_euler"] = [](const Feed& feed) {
    return one("next", filled(kLatent, first(*feed.at("latent")) + 2 * first(*feed.at("dt"))));
  };
  Sampler sampler(*backend, *modulation, kSize, 1);
  sampler.take_pairs(pair(), 1.0);
  EXPECT_EQ(first(sampler.sample(filled(kLatent, 0), query(), uniform(4), 1.0)), 2.0F);
  EXPECT_EQ(backend->calls["step_euler"], 4);
}

TEST_F(Samplers, ComputeAFrozenContextOnceForATask) {
  variant.context = "frozen";
  variant.graphs.push_back(graph("context",
                                 {spec("context", {1, 16, 2, 4, 4}), spec("modulation", kRow)},
                                 {spec("k.0", kKeys)}, 1));
  variant.graphs.push_back(
      graph("query", {spec("query", kLatent), spec("modulation", kRow), spec("pair_k.0", kKeys)},
            {spec("k.0", kKeys)}, 1));
  variant.graphs.push_back(graph("query_null", {spec("query", kLatent), spec("modulation", kRow)},
                                 {spec("k.0", kKeys)}));
  const std::vector<TensorSpec> inputs = {spec("latent", kLatent), spec("modulation", kRow),
                                          spec("k.0", kKeys)};
  variant.graphs.push_back(graph("step", inputs, {spec("velocity", kLatent)}, 1));
  variant.graphs.push_back(graph("step_null", inputs, {spec("velocity", kLatent)}));
  open();
  backend->graphs["context"] = [](const Feed& feed) {
    const Array& pairs = *feed.at("context");
    return one("k.0", filled(kKeys, first(pairs) + first(frames_of(pairs, 1, 1))));  // 3
  };
  backend->graphs["query"] = [](const Feed& feed) {
    EXPECT_EQ(first(*feed.at("modulation")), 1.0F);  // that of clean frames
    return one("k.0", filled(kKeys, first(*feed.at("pair_k.0")) + first(*feed.at("query"))));
  };
  backend->graphs["query_null"] = [](const Feed& feed) {
    return one("k.0", filled(kKeys, first(*feed.at("query"))));
  };
  backend->graphs["step"] = backend->graphs["step_null"] = [](const Feed& feed) {
    return one("velocity", filled(kLatent, first(*feed.at("k.0"))));
  };
  Sampler sampler(*backend, *modulation, kSize, 1);
  EXPECT_EQ(names(sampler.graphs(1.0)), (std::vector<std::string>{"query", "step"}));
  const Array noise = filled(kLatent, 0);
  sampler.take_pairs(pair(), 0.0);
  EXPECT_EQ(backend->released, std::vector<std::string>{"context"});
  EXPECT_EQ(first(sampler.sample(noise, query(), uniform(4), 1.0)), 6.0F);
  EXPECT_EQ(first(sampler.sample(noise, filled(kLatent, 7), uniform(2), 1.0)), 10.0F);
  EXPECT_EQ(backend->calls["context"], 1);  // once for the task
  EXPECT_EQ(backend->calls["query"], 2);    // once for a frame
  EXPECT_EQ(first(sampler.sample(noise, query(), uniform(2), 0.0)), 3.0F);
}

TEST_F(Samplers, TakeMergedPairsOnceForATaskAndTheQueryWithEachStep) {
  variant.context = "frozen";
  variant.pairing = "merged";
  const std::vector<TensorSpec> inputs = {spec("latent", kLatent), spec("modulation", kRow),
                                          spec("query", kLatent), spec("k.0", kKeys)};
  for (const char* null : {"", "_null"}) {
    const std::optional<int> pairs = *null == '\0' ? std::optional(1) : std::nullopt;
    const Shape shown = {1, 16, *null == '\0' ? 2 : 1, 4, 4};
    variant.graphs.push_back(graph(std::string("context") + null,
                                   {spec("context", shown), spec("modulation", kRow)},
                                   {spec("k.0", kKeys)}, pairs));
    variant.graphs.push_back(
        graph(std::string("step") + null, inputs, {spec("velocity", kLatent)}, pairs));
  }
  open();
  backend->graphs["context"] = [](const Feed& feed) {
    EXPECT_EQ(first(*feed.at("modulation")), 1.0F);  // that of clean frames
    const Array& pairs = *feed.at("context");
    return one("k.0", filled(kKeys, first(pairs) + first(frames_of(pairs, 1, 1))));  // 3
  };
  backend->graphs["context_null"] = [](const Feed& feed) {
    return one("k.0", filled(kKeys, first(*feed.at("context"))));  // 0
  };
  backend->graphs["step"] = backend->graphs["step_null"] = [](const Feed& feed) {
    return one("velocity", filled(kLatent, first(*feed.at("k.0")) + first(*feed.at("query"))));
  };
  Sampler sampler(*backend, *modulation, kSize, 1);
  EXPECT_EQ(names(sampler.graphs(1.0)), std::vector<std::string>{"step"});
  const Array noise = filled(kLatent, 0);
  sampler.take_pairs(pair(), 0.0);
  EXPECT_EQ(backend->released, (std::vector<std::string>{"context", "context_null"}));
  EXPECT_EQ(first(sampler.sample(noise, query(), uniform(4), 1.0)), 6.0F);
  EXPECT_EQ(first(sampler.sample(noise, filled(kLatent, 7), uniform(2), 1.0)), 10.0F);
  EXPECT_EQ(backend->calls["context"], 1);  // once for the task
  EXPECT_EQ(first(sampler.sample(noise, query(), uniform(2), 0.0)), 3.0F);
}

TEST_F(Samplers, RefreshKeysAndValuesEverySoManySteps) {
  variant.context = "frozen";
  variant.refresh_every = 3;
  const std::vector<TensorSpec> whole = {spec("latent", kLatent), spec("context", kContext),
                                         spec("modulation", kRow)};
  const std::vector<TensorSpec> known = {spec("latent", kLatent), spec("modulation", kRow),
                                         spec("k.0", kKeys)};
  for (const char* null : {"", "_null"}) {
    const std::optional<int> pairs = *null == '\0' ? std::optional(1) : std::nullopt;
    variant.graphs.push_back(graph(std::string("refresh") + null, whole,
                                   {spec("velocity", kLatent), spec("k.0", kKeys)}, pairs));
    variant.graphs.push_back(
        graph(std::string("step") + null, known, {spec("velocity", kLatent)}, pairs));
  }
  open();
  backend->graphs["refresh"] = [](const Feed& feed) {
    Outputs outputs = one("velocity", filled(kLatent, 100));
    outputs.emplace("k.0", filled(kKeys, first(*feed.at("latent"))));
    return outputs;
  };
  backend->graphs["step"] = [](const Feed& feed) {
    return one("velocity", filled(kLatent, first(*feed.at("k.0"))));
  };
  Sampler sampler(*backend, *modulation, kSize, 1);
  // Steps of 1/4: refresh at 0 (v = 100, k = 1), two steps of k = 1, refresh at 3.
  sampler.take_pairs(pair(), 1.0);
  const Array end = sampler.sample(filled(kLatent, 1), query(), uniform(4), 1.0);
  EXPECT_EQ(first(end), 1.0F + 0.25F * (100 + 1 + 1 + 100));
  EXPECT_EQ(backend->calls["refresh"], 2);
  EXPECT_EQ(backend->calls["step"], 2);
}

TEST_F(Samplers, RefuseAVelocityOfAnotherShape) {
  const std::vector<TensorSpec> inputs = {spec("latent", kLatent), spec("context", kContext),
                                          spec("modulation", kRow)};
  variant.graphs.push_back(graph("step", inputs, {spec("velocity", {1, 16, 1, 4, 8})}, 1));
  open();
  EXPECT_EQ(sentence_of([&] { Sampler(*backend, *modulation, kSize, 1); }),
            "'graphs/step.onnx' gives no 'velocity' of float32 (1, 16, 1, 4, 4); export the bundle "
            "again.");
}

}  // namespace
}  // namespace lavin::core
