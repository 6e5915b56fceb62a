// Any bytes as a .npy file: an array, or refused with a sentence.
#include <cstddef>
#include <cstdint>

#include "base/errors.h"
#include "base/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lavin::core;
  try {
    const Array array = parse_npy({reinterpret_cast<const char*>(data), size}, "fuzz.npy");
    if (!array.equals(array.clone()) || array.bytes() > size) __builtin_trap();
  } catch (const Error&) {
  }
  return 0;
}
