// Load a bundle, answer a gradient by a task, print the answer's FNV-1a checksum; as c/main.c does.
//
//     app BUNDLE TASK
#include <cinttypes>
#include <cstdio>
#include <exception>
#include <lavin/lavin.hpp>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: app BUNDLE TASK\n", stderr);
    return LAVIN_INVALID;
  }
  try {
    lavin::Picture frame(96, 64);
    std::uint8_t* pixel = frame.data();
    for (std::uint32_t y = 0; y < frame.height(); ++y) {
      for (std::uint32_t x = 0; x < frame.width(); ++x) {
        *pixel++ = static_cast<std::uint8_t>(x * 255 / 95);
        *pixel++ = static_cast<std::uint8_t>(y * 255 / 63);
        *pixel++ = static_cast<std::uint8_t>(x + y);
      }
    }

    lavin::Model model(argv[1]);
    const lavin::Picture answer = model.run(argv[2], frame);

    std::uint64_t checksum = 14695981039346656037u;
    for (std::size_t i = 0; i < answer.size(); ++i) {
      checksum = (checksum ^ answer.data()[i]) * 1099511628211u;
    }
    std::printf("%016" PRIx64 "\n", checksum);
    return LAVIN_OK;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "app: %s\n", error.what());
    return LAVIN_FAILED;
  }
}
