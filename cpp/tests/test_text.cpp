#include <cmath>

#include "base/text.h"
#include "support.h"

namespace lavin::core {
namespace {

TEST(Text, QuotesShowText) {
  EXPECT_EQ(in_quotes("edge"), "'edge'");
  EXPECT_EQ(in_quotes(""), "''");
  EXPECT_EQ(in_quotes("it's \"so\""), "'it's \"so\"'");
  EXPECT_EQ(in_quotes("\xc3\xa9\xf0\x9f\x98\x80"), "'\xc3\xa9\xf0\x9f\x98\x80'");
}

TEST(Text, QuotesEscapeWhatIsNoText) {
  EXPECT_EQ(in_quotes(std::string_view("\0\n\x1f\x7f", 4)), "'\\x00\\x0a\\x1f\\x7f'");
  EXPECT_EQ(in_quotes("\xff"), "'\\xff'");
  EXPECT_EQ(in_quotes("\xc3"), "'\\xc3'");
  EXPECT_EQ(in_quotes("\xc0\xaf"), "'\\xc0\\xaf'");
  EXPECT_EQ(in_quotes("\xed\xa0\x80"), "'\\xed\\xa0\\x80'");
  EXPECT_EQ(in_quotes("\xf4\x90\x80\x80"), "'\\xf4\\x90\\x80\\x80'");
}

TEST(Text, ShapesShortNumbersAndLists) {
  EXPECT_EQ(cat(Shape{}), "()");
  EXPECT_EQ(cat(Shape{3}), "(3)");
  EXPECT_EQ(cat("x ", Shape{1, 16}, 2), "x (1, 16)2");
  EXPECT_EQ(short_number(1), "1");
  EXPECT_EQ(short_number(0.1F), "0.1");
  EXPECT_EQ(short_number(1234567), "1.23457e+06");
  EXPECT_EQ(short_number(-1e-5), "-1e-05");
  EXPECT_EQ(short_number(-INFINITY), "-inf");
  EXPECT_EQ(short_number(std::nan("")), "nan");
  EXPECT_EQ(join({}, ", "), "");
  EXPECT_EQ(join({"a", "b"}, ", "), "a, b");
}

TEST(Errors, NearestNameDiffersInAtMostHalfOfItsLetters) {
  EXPECT_EQ(nearest_name("dept", {"depth", "edges"}), "depth");
  EXPECT_EQ(nearest_name("Depth", {"depth", "edges"}), "depth");
  EXPECT_EQ(nearest_name("xyz", {"depth", "edges"}), "");
  EXPECT_EQ(nearest_name("depth", {}), "");
  EXPECT_EQ(nearest_name("ab", {"abx", "aby"}), "abx");  // as near: the first
  EXPECT_EQ(nearest_name("segment", {"segmentation"}), "segmentation");
  EXPECT_EQ(nearest_name("segm", {"segmentation"}), "");
  EXPECT_EQ(nearest_name("kitten", {"sitting", "mittens"}), "mittens");
  EXPECT_EQ(nearest_name("", {""}), "");
}

TEST(Errors, UnknownNamesAreListed) {
  EXPECT_STREQ(unknown_name("task", "dept", {"edges", "depth"}).what(),
               "unknown task 'dept'. Did you mean 'depth'? Accepted: depth, edges.");
  EXPECT_STREQ(unknown_name("task", "x", {}).what(), "unknown task 'x'. Accepted: none.");
}

TEST(Arrays, CountsAreBounded) {
  EXPECT_EQ(element_count({}), 1U);
  EXPECT_EQ(element_count({2, 3}), 6U);
  EXPECT_EQ(element_count({0, std::int64_t{1} << 62, std::int64_t{1} << 62}), 0U);
  EXPECT_EQ(element_count({std::int64_t{1} << 20, std::int64_t{1} << 20}), std::size_t{1} << 40);
  EXPECT_THROW(element_count({std::int64_t{1} << 20, (std::int64_t{1} << 20) + 1}), BundleError);
  EXPECT_THROW(element_count({std::int64_t{1} << 62, std::int64_t{1} << 62}), BundleError);
  EXPECT_THROW(element_count({0, -1}), BundleError);
  EXPECT_EQ(element_bytes("bfloat16"), 2U);
  EXPECT_THROW(element_bytes("object"), BundleError);
}

TEST(Arrays, FramesAreTakenAndJoined) {
  const Array latents = floats({1, 2, 3, 1, 2}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  const Array first = frames_of(latents, 0, 1), rest = frames_of(latents, 1, 2);
  EXPECT_EQ(values_of(first), (std::vector<float>{0, 1, 6, 7}));
  EXPECT_EQ(values_of(rest), (std::vector<float>{2, 3, 4, 5, 8, 9, 10, 11}));
  EXPECT_TRUE(join_frames(first, rest).equals(latents));
  EXPECT_FALSE(join_frames(rest, first).equals(latents));
  EXPECT_TRUE(latents.clone().equals(latents));
  EXPECT_THROW(frames_of(latents, 2, 2), WorkError);
  EXPECT_THROW(join_frames(latents, floats({1, 1, 1, 1, 2}, {0, 0})), WorkError);
}

}  // namespace
}  // namespace lavin::core
