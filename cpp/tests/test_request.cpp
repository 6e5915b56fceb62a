#include "runtime/request.h"
#include "support.h"

namespace lavin::core {
namespace {

Manifest toy() {
  return Bundle::open(golden("toy.lavin"))->manifest();
}

TEST(Request, ChoosesTheSizeThatPythonChooses) {
  const Value vectors(host_vectors(), "host.json");
  std::vector<Size> sizes;
  for (const Value& size : vectors.at("accepted_sizes").list()) {
    sizes.push_back({size.list(2)[0].integer(), size.list(2)[1].integer()});
  }
  for (const Value& vector : vectors.at("sizes").list()) {
    const std::vector<Value> frame = vector.at("frame").list(2), size = vector.at("size").list(2);
    const Size chosen = choose_size(sizes, {frame[0].integer(), frame[1].integer()});
    EXPECT_EQ(chosen, (Size{size[0].integer(), size[1].integer()})) << frame[0].integer();
  }
}

TEST(Request, ChoosesPairs) {
  const Manifest manifest = toy();
  const Size size = {32, 32};
  EXPECT_EQ(choose_pairs(manifest, size, 2, 0, 2), 2);
  EXPECT_EQ(choose_pairs(manifest, size, 5, 0, 2), 2);
  EXPECT_EQ(choose_pairs(manifest, size, 5, 0, 1), 1);
  EXPECT_EQ(choose_pairs(manifest, size, 5, 0, 4), 2);
  EXPECT_EQ(choose_pairs(manifest, size, 1, 0, 2), 1);
  EXPECT_EQ(choose_pairs(manifest, size, 2, 1, 0), 1);
  EXPECT_EQ(choose_pairs(manifest, size, 3, 0, 0), 2);  // as many as the largest graph takes
  EXPECT_EQ(sentence_of([&] { choose_pairs(manifest, size, 0, 0, 0); }),
            "there are 0 example pairs and the bundle takes 1, 2 at 32x32; give more pairs.");
  EXPECT_EQ(sentence_of([&] { choose_pairs(manifest, size, 1, 2, 2); }),
            "cannot use 2 pairs: there are 1 and the bundle takes 1, 2 at 32x32.");
}

TEST(Request, TakesWhatIsAskedThenTheTasksThenTheBundles) {
  const Manifest manifest = toy();
  StoredTask task;
  Request request;
  EXPECT_EQ(make_settings(manifest, nullptr, request).grid.size(), 5U);
  EXPECT_EQ(make_settings(manifest, nullptr, request).guidance, 1.0);
  task.steps = 2;
  task.guidance = 3.0;
  EXPECT_EQ(make_settings(manifest, &task, request).grid.size(), 3U);
  EXPECT_EQ(make_settings(manifest, &task, request).guidance, 3.0);
  request.steps = 7;
  request.guidance = 0.0;
  EXPECT_EQ(make_settings(manifest, &task, request).grid.size(), 8U);
  EXPECT_EQ(make_settings(manifest, &task, request).guidance, 0.0);
}

TEST(Request, RefusesSizesAndNoiseInSentences) {
  const Manifest manifest = toy();
  EXPECT_EQ(sentence_of([&] {
              check_size(manifest, {64, 32});
            }),
            "the bundle has no size 64x32; it has: 32x32, 16x32.");
  const std::vector<Shape> shapes = {latent_shape(manifest, {32, 32}),
                                     latent_shape(manifest, {16, 32})};
  EXPECT_EQ(sentence_of([&] { check_noise(std::vector<float>(3), shapes); }),
            "noise has 3 values; this run needs (1, 16, 1, 4, 4) or (1, 16, 1, 2, 4).");
  std::vector<float> noise(256);
  EXPECT_EQ(sentence_of([&] { check_noise(noise, shapes); }), "");
  noise[7] = 1.0F / 0.0F;
  EXPECT_NE(sentence_of([&] { check_noise(noise, shapes); }), "");
}

TEST(Request, IsEqualWhereEveryPartIs) {
  Request one, two;
  one.pairs.emplace_back(made_picture(4, 4, 1), made_picture(4, 4, 2));
  EXPECT_FALSE(one == two);
  two.pairs.emplace_back(made_picture(4, 4, 1), made_picture(4, 4, 2));
  EXPECT_TRUE(one == two);
  two.pairs[0].second.data[5] ^= 1U;
  EXPECT_FALSE(one == two);
  two.pairs = one.pairs;
  two.guidance = 1.0;
  EXPECT_FALSE(one == two);
}

}  // namespace
}  // namespace lavin::core
