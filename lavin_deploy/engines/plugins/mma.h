// Tensor-core tiles of 16-bit data: D (16 x 8, float32) += A (16 x 16) B (16 x 8).
//
// Which element a lane holds (PTX manual, mma.m16n8k16), with g = lane / 4 and c = 2 (lane % 4):
//   A: registers (g, c), (g + 8, c), (g, c + 8), (g + 8, c + 8), each with the column after it
//   B: registers (c, g), (c + 8, g), each with the row after it
//   D: (g, c), (g, c + 1), (g + 8, c), (g + 8, c + 1)
#pragma once

#include "block.h"

namespace lavin {

struct TileA {
    std::uint32_t r[4];
};
struct TileB {
    std::uint32_t r[2];
};
struct TileD {
    float r[4];
};

// Four matrices of 8 x 8 from shared memory. Lane i gives the address of row i % 8 of matrix i / 8
// (16 bytes); register m of lane i gets the elements 2 (i % 4) and the next of row i / 4 of matrix
// m, or with ``transposed`` those of column i / 4.
LAVIN_INLINE void load_matrices(PerLane<TileA>& out, const PerLane<const void*>& rows,
                                bool transposed) {
#ifdef __CUDACC__
    const unsigned from = static_cast<unsigned>(__cvta_generic_to_shared(rows[0]));
    std::uint32_t* r = out[0].r;
    if (transposed) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(from)
                     : "memory");
    } else {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(from)
                     : "memory");
    }
#else
    for (int lane = 0; lane < LANES; ++lane) {
        for (int m = 0; m < 4; ++m) {
            std::uint16_t pair[2];
            for (int i = 0; i < 2; ++i) {
                const int major = lane / 4, minor = 2 * (lane % 4) + i;
                const int row = transposed ? minor : major, column = transposed ? major : minor;
                pair[i] = static_cast<const std::uint16_t*>(rows[8 * m + row])[column];
            }
            out[lane].r[m] = std::uint32_t(pair[0]) | std::uint32_t(pair[1]) << 16;
        }
    }
#endif
}

#ifdef __CUDACC__

LAVIN_INLINE void mma_instruction(TileD& d, const TileA& a, const TileB& b, Half) {
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(d.r[0]), "+f"(d.r[1]), "+f"(d.r[2]), "+f"(d.r[3])
        : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b.r[0]), "r"(b.r[1]));
#else
    for (int half = 0; half < 2; ++half) {  // Turing has half the depth
        asm volatile(
            "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
            "{%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};\n"
            : "+f"(d.r[0]), "+f"(d.r[1]), "+f"(d.r[2]), "+f"(d.r[3])
            : "r"(a.r[2 * half]), "r"(a.r[2 * half + 1]), "r"(b.r[half]));
    }
#endif
}

LAVIN_INLINE void mma_instruction(TileD& d, const TileA& a, const TileB& b, BFloat16) {
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(d.r[0]), "+f"(d.r[1]), "+f"(d.r[2]), "+f"(d.r[3])
        : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b.r[0]), "r"(b.r[1]));
#else
    __trap();  // never launched: the C functions refuse bfloat16 below compute capability 8.0
#endif
}

#endif

template <class T>
LAVIN_INLINE void mma(PerLane<TileD>& d, const PerLane<TileA>& a, const PerLane<TileB>& b) {
#ifdef __CUDACC__
    mma_instruction(d[0], a[0], b[0], T{});
#else
    const auto half = [](std::uint32_t word, int which) {
        return to_float(T{std::uint16_t(word >> (16 * which))});
    };
    float left[16][16], right[16][8];
    for (int lane = 0; lane < LANES; ++lane) {
        const int g = lane / 4, c = 2 * (lane % 4);
        for (int i = 0; i < 2; ++i) {
            for (int m = 0; m < 4; ++m)
                left[g + 8 * (m % 2)][c + 8 * (m / 2) + i] = half(a[lane].r[m], i);
            for (int m = 0; m < 2; ++m) right[c + 8 * m + i][g] = half(b[lane].r[m], i);
        }
    }
    for (int lane = 0; lane < LANES; ++lane) {
        const int g = lane / 4, c = 2 * (lane % 4);
        for (int i = 0; i < 4; ++i)
            for (int k = 0; k < 16; ++k)
                d[lane].r[i] += left[g + 8 * (i / 2)][k] * right[k][c + i % 2];
    }
#endif
}

}  // namespace lavin
