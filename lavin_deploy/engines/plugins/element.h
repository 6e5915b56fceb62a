// Storage types of data, the same bits on the CPU and on the GPU, and their way to float and back.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define LAVIN_INLINE __device__ __forceinline__
#else
#define LAVIN_INLINE inline
#endif

namespace lavin {

struct Half {
    std::uint16_t bits;
};
struct BFloat16 {
    std::uint16_t bits;
};

#ifdef __CUDACC__

LAVIN_INLINE float to_float(float x) { return x; }
LAVIN_INLINE float to_float(Half x) { return __half2float(__ushort_as_half(x.bits)); }
LAVIN_INLINE float to_float(BFloat16 x) { return __bfloat162float(__ushort_as_bfloat16(x.bits)); }
LAVIN_INLINE void from_float(float x, float& y) { y = x; }
LAVIN_INLINE void from_float(float x, Half& y) { y.bits = __half_as_ushort(__float2half_rn(x)); }
LAVIN_INLINE void from_float(float x, BFloat16& y) {
    y.bits = __bfloat16_as_ushort(__float2bfloat16_rn(x));
}

#else

LAVIN_INLINE float of_bits(std::uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}
LAVIN_INLINE std::uint32_t bits_of(float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}

LAVIN_INLINE float to_float(float x) { return x; }
LAVIN_INLINE float to_float(BFloat16 x) { return of_bits(std::uint32_t(x.bits) << 16); }
LAVIN_INLINE float to_float(Half x) {
    const std::uint32_t sign = std::uint32_t(x.bits & 0x8000u) << 16;
    const std::uint32_t rest = x.bits & 0x7fffu;
    if (rest >= 0x7c00u) return of_bits(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
    // As a float of the exponent's full range, the rest is 2^112 times too small; subnormals too.
    return of_bits(sign | bits_of(of_bits(rest << 13) * 0x1p112f));
}

LAVIN_INLINE void from_float(float x, float& y) { y = x; }

// To nearest, ties to even, as the instructions of the GPU round.
LAVIN_INLINE void from_float(float x, BFloat16& y) {
    const std::uint32_t bits = bits_of(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        y.bits = 0x7fffu;
        return;
    }
    y.bits = std::uint16_t((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
LAVIN_INLINE void from_float(float x, Half& y) {
    const std::uint32_t bits = bits_of(x), size = bits & 0x7fffffffu;
    const std::uint16_t sign = std::uint16_t(bits >> 16 & 0x8000u);
    if (size > 0x7f800000u) {
        y.bits = 0x7fffu;
    } else if (size >= 0x477ff000u) {  // 65520 and above round to infinity
        y.bits = std::uint16_t(sign | 0x7c00u);
    } else if (size < 0x38800000u) {  // below 2^-14: adding 0.5 rounds to whole steps of 2^-24
        y.bits = std::uint16_t(sign | (bits_of(of_bits(size) + 0.5f) - bits_of(0.5f)));
    } else {
        y.bits = std::uint16_t(sign | (size - 0x38000000u + 0xfffu + (size >> 13 & 1u)) >> 13);
    }
}

#endif

template <class T>
LAVIN_INLINE T rounded(float x) {
    T y;
    from_float(x, y);
    return y;
}

// Two neighbours in one register, the first in the low half.
template <class T>
LAVIN_INLINE std::uint32_t packed(float first, float second) {
    return std::uint32_t(rounded<T>(first).bits) | std::uint32_t(rounded<T>(second).bits) << 16;
}

}  // namespace lavin
