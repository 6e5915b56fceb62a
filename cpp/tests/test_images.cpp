#include <limits>

#include "base/picture.h"
#include "runtime/letterbox.h"
#include "support.h"

namespace lavin::core {
namespace {

std::string digest(const Picture& picture) {
  return core::digest(picture.data.data(), picture.data.size());
}

Size size_of(const Value& value) {
  const std::vector<Value> sides = value.list(2);
  return {sides[0].integer(), sides[1].integer()};
}

TEST(Resize, IsPillowsBitForBit) {
  const Value vectors(host_vectors(), "host.json");
  for (const Value& vector : vectors.at("resizes").list()) {
    const Size from = size_of(vector.at("from")), to = size_of(vector.at("to"));
    const Picture picture = made_picture(from.height, from.width, vector.at("seed").size());
    EXPECT_EQ(digest(resize_bicubic(picture, to.height, to.width)), vector.at("sha256").text())
        << from.height << "x" << from.width << " to " << to.height << "x" << to.width;
  }
}

TEST(Letterbox, IsThatOfPython) {
  const Value vectors(host_vectors(), "host.json");
  for (const Value& vector : vectors.at("letterboxes").list()) {
    const Size source = size_of(vector.at("source"));
    const Letterbox box(source, size_of(vector.at("bucket")));
    EXPECT_EQ(box.inner(), size_of(vector.at("inner")));
    EXPECT_EQ(box.offset(), size_of(vector.at("offset")));
    const Picture picture = made_picture(source.height, source.width, vector.at("seed").size());
    const Picture forward = box.forward(picture);
    EXPECT_EQ(digest(forward), vector.at("forward").text()) << source.height << "x" << source.width;
    EXPECT_EQ(digest(box.backward(forward)), vector.at("backward").text());
  }
}

TEST(Letterbox, RefusesOtherPictures) {
  EXPECT_EQ(sentence_of([] {
              Letterbox({0, 5}, {8, 8});
            }),
            "cannot fit (0, 5) into (8, 8): every side must be 1 or more.");
  const Letterbox box({4, 5}, {8, 8});
  EXPECT_EQ(sentence_of([&] { box.forward(Picture(5, 4)); }),
            "expected a picture of (4, 5) (rows, columns), got (5, 4).");
}

TEST(Pixels, AreThoseOfPython) {
  const Value vector = Value(host_vectors(), "host.json").at("pixels");
  const Size size = size_of(vector.at("size"));
  const Array pixels = to_pixels(made_picture(size.height, size.width, vector.at("seed").size()));
  EXPECT_EQ(core::digest(pixels.data(), pixels.bytes()), vector.at("sha256").text());
  Picture ramp(16, 16);
  for (std::size_t i = 0; i < ramp.data.size(); ++i) ramp.data[i] = static_cast<std::uint8_t>(i);
  const Array all = to_pixels(ramp);
  EXPECT_EQ(core::digest(all.data(), all.bytes()), vector.at("ramp").text());
}

TEST(Pixels, BecomePicturesAsInPython) {
  const Value vector = Value(host_vectors(), "host.json").at("pictures");
  const std::vector<Value> values = vector.at("values").list();
  Array pixels({1, 3, 1, 1, static_cast<std::int64_t>(values.size() / 3)});
  for (std::size_t i = 0; i < values.size(); ++i) {
    pixels.floats()[i] = static_cast<float>(values[i].number());
  }
  EXPECT_EQ(digest(to_picture(pixels)), vector.at("sha256").text());
  pixels.floats()[5] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(sentence_of([&] { to_picture(pixels); }),
            "the model's answer holds infinite or undefined values; run it at a higher precision, "
            "e.g. --precision fp32.");
}

TEST(Picture, HasABound) {
  EXPECT_EQ(sentence_of([] { Picture(65535, 65535); }),
            "a picture of 65535x65535 pixels is too large: at most 89478485 are taken; scale it "
            "down first.");
}

TEST(Picture, IsCopiedByItsStride) {
  const std::vector<std::uint8_t> rows = {1, 2, 3, 9, 9, 4, 5, 6, 9, 9};
  EXPECT_EQ(Picture(2, 1, rows.data(), 5).data, (std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6}));
}

}  // namespace
}  // namespace lavin::core
