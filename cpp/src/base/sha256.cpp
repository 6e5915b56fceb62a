#include "base/sha256.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#define LAVIN_SHA_X86
#elif defined(__aarch64__) && defined(__linux__) && !defined(__clang__)
// clang 14 has these intrinsics only in files that are compiled for such processors alone.
#include <arm_neon.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#define LAVIN_SHA_ARM
#endif

namespace lavin::core {
namespace {

alignas(16) constexpr std::uint32_t kRounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

std::uint32_t turned(std::uint32_t word, int by) {
  return word >> by | word << (32 - by);
}

void portable_blocks(std::uint32_t* state, const std::uint8_t* data, std::size_t blocks) {
  for (; blocks > 0; --blocks, data += 64) {
    std::uint32_t words[64];
    for (int i = 0; i < 16; ++i) {
      const std::uint8_t* at = data + 4 * i;
      words[i] = std::uint32_t{at[0]} << 24 | std::uint32_t{at[1]} << 16 |
                 std::uint32_t{at[2]} << 8 | std::uint32_t{at[3]};
    }
    for (int i = 16; i < 64; ++i) {
      const std::uint32_t x = words[i - 15], y = words[i - 2];
      words[i] = words[i - 16] + (turned(x, 7) ^ turned(x, 18) ^ x >> 3) + words[i - 7] +
                 (turned(y, 17) ^ turned(y, 19) ^ y >> 10);
    }
    std::uint32_t v[8];
    std::copy_n(state, 8, v);
    for (unsigned i = 0; i < 64; ++i) {
      // The names a to h move on by one place in every round; the values stay.
      const auto of = [&](unsigned name) -> std::uint32_t& { return v[(name - i) & 7]; };
      const std::uint32_t a = of(0), e = of(4);
      of(7) += (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & of(5)) ^ (~e & of(6))) +
               kRounds[i] + words[i];
      of(3) += of(7);
      of(7) += (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) +
               ((a & of(1)) ^ (a & of(2)) ^ (of(1) & of(2)));
    }
    for (int i = 0; i < 8; ++i) state[i] += v[i];
  }
}

#if defined(LAVIN_SHA_X86)
__attribute__((target("sha,sse4.1,ssse3"))) void fast_blocks(std::uint32_t* state,
                                                             const std::uint8_t* data,
                                                             std::size_t blocks) {
  const auto load = [](const void* from) __attribute__((target("sha,sse4.1,ssse3"))) {
    return _mm_loadu_si128(static_cast<const __m128i*>(from));
  };
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  // The instructions want the state as ABEF and CDGH.
  __m128i low = _mm_shuffle_epi32(load(state), 0xb1);
  __m128i high = _mm_shuffle_epi32(load(state + 4), 0x1b);
  __m128i abef = _mm_alignr_epi8(low, high, 8);
  __m128i cdgh = _mm_blend_epi16(high, low, 0xf0);
  for (; blocks > 0; --blocks, data += 64) {
    const __m128i abef_before = abef, cdgh_before = cdgh;
    __m128i words[4];
    for (int i = 0; i < 4; ++i) words[i] = _mm_shuffle_epi8(load(data + 16 * i), swap);
    for (int i = 0; i < 16; ++i) {
      const __m128i now = words[i & 3];
      const __m128i sum = _mm_add_epi32(now, load(kRounds + 4 * i));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
      const __m128i last = words[(i + 3) & 3];
      const __m128i between = _mm_alignr_epi8(last, words[(i + 2) & 3], 4);
      const __m128i part = _mm_add_epi32(_mm_sha256msg1_epu32(now, words[(i + 1) & 3]), between);
      words[i & 3] = _mm_sha256msg2_epu32(part, last);
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
  }
  low = _mm_shuffle_epi32(abef, 0x1b);
  high = _mm_shuffle_epi32(cdgh, 0xb1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state), _mm_blend_epi16(low, high, 0xf0));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state + 4), _mm_alignr_epi8(high, low, 8));
}

bool has_fast_blocks() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & 1U << 29)) return false;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & 1U << 9) && (c & 1U << 19);  // SSSE3, SSE4.1
}
#elif defined(LAVIN_SHA_ARM)
__attribute__((target("+crypto"))) void fast_blocks(std::uint32_t* state, const std::uint8_t* data,
                                                    std::size_t blocks) {
  uint32x4_t low = vld1q_u32(state), high = vld1q_u32(state + 4);
  for (; blocks > 0; --blocks, data += 64) {
    const uint32x4_t low_before = low, high_before = high;
    uint32x4_t words[4];
    for (int i = 0; i < 4; ++i) {
      words[i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(data + 16 * i)));
    }
    for (int i = 0; i < 16; ++i) {
      const uint32x4_t now = words[i & 3];
      const uint32x4_t sum = vaddq_u32(now, vld1q_u32(kRounds + 4 * i));
      const uint32x4_t before = low;
      low = vsha256hq_u32(low, high, sum);
      high = vsha256h2q_u32(high, before, sum);
      words[i & 3] = vsha256su1q_u32(vsha256su0q_u32(now, words[(i + 1) & 3]), words[(i + 2) & 3],
                                     words[(i + 3) & 3]);
    }
    low = vaddq_u32(low, low_before);
    high = vaddq_u32(high, high_before);
  }
  vst1q_u32(state, low);
  vst1q_u32(state + 4, high);
}

bool has_fast_blocks() {
  return (getauxval(AT_HWCAP) & HWCAP_SHA2) != 0;
}
#else
constexpr auto fast_blocks = portable_blocks;
bool has_fast_blocks() {
  return false;
}
#endif

}  // namespace

Sha256::Sha256(Code code)
    : state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
             0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19} {
  static const bool fast = has_fast_blocks();
  blocks_ = fast && code == Code::kFastest ? fast_blocks : portable_blocks;
}

void Sha256::update(const void* data, std::size_t size) {
  auto from = static_cast<const std::uint8_t*>(data);
  const auto held = static_cast<std::size_t>(bytes_ % 64);
  bytes_ += size;
  if (held > 0) {
    const std::size_t taken = std::min(size, 64 - held);
    std::copy_n(from, taken, waiting_.data() + held);
    if (held + taken < 64) return;
    blocks_(state_.data(), waiting_.data(), 1);
    from += taken;
    size -= taken;
  }
  blocks_(state_.data(), from, size / 64);
  std::copy_n(from + size / 64 * 64, size % 64, waiting_.data());
}

std::string Sha256::hex() {
  const std::uint64_t bits = bytes_ * 8;
  std::array<std::uint8_t, 72> padding = {0x80};
  const auto zeros_end = static_cast<std::size_t>((bytes_ % 64 < 56 ? 56 : 120) - bytes_ % 64);
  for (std::size_t i = 0; i < 8; ++i) {
    padding[zeros_end + i] = static_cast<std::uint8_t>(bits >> (56 - 8 * i));
  }
  update(padding.data(), zeros_end + 8);
  std::string text;
  for (const std::uint32_t word : state_) {
    for (int shift = 28; shift >= 0; shift -= 4) text += "0123456789abcdef"[(word >> shift) & 15];
  }
  return text;
}

}  // namespace lavin::core
