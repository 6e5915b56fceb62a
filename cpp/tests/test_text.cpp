#include <cmath>

#include "base/text.h"
#include "support.h"

namespace lavin::core {
namespace {

TEST(Text, ReprOfTextIsPythons) {
  EXPECT_EQ(repr("edge"), "'edge'");
  EXPECT_EQ(repr(""), "''");
  EXPECT_EQ(repr("it's"), "\"it's\"");
  EXPECT_EQ(repr("it's \"so\""), "'it\\'s \"so\"'");
  EXPECT_EQ(repr("a\\b\n\t\r"), "'a\\\\b\\n\\t\\r'");
  EXPECT_EQ(repr(std::string_view("\0\x1f\x7f", 3)), "'\\x00\\x1f\\x7f'");
  EXPECT_EQ(repr("\xc3\xa9\xf0\x9f\x98\x80"), "'\xc3\xa9\xf0\x9f\x98\x80'");
  EXPECT_EQ(repr("\xc2\xa0\xe2\x80\x8b\xf3\xa0\x80\x81"), "'\\xa0\\u200b\\U000e0001'");
}

TEST(Text, ReprOfTextEscapesBytesThatAreNoUtf8) {
  EXPECT_EQ(repr("\xff"), "'\\xff'");
  EXPECT_EQ(repr("\xc3"), "'\\xc3'");
  EXPECT_EQ(repr("\xc0\xaf"), "'\\xc0\\xaf'");
  EXPECT_EQ(repr("\xed\xa0\x80"), "'\\xed\\xa0\\x80'");
  EXPECT_EQ(repr("\xf4\x90\x80\x80"), "'\\xf4\\x90\\x80\\x80'");
}

TEST(Text, ReprOfNumbersIsPythons) {
  EXPECT_EQ(repr(1.0), "1.0");
  EXPECT_EQ(repr(-0.0), "-0.0");
  EXPECT_EQ(repr(0.1), "0.1");
  EXPECT_EQ(repr(123456.75), "123456.75");
  EXPECT_EQ(repr(0.0001), "0.0001");
  EXPECT_EQ(repr(0.00001), "1e-05");
  EXPECT_EQ(repr(-1.5e-7), "-1.5e-07");
  EXPECT_EQ(repr(1e15), "1000000000000000.0");
  EXPECT_EQ(repr(1e16), "1e+16");
  EXPECT_EQ(repr(1e100), "1e+100");
  EXPECT_EQ(repr(INFINITY), "inf");
  EXPECT_EQ(repr(-INFINITY), "-inf");
  EXPECT_EQ(repr(std::nan("")), "nan");
}

TEST(Text, ShapesShortNumbersAndLists) {
  EXPECT_EQ(repr(Shape{}), "()");
  EXPECT_EQ(repr(Shape{3}), "(3,)");
  EXPECT_EQ(repr(Shape{1, 16}), "(1, 16)");
  EXPECT_EQ(short_number(1), "1");
  EXPECT_EQ(short_number(0.1F), "0.1");
  EXPECT_EQ(short_number(1234567), "1.23457e+06");
  EXPECT_EQ(short_number(-1e-5), "-1e-05");
  EXPECT_EQ(join({}, ", "), "");
  EXPECT_EQ(join({"a", "b"}, ", "), "a, b");
}

TEST(Errors, NearestNameIsDifflibs) {
  EXPECT_EQ(nearest_name("dept", {"depth", "edges"}), "depth");
  EXPECT_EQ(nearest_name("xyz", {"depth", "edges"}), "");
  EXPECT_EQ(nearest_name("depth", {}), "");
  EXPECT_EQ(nearest_name("ab", {"abx", "aby"}), "aby");  // as near: the greater
  EXPECT_EQ(nearest_name("segment", {"segmentation"}), "segmentation");
  EXPECT_EQ(nearest_name("abcd", {"axxxxb"}), "");  // 2 * 2 / 10
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
