#include <cmath>
#include <limits>

#include "runtime/flow.h"
#include "support.h"

namespace lavin::core {
namespace {

TEST(Noise, IsThatOfPython) {
  const Value vectors(host_vectors(), "host.json");
  for (const Value& vector : vectors.at("noise").list()) {
    const std::vector<Value> values = vector.at("values").list();
    const Array noise =
        normal(std::stoull(vector.at("seed").text()), {static_cast<std::int64_t>(values.size())});
    for (std::size_t i = 0; i < values.size(); ++i) {
      EXPECT_FLOAT_EQ(noise.floats()[i], static_cast<float>(values[i].number()));  // 4 ulp
    }
  }
}

TEST(Noise, BeginsAlikeWhateverTheShape) {
  const Array few = normal(3, {5}), many = normal(3, {1, 16, 1, 4, 4});
  for (std::size_t i = 0; i < few.count(); ++i) EXPECT_EQ(few.floats()[i], many.floats()[i]);
}

TEST(Noise, IsNormal) {
  const Array noise = normal(11, {200000});
  double sum = 0, squares = 0;
  for (const float z : values_of(noise)) {
    sum += static_cast<double>(z);
    squares += static_cast<double>(z) * static_cast<double>(z);
  }
  EXPECT_NEAR(sum / 200000, 0.0, 0.01);
  EXPECT_NEAR(squares / 200000, 1.0, 0.01);
}

TEST(Grids, AreThoseOfPython) {
  const Value vectors(host_vectors(), "host.json");
  for (const Value& vector : vectors.at("grids").list()) {
    const Grid grid = grid_for(vector.at("steps").integer(), vector.at("kind").text());
    const std::vector<Value> values = vector.at("values").list();
    ASSERT_EQ(grid.size(), values.size());
    for (std::size_t i = 0; i < grid.size(); ++i) {
      EXPECT_EQ(grid[i], static_cast<float>(values[i].number()))
          << vector.at("kind").text() << " " << grid.size() - 1 << " at " << i;
    }
  }
}

TEST(Grids, RefuseInSentences) {
  EXPECT_EQ(sentence_of([] { grid_for(4, "linear-quadratic"); }),
            "the linear-quadratic grid has no 4 steps: it exists for odd numbers from 3 on; the "
            "nearest is 3 or 5.");
  EXPECT_EQ(sentence_of([] { grid_for(0, "uniform"); }),
            "steps is 0; it counts model evaluations and is at least 1.");
  EXPECT_EQ(sentence_of([] { grid_for(3, "unifrom"); }),
            "unknown time grid 'unifrom'. Did you mean 'uniform'? Accepted: linear-quadratic, "
            "uniform.");
  EXPECT_EQ(sentence_of([] {
              check_grid({0.0, 0.5, 0.5, 1.0});
            }),
            "a time grid must increase at every step; points 1 and 2 are 0.5 and 0.5 in float32.");
  EXPECT_EQ(sentence_of([] {
              check_grid({0.1, 1.0});
            }),
            "a time grid runs from 0 (noise) to 1 (data); this one runs from 0.1 to 1.");
  EXPECT_EQ(sentence_of([] { check_grid({0.0}); }),
            "a time grid is a list of at least two numbers; got an array of shape (1).");
}

TEST(Euler, EndsOnTheAnswerOfAStraightPath) {
  const Array answer = floats({1, 2}, {3.0F, -1.0F});
  const Velocity field = [&](const Array& z, float t) {
    Array v({1, 2});
    for (std::size_t i = 0; i < 2; ++i) {
      v.floats()[i] = (answer.floats()[i] - z.floats()[i]) / (1.0F - t);
    }
    return v;
  };
  const Array end = euler(field, floats({1, 2}, {0.5F, 0.25F}), grid_for(19, "linear-quadratic"));
  EXPECT_NEAR(static_cast<double>(end.floats()[0]), 3.0, 1e-5);
  EXPECT_NEAR(static_cast<double>(end.floats()[1]), -1.0, 1e-5);
}

TEST(Euler, LeavesTheProductOfTheStepsUnderDecay) {
  const Velocity field = [](const Array& z, float) { return floats({1}, {-z.floats()[0]}); };
  const Array end = euler(field, floats({1}, {1.0F}), uniform(4));
  EXPECT_NEAR(static_cast<double>(end.floats()[0]), std::pow(0.75, 4), 1e-7);
}

TEST(Guidance, PushesAwayFromTheNullField) {
  const Velocity shown = [](const Array&, float) { return floats({2}, {2.0F, 5.0F}); };
  const Velocity null = [](const Array&, float) { return floats({2}, {1.0F, 1.0F}); };
  const Array z = Array::zeros({2});
  EXPECT_EQ(values_of(guided(shown, null, 1.5)(z, 0.0F)), (std::vector<float>{2.5F, 7.0F}));
  EXPECT_EQ(values_of(guided(shown, null, 0.0)(z, 0.0F)), (std::vector<float>{1.0F, 1.0F}));
  const Velocity never = [](const Array&, float) -> Array { throw InputError("called"); };
  EXPECT_EQ(values_of(guided(shown, never, 1.0)(z, 0.0F)), (std::vector<float>{2.0F, 5.0F}));
  EXPECT_EQ(sentence_of([&] { guided(shown, null, std::numeric_limits<double>::infinity()); }),
            "guidance is inf; it is a finite number from -1000 to 1000, 1 for no guidance.");
}

}  // namespace
}  // namespace lavin::core
