// SHA-256, with the instructions for it where the processor has them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace lavin::core {

// A digest of data that comes in chunks.
class Sha256 {
 public:
  enum class Code { kFastest, kPortable };

  explicit Sha256(Code code = Code::kFastest);
  void update(const void* data, std::size_t size);
  // The digest as 64 lower-case digits. Nothing may be added afterwards.
  std::string hex();

 private:
  using Blocks = void (*)(std::uint32_t* state, const std::uint8_t* data, std::size_t blocks);

  Blocks blocks_;
  std::array<std::uint32_t, 8> state_;
  std::array<std::uint8_t, 64> waiting_{};
  std::uint64_t bytes_ = 0;
};

}  // namespace lavin::core
