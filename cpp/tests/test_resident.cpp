// Whole answers on a device: the same as plain loops on the host, and in the right order.
#include "device/planner.h"
#include "device/resident.h"
#include "host_device.h"
#include "support.h"
#include "toy_graphs.h"

namespace lavin::core {
namespace {

using toy::Kind;

const Grid kGrid = {0, 0.125F, 0.25F, 0.5F, 0.625F, 1};

// A program of a toy on a device.
struct ToyRun {
  explicit ToyRun(Kind kind, double guidance) : variant(toy::variant(kind)) {
    Planner planner(variant, toy::kLatentSpec, toy::kSize, toy::kPairs);
    program = planner.program(kGrid, guidance);
    pairs = Array({1, toy::kChannels, 2 * toy::kPairs, toy::kRows, toy::kColumns});
    noise = Array({1, toy::kChannels, 1, toy::kRows, toy::kColumns});
    for (std::size_t i = 0; i < pairs.count(); ++i) {
      pairs.floats()[i] = 0.01F * static_cast<float>(i % 17) - 0.1F;
    }
    for (std::size_t i = 0; i < noise.count(); ++i) {
      noise.floats()[i] = 0.3F - 0.05F * static_cast<float>(i);
    }
  }

  std::unique_ptr<Resident> resident() {
    return std::make_unique<Resident>(
        device, program, [this](const Graph& graph) -> Engine& { return device.load(graph.file); },
        [this](float t) -> const Array& {
          return rows.insert_or_assign(t, toy::give(toy::row_of(t), {1, 3})).first->second;
        },
        noise, pairs);
  }

  Variant variant;
  HostDevice device{variant, toy::computes(variant)};
  Program program;
  Array pairs, noise;
  std::map<float, Array> rows;
};

void compare(Kind kind, double guidance) {
  ToyRun toy_run(kind, guidance);
  const auto resident = toy_run.resident();
  for (std::uint64_t frame = 0; frame < 4; ++frame) {
    const Picture picture = made_picture(toy::kSize.height, toy::kSize.width, frame);
    Picture target;
    Seconds seconds;
    const Array latents = resident->answer(picture, target, seconds);
    const toy::Values right =
        toy::answer(kind, picture, toy::take(toy_run.pairs), toy::take(toy_run.noise), kGrid,
                    static_cast<float>(guidance));
    ASSERT_EQ(latents.shape(), toy_run.noise.shape());
    for (std::size_t i = 0; i < right.size(); ++i) {
      EXPECT_NEAR(latents.floats()[i], right[i], 2e-5F) << frame << " " << i;
    }
    toy::Values unscaled = right;
    for (float& x : unscaled) x = x / 1.5F + 0.25F;
    const Picture wanted =
        to_picture(toy::give(toy::decode(unscaled), {1, 3, 1, target.height, target.width}));
    for (std::size_t i = 0; i < wanted.data.size(); ++i) {
      EXPECT_NEAR(target.data[i], wanted.data[i], 1);
    }
    EXPECT_EQ(target.size(), toy::kSize);
    EXPECT_DOUBLE_EQ(seconds.sample, 0.001);
  }
  EXPECT_EQ(toy_run.device.count("capture"), 1U);
  EXPECT_EQ(toy_run.device.count("launch"), 3U);  // of four frames; the first sets the engines up
}

TEST(Resident, AnswersJointModels) {
  compare(Kind::kJoint, 1);
  compare(Kind::kJoint, 1.5);
}

TEST(Resident, AnswersModelsWhoseKeysAreRefreshedNowAndThen) {
  compare(Kind::kRefresh, 1);
  compare(Kind::kRefresh, 1.5);
}

TEST(Resident, AnswersModelsOfAFrozenContext) {
  compare(Kind::kFrozen, 1);
  compare(Kind::kFrozen, 2.5);
}

TEST(Resident, AnswersModelsOfMergedPairs) {
  for (const Kind kind : {Kind::kMerged, Kind::kMergedRefresh}) {
    compare(kind, 1);
    compare(kind, 2.5);
  }
}

TEST(Resident, SendsOnlyThePictureUpWithAFrame) {
  ToyRun toy_run(Kind::kJoint, 1.5);
  const auto resident = toy_run.resident();
  Picture target;
  Seconds seconds;
  for (std::uint64_t frame = 0; frame < 3; ++frame) {
    toy_run.device.calls.clear();
    resident->answer(made_picture(16, 24, frame), target, seconds);
    EXPECT_EQ(toy_run.device.count("upload"), 1U);
    EXPECT_EQ(toy_run.device.count("download"), 2U);
  }
}

TEST(Resident, GoesOnWithoutALoopThatCannotBeCaptured) {
  ToyRun toy_run(Kind::kFrozen, 1.5);
  toy_run.device.refuses_capture = true;
  const auto resident = toy_run.resident();
  Picture target;
  Seconds seconds;
  const Picture picture = made_picture(16, 24, 1);
  const Array first = resident->answer(picture, target, seconds);
  EXPECT_EQ(resident->fault(), "");
  for (int frame = 0; frame < 2; ++frame) {
    EXPECT_TRUE(first.equals(resident->answer(picture, target, seconds)));
  }
  EXPECT_EQ(resident->fault(), "the sampler loop is queued, not captured: no graphs here.");
  EXPECT_EQ(toy_run.device.count("capture"), 1U);
  EXPECT_EQ(toy_run.device.count("launch"), 0U);
}

TEST(Resident, GivesBackWhatItTook) {
  ToyRun toy_run(Kind::kJoint, 1);
  {
    const auto resident = toy_run.resident();
    Picture target;
    Seconds seconds;
    for (int frame = 0; frame < 3; ++frame) {
      resident->answer(made_picture(16, 24, 0), target, seconds);
    }
    EXPECT_EQ(toy_run.device.held(), 6U);  // memory, the loop, four events
  }
  EXPECT_EQ(toy_run.device.held(), 0U);
}

TEST(Resident, RefusesPicturesAndRowsOfOtherSizes) {
  ToyRun toy_run(Kind::kJoint, 1);
  Picture target;
  Seconds seconds;
  EXPECT_EQ(
      sentence_of([&] { toy_run.resident()->answer(made_picture(24, 24, 0), target, seconds); }),
      "'pixels' has 6912 bytes where the graphs take 4608.");
  const auto engine = [&](const Graph& graph) -> Engine& {
    return toy_run.device.load(graph.file);
  };
  const Array row({1, 100});
  EXPECT_NE(sentence_of([&] {
              Resident(
                  toy_run.device, toy_run.program, engine,
                  [&](float) -> const Array& { return row; }, toy_run.noise, toy_run.pairs);
            }).find("a row of the folded timestep has 400 bytes"),
            std::string::npos);
  EXPECT_EQ(toy_run.device.held(), 0U);
}

}  // namespace
}  // namespace lavin::core
