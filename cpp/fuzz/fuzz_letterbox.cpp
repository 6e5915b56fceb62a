// Pictures of any size through the fit into a bucket and back.
#include <algorithm>
#include <cstdlib>

#include "base/errors.h"
#include "runtime/letterbox.h"

namespace {

int side(const std::uint8_t* data) {
  return (data[0] << 8 | data[1]) % 1500;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lavin::core;
  if (size < 9) return 0;
  const Size source = {side(data), side(data + 2)};
  const Size bucket = {side(data + 4) % 260, side(data + 6) % 260};
  if (std::int64_t{source.height} * source.width > 200000) return 0;
  try {
    const Letterbox box(source, bucket);
    Picture picture(source.height, source.width);
    for (std::size_t i = 0; i < picture.data.size(); ++i)
      picture.data[i] = data[8 + i % (size - 8)];
    const Picture fitted = to_picture(to_pixels(box.forward(picture)));
    if (fitted.size() != bucket || box.backward(fitted).size() != source) std::abort();
  } catch (const Error&) {
  }
  return 0;
}
