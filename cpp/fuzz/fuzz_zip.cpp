// Any bytes as the zip file of a bundle: opened and read, or refused with a sentence.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/errors.h"
#include "bundle/bundle.h"

namespace {

using namespace lavin::core;

// What a bundle does with a zip file, but for any manifest: a fuzzer does not guess a digest.
void use(const std::string& path) {
  const std::unique_ptr<Store> store = open_zip(path);
  for (const char* file : {"manifest.json", "a", "a/b"}) {
    try {
      const std::string content = store->read(file, 1 << 20);
      store->verify(file, {content.size(), ""});
    } catch (const Error&) {
    }
  }
  Bundle::open(path);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const int handle = memfd_create("fuzz_zip", 0);
  if (ftruncate(handle, 0) != 0 || pwrite(handle, data, size, 0) != static_cast<ssize_t>(size)) {
    __builtin_trap();
  }
  try {
    use("/proc/self/fd/" + std::to_string(handle));
  } catch (const Error&) {
  }
  return 0;
}
