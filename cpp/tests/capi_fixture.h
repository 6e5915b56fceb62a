// A model of the toy bundle by the C ABI, and pictures for it.
#pragma once

#include <atomic>
#include <cmath>
#include <thread>
#include <vector>

#include "lavin/lavin.hpp"
#include "support.h"

using lavin::core::golden;
using lavin::core::has_onnxruntime;

inline lavin_image image(std::vector<std::uint8_t>& data, std::uint32_t width,
                         std::uint32_t height) {
  data.resize(std::size_t{3} * width * height);
  lavin_image made{};
  made.struct_size = sizeof made;
  made.width = width;
  made.height = height;
  made.data = data.data();
  return made;
}

inline lavin::Picture grey(std::uint32_t width, std::uint32_t height, std::uint8_t value) {
  lavin::Picture picture(width, height);
  std::fill_n(picture.data(), picture.size(), value);
  return picture;
}

class CApi : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_onnxruntime()) GTEST_SKIP() << "no ONNX Runtime; name its file in LAVIN_ONNXRUNTIME";
    ASSERT_EQ(lavin_load(golden("toy.lavin").c_str(), nullptr, &model), LAVIN_OK)
        << lavin_last_error(nullptr);
    frame = image(pixels, 40, 30);
    std::fill(pixels.begin(), pixels.end(), 100);
    out = image(answer, 40, 30);
  }
  void TearDown() override { lavin_free(model); }

  lavin_model* model = nullptr;
  std::vector<std::uint8_t> pixels, answer;
  lavin_image frame{}, out{};
};
