// The seeded noise: Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011), uniforms of 53 bits, Box-Muller.
#include <array>
#include <cmath>

#include "runtime/flow.h"

namespace lavin::core {

namespace {

using Block = std::array<std::uint64_t, 4>;

struct Product {
  std::uint64_t high, low;
};

Product multiply(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t a0 = a & 0xffffffffU, a1 = a >> 32U;
  const std::uint64_t b0 = b & 0xffffffffU, b1 = b >> 32U;
  const std::uint64_t low = a0 * b0;
  const std::uint64_t middle = a1 * b0 + (low >> 32U);
  const std::uint64_t other = a0 * b1 + (middle & 0xffffffffU);
  return {a1 * b1 + (middle >> 32U) + (other >> 32U), a * b};
}

// Ten rounds over the counter (index, 0, 0, 0) under the key (seed, 0), low words first.
Block philox(std::uint64_t seed, std::uint64_t index) {
  Block x = {index, 0, 0, 0};
  std::uint64_t key0 = seed, key1 = 0;
  for (int round = 0; round < 10; ++round) {
    const Product first = multiply(0xD2E7470EE14C6C93U, x[0]);
    const Product second = multiply(0xCA5A826395121157U, x[2]);
    x = {second.high ^ x[1] ^ key0, second.low, first.high ^ x[3] ^ key1, first.low};
    key0 += 0x9E3779B97F4A7C15U;
    key1 += 0xBB67AE8584CAA73BU;
  }
  return x;
}

double unit(std::uint64_t word) {
  return static_cast<double>(word >> 11U) * 0x1p-53;
}

}  // namespace

Array normal(std::uint64_t seed, const Shape& shape) {
  Array noise(shape);
  const double turn = 6.283185307179586;
  float* z = noise.floats();
  for (std::size_t at = 0; at < noise.count(); at += 4) {
    const Block words = philox(seed, at / 4 + 1);
    for (std::size_t pair = 0; pair < 4 && at + pair < noise.count(); pair += 2) {
      const double radius = std::sqrt(-2.0 * std::log(1.0 - unit(words[pair])));
      const double angle = turn * unit(words[pair + 1]);
      z[at + pair] = static_cast<float>(radius * std::cos(angle));
      if (at + pair + 1 < noise.count()) {
        z[at + pair + 1] = static_cast<float>(radius * std::sin(angle));
      }
    }
  }
  return noise;
}

}  // namespace lavin::core
