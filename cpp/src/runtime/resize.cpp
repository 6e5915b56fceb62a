// Pillow's antialiased bicubic on 8-bit pictures: coefficients in 22-bit fixed point, one pass
// along rows and one along columns, each rounded to 8 bits.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/letterbox.h"

namespace lavin::core {

namespace {

constexpr int kPrecision = 32 - 8 - 2;  // bits of a coefficient's fraction

// Keys' cubic with a = -0.5, which ends at 2.
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

// What one pixel of the result takes: `count` coefficients for the pixels from `first` on.
struct Window {
  int first, count;
};

struct Kernel {
  std::vector<Window> windows;
  std::vector<int> factors;  // `width` of them for each pixel of the result
  std::size_t width;
};

Kernel make_kernel(int source, int target) {
  const double scale = static_cast<double>(source) / target;
  const double stretch = std::max(scale, 1.0);
  const double support = 2.0 * stretch;
  const double inverse = 1.0 / stretch;
  Kernel kernel;
  kernel.width = static_cast<std::size_t>(std::ceil(support)) * 2 + 1;
  kernel.windows.resize(static_cast<std::size_t>(target));
  kernel.factors.assign(static_cast<std::size_t>(target) * kernel.width, 0);
  std::vector<double> weights(kernel.width);
  for (int at = 0; at < target; ++at) {
    const double center = (at + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int count = std::min(static_cast<int>(center + support + 0.5), source) - first;
    double sum = 0.0;
    for (int i = 0; i < count; ++i) {
      const double weight = cubic((i + first - center + 0.5) * inverse);
      weights[static_cast<std::size_t>(i)] = weight;
      sum += weight;
    }
    int* factors = kernel.factors.data() + static_cast<std::size_t>(at) * kernel.width;
    for (int i = 0; i < count; ++i) {
      double weight = weights[static_cast<std::size_t>(i)];
      if (sum != 0.0) weight /= sum;
      factors[i] = static_cast<int>(weight * (1 << kPrecision) + (weight < 0 ? -0.5 : 0.5));
    }
    kernel.windows[static_cast<std::size_t>(at)] = {first, count};
  }
  return kernel;
}

std::uint8_t clip(int sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> kPrecision, 0, 255));
}

constexpr int kHalf = 1 << (kPrecision - 1);

Picture along_rows(const Picture& image, int columns) {
  const Kernel kernel = make_kernel(image.width, columns);
  Picture result(image.height, columns);
  for (int y = 0; y < image.height; ++y) {
    const std::uint8_t* source = image.row(y);
    std::uint8_t* target = result.row(y);
    for (std::size_t x = 0; x < kernel.windows.size(); ++x) {
      const Window window = kernel.windows[x];
      const int* factors = kernel.factors.data() + x * kernel.width;
      const std::uint8_t* pixel = source + 3 * static_cast<std::size_t>(window.first);
      int red = kHalf, green = kHalf, blue = kHalf;
      for (int i = 0; i < window.count; ++i, pixel += 3) {
        red += pixel[0] * factors[i];
        green += pixel[1] * factors[i];
        blue += pixel[2] * factors[i];
      }
      target[3 * x] = clip(red);
      target[3 * x + 1] = clip(green);
      target[3 * x + 2] = clip(blue);
    }
  }
  return result;
}

Picture along_columns(const Picture& image, int rows) {
  const Kernel kernel = make_kernel(image.height, rows);
  Picture result(rows, image.width);
  const std::size_t bytes = image.row_bytes();
  std::vector<int> sums(bytes);
  for (int y = 0; y < rows; ++y) {
    const Window window = kernel.windows[static_cast<std::size_t>(y)];
    const int* factors = kernel.factors.data() + static_cast<std::size_t>(y) * kernel.width;
    std::fill(sums.begin(), sums.end(), kHalf);
    for (int i = 0; i < window.count; ++i) {
      const std::uint8_t* source = image.row(window.first + i);
      const int factor = factors[i];
      for (std::size_t x = 0; x < bytes; ++x) sums[x] += source[x] * factor;
    }
    std::uint8_t* target = result.row(y);
    for (std::size_t x = 0; x < bytes; ++x) target[x] = clip(sums[x]);
  }
  return result;
}

}  // namespace

Picture resize_bicubic(const Picture& image, int rows, int columns) {
  const auto wide = [columns](const Picture& image) {
    return image.width == columns ? image : along_rows(image, columns);
  };
  const auto tall = [rows](const Picture& image) {
    return image.height == rows ? image : along_columns(image, rows);
  };
  // The order of Pillow 13: what shrinks much more comes first.
  const std::int64_t fewer_rows = std::int64_t{image.height} - rows;
  const std::int64_t fewer_columns = std::int64_t{image.width} - columns;
  const bool rows_first = fewer_rows > 0 && fewer_rows > 2 * fewer_columns;
  return rows_first ? wide(tall(image)) : tall(wide(image));
}

}  // namespace lavin::core
