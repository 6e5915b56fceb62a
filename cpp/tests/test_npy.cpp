#include "base/npy.h"
#include "support.h"

namespace lavin::core {
namespace {

// A .npy file of a version.
std::string npy(const std::string& header, const std::string& values, char version = 1) {
  std::string text = std::string("\x93NUMPY") + version + '\0';
  for (std::size_t i = 0; i < (version == 1 ? 2U : 4U); ++i) {
    text += static_cast<char>(header.size() >> (8 * i) & 0xff);
  }
  return text + header + values;
}

std::string bytes_of(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

std::string refused(const std::string& file) {
  const std::string sentence = sentence_of([&] { parse_npy(file, "x.npy"); });
  const std::string begin = "'x.npy' is not a .npy array of numbers: ";
  EXPECT_EQ(sentence.rfind(begin, 0), 0U) << sentence;
  return sentence.substr(std::min(begin.size(), sentence.size()));
}

const std::vector<float> kSix = {0, 1, 2, 3, 4, 5};

TEST(Npy, VersionsAndTypes) {
  const std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n";
  for (const char version : {'\1', '\2', '\3'}) {
    const Array array = parse_npy(npy(header, bytes_of(kSix), version), "x.npy");
    EXPECT_EQ(array.dtype(), "float32");
    EXPECT_EQ(array.shape(), (Shape{2, 3}));
    EXPECT_EQ(values_of(array), kSix);
  }
  const Array one =
      parse_npy(npy("{\"shape\":(),'descr':'|b1','fortran_order':True}", "\1"), "x.npy");
  EXPECT_EQ(one.dtype(), "bool");
  EXPECT_EQ(one.count(), 1U);
  EXPECT_EQ(parse_npy(npy("{'descr': '<i8', 'fortran_order': False, 'shape': (0, 9), }", ""), "x")
                .shape(),
            (Shape{0, 9}));
}

TEST(Npy, FortranOrderIsTransposed) {
  const Array array = parse_npy(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }",
                                    bytes_of({0, 3, 1, 4, 2, 5})),
                                "x.npy");
  EXPECT_EQ(values_of(array), kSix);
  std::string cube(24, '\0');  // [i][j][k] of (2, 3, 4) lies at i + 2 j + 6 k
  for (std::size_t i = 0; i < 24; ++i) {
    cube[i / 12 + 2 * (i / 4 % 3) + 6 * (i % 4)] = static_cast<char>(i);
  }
  const Array turned =
      parse_npy(npy("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3, 4)}", cube), "x.npy");
  for (std::size_t i = 0; i < 24; ++i) EXPECT_EQ(std::to_integer<std::size_t>(turned.data()[i]), i);
}

TEST(Npy, CountsMustMatchTheBytes) {
  const std::string start = "{'descr': '<f4', 'fortran_order': False, 'shape': ";
  EXPECT_EQ(refused(npy(start + "(7,)}", bytes_of(kSix))),
            "it has 24 bytes of values where float32 of shape (7) takes 28.");
  EXPECT_EQ(refused(npy(start + "(5,)}", bytes_of(kSix))),
            "it has 24 bytes of values where float32 of shape (5) takes 20.");
  EXPECT_EQ(
      refused(npy(start + "(1000000000000,)}", bytes_of(kSix))),
      "it has 24 bytes of values where float32 of shape (1000000000000) takes 4000000000000.");
  EXPECT_EQ(sentence_of([&] { parse_npy(npy(start + "(9999999999, 9999999999)}", ""), "x.npy"); }),
            "'x.npy' is not a .npy array of numbers: the shape (9999999999, 9999999999) has more "
            "than 2^40 elements.");
}

TEST(Npy, OtherFilesAreRefused) {
  EXPECT_EQ(refused(""), "it is empty.");
  EXPECT_EQ(refused("PK\3\4 and so on"), "it does not begin with a .npy header.");
  EXPECT_EQ(refused(npy("{}", "", 4)), "its version is none of 1.0, 2.0 and 3.0.");
  EXPECT_EQ(refused(npy(std::string(10'001, ' '), "")), "its header of 10001 bytes is too long.");
  const std::string whole = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (0,)}", "");
  for (std::size_t size = 0; size < whole.size(); ++size) refused(whole.substr(0, size));
}

TEST(Npy, OtherHeadersAreRefused) {
  const auto with = [](const std::string& type, const std::string& order,
                       const std::string& shape) {
    return refused(
        npy("{'descr': " + type + ", 'fortran_order': " + order + ", 'shape': " + shape + "}", ""));
  };
  EXPECT_EQ(with("'|O'", "False", "(0,)"), "it holds Python objects, which are not read.");
  EXPECT_EQ(with("'>f4'", "False", "(0,)"), "its type '>f4' is not read here.");
  EXPECT_EQ(with("'<c8'", "False", "(0,)"), "its type '<c8' is not read here.");
  EXPECT_EQ(with("[('a', '<f4')]", "False", "(0,)"), "it holds records, not numbers.");
  EXPECT_EQ(with("'<f4'", "0", "(0,)"), "its header cannot be parsed.");
  EXPECT_EQ(with("'<f4'", "False", "(3)"), "its header cannot be parsed.");
  EXPECT_EQ(with("'<f4'", "False", "(-1,)"), "its shape is not valid.");
  EXPECT_EQ(with("'<f4'", "False", "(9999999999999999999,)"), "its shape is not valid.");
  std::string sides = "(";
  for (int i = 0; i < 65; ++i) sides += "1,";
  EXPECT_EQ(with("'<f4'", "False", sides + ")"), "its shape is not valid.");
  EXPECT_EQ(refused(npy("{'descr': '<f4', 'shape': (0,)}", "")),
            "its header lacks 'descr', 'fortran_order' or 'shape'.");
  EXPECT_EQ(refused(npy("{'x': 1}", "")),
            "its header has the key 'x' twice or should not have it.");
}

}  // namespace
}  // namespace lavin::core
