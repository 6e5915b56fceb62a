#include "base/sha256.h"
#include "support.h"

namespace lavin::core {
namespace {

std::string hex(const std::string& text, Sha256::Code code) {
  Sha256 sha(code);
  sha.update(text.data(), text.size());
  return sha.hex();
}

TEST(Sha256, GivesTheDigestsOfTheStandard) {
  for (const auto code : {Sha256::Code::kFastest, Sha256::Code::kPortable}) {
    EXPECT_EQ(hex("", code), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT_EQ(hex("abc", code), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", code),
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    EXPECT_EQ(hex(std::string(1'000'000, 'a'), code),
              "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  }
}

TEST(Sha256, DoesNotDependOnChunksOrInstructions) {
  std::string text;
  for (int i = 0; i < 300; ++i) {
    for (const std::size_t chunk : {1U, 7U, 64U, 65U}) {
      Sha256 sha(Sha256::Code::kPortable);
      for (std::size_t at = 0; at < text.size(); at += chunk) {
        sha.update(text.data() + at, std::min(chunk, text.size() - at));
      }
      ASSERT_EQ(sha.hex(), hex(text, Sha256::Code::kFastest)) << i << " in chunks of " << chunk;
    }
    text += static_cast<char>(i * 37);
  }
}

}  // namespace
}  // namespace lavin::core
