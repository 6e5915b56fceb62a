// Any bytes as a manifest: accepted, or refused with a sentence.
#include <cstddef>
#include <cstdint>

#include "base/errors.h"
#include "bundle/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lavin::core;
  try {
    const Manifest manifest = Manifest::from_text({reinterpret_cast<const char*>(data), size});
    for (const Size place : manifest.sizes()) manifest.pairs_at(place);
    for (const Variant& variant : manifest.variants) variant.graph("encoder");
  } catch (const Error&) {
  }
  return 0;
}
