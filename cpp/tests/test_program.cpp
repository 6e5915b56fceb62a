// What a program runs, and where its buffers lie.
#include <algorithm>

#include "device/planner.h"
#include "support.h"
#include "toy_graphs.h"

namespace lavin::core {
namespace {

using toy::Kind;

Program program_of(const Variant& variant, int steps, double guidance) {
  return Planner(variant, toy::kLatentSpec, toy::kSize, toy::kPairs)
      .program(uniform(steps), guidance);
}

int runs_of(const Operations& operations, const std::string& name) {
  int found = 0;
  for (const Operation& operation : operations) {
    const Run* run = std::get_if<Run>(&operation);
    found += run != nullptr && run->graph->name == name ? 1 : 0;
  }
  return found;
}

std::vector<UpdateNumbers> updates_of(const Operations& operations) {
  std::vector<UpdateNumbers> found;
  for (const Operation& operation : operations) {
    if (const Update* update = std::get_if<Update>(&operation)) found.push_back(update->numbers);
  }
  return found;
}

TEST(Program, RunsWhatItMustAndNoMore) {
  for (const Kind kind : {Kind::kJoint, Kind::kRefresh, Kind::kFrozen, Kind::kMergedRefresh,
                          Kind::kMerged}) {
    const Variant variant = toy::variant(kind);
    for (const int steps : {1, 4}) {
      for (const double guidance : {1.0, 2.0}) {
        const Program program = program_of(variant, steps, guidance);
        const int nulls = guidance == 1.0 ? 0 : 1;
        const int whole = toy::is_refreshed(kind) ? (steps + 1) / 2 : 0;
        EXPECT_EQ(runs_of(program.sample, "step"), steps - whole);
        EXPECT_EQ(runs_of(program.sample, "step_null"), (steps - whole) * nulls);
        EXPECT_EQ(runs_of(program.sample, "refresh"), whole);
        EXPECT_EQ(runs_of(program.sample, "refresh_null"), whole * nulls);
        const int queries = kind == Kind::kFrozen ? 1 : 0;
        EXPECT_EQ(runs_of(program.sample, "query"), queries);
        EXPECT_EQ(runs_of(program.sample, "query_null"), queries * nulls);
        const int merged = kind == Kind::kMerged ? 1 : 0;
        EXPECT_EQ(runs_of(program.once, "context"), queries + merged);
        EXPECT_EQ(runs_of(program.once, "context_null"), merged * nulls);
        const std::size_t frames = queries + merged != 0 ? 4 : 5;  // pairs alone, or the query too
        EXPECT_EQ(program.buffers.at(buffer::kContext), frames * 2 * 6 * sizeof(float));
        float whole_span = 0;
        for (const UpdateNumbers& each : updates_of(program.sample)) {
          EXPECT_EQ(each.length, 12);
          EXPECT_EQ(each.weight, static_cast<float>(guidance));
          whole_span += each.span;
        }
        EXPECT_FLOAT_EQ(whole_span, 1);
        EXPECT_EQ(updates_of(program.sample).size(), static_cast<std::size_t>(steps));
      }
    }
  }
}

TEST(Program, NamesEveryGraphOnce) {
  const Variant variant = toy::variant(Kind::kFrozen);
  std::vector<std::string> names;
  for (const Graph* graph : program_of(variant, 3, 2).graphs()) names.push_back(graph->name);
  std::sort(names.begin(), names.end());
  const std::vector<std::string> right = {"context",    "decoder", "encoder",  "query",
                                          "query_null", "step",    "step_null"};
  EXPECT_EQ(names, right);
}

TEST(Program, HasItsBuffersApartAndAligned) {
  const Variant variant = toy::variant(Kind::kRefresh);
  const Program program = program_of(variant, 4, 1.5);
  const auto [offsets, size] = program.offsets();
  std::vector<std::pair<std::size_t, std::size_t>> ends;
  for (const auto& [name, offset] : offsets) {
    EXPECT_EQ(offset % kAlignment, 0U);
    ends.emplace_back(offset, offset + program.buffers.at(name));
  }
  std::sort(ends.begin(), ends.end());
  for (std::size_t i = 1; i < ends.size(); ++i) EXPECT_LE(ends[i - 1].second, ends[i].first);
  EXPECT_LE(ends.back().second, size);
  EXPECT_EQ(program.row_stride % kAlignment, 0U);
  EXPECT_EQ(program.buffers.at(buffer::kRows), program.row_stride * program.times.size());
  EXPECT_EQ(program.times.back(), 1.0F);
}

TEST(Program, NeedsTheFoldedTimestep) {
  Variant variant = toy::variant(Kind::kJoint);
  for (Graph& graph : variant.graphs) {
    if (graph.name == "step") graph.inputs[2] = toy::spec("t", {1});
  }
  EXPECT_EQ(sentence_of([&] { program_of(variant, 2, 1); }),
            "the step graph takes the time itself, not a row of the folded timestep, which a loop "
            "on the device needs; export without --without.");
}

TEST(Program, RefusesGraphsThatDisagree) {
  Variant variant = toy::variant(Kind::kFrozen);
  for (Graph& graph : variant.graphs) {
    if (graph.name == "query") graph.outputs[0].shape = {1, 1};
  }
  EXPECT_EQ(sentence_of([&] { program_of(variant, 2, 1); }),
            "the graphs of the bundle disagree about 'k.0', which is 4 bytes for one and 48 for "
            "another; export the bundle again.");
  variant = toy::variant(Kind::kJoint);
  for (Graph& graph : variant.graphs) {
    if (graph.name == "step") graph.inputs.push_back(toy::spec("mystery", {1}));
  }
  EXPECT_EQ(sentence_of([&] { program_of(variant, 2, 1); }),
            "the graph 'step' has a tensor 'mystery' that this version does not know; export the "
            "bundle again.");
}

}  // namespace
}  // namespace lavin::core
