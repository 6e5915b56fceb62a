// How a thread block runs: real lanes on a GPU, loops over them on a CPU, from one source.
//
// A kernel is a function of a Block. It goes through phases: ``warps`` runs a function for every
// warp, ``sync`` separates what they do to shared memory. Within a warp, ``lanes`` runs a function
// for every lane; what a lane keeps lives in PerLane, what a warp keeps in PerWarp. On a GPU these
// are registers and the loops are gone; on a CPU they are arrays, and the collectives below
// (ldmatrix, mma, sums over lanes) are written out from the layouts in the PTX manual, section
// "Warp-level matrix instructions".
#pragma once

#include "element.h"

namespace lavin {

#ifdef __CUDACC__
constexpr bool ON_CPU = false;
#else
constexpr bool ON_CPU = true;
#endif
constexpr int LANES = 32;

template <class T>
struct PerLane {
    T values[ON_CPU ? LANES : 1];
    LAVIN_INLINE T& operator[](int lane) { return values[ON_CPU ? lane : 0]; }
    LAVIN_INLINE const T& operator[](int lane) const { return values[ON_CPU ? lane : 0]; }
};

template <class T, int WARPS>
struct PerWarp {
    T values[ON_CPU ? WARPS : 1];
    LAVIN_INLINE T& operator[](int warp) { return values[ON_CPU ? warp : 0]; }
};

template <class F>
LAVIN_INLINE void lanes(F f) {
#ifdef __CUDACC__
    f(static_cast<int>(threadIdx.x) % LANES);
#else
    for (int lane = 0; lane < LANES; ++lane) f(lane);
#endif
}

template <int WARPS>
struct Block {
    int x, y;  // which block of the grid
    char* shared;

    template <class F>
    LAVIN_INLINE void warps(F f) const {
#ifdef __CUDACC__
        f(static_cast<int>(threadIdx.x) / LANES);
#else
        for (int warp = 0; warp < WARPS; ++warp) f(warp);
#endif
    }

    // For every i below n, spread over all threads.
    template <class F>
    LAVIN_INLINE void each(int n, F f) const {
#ifdef __CUDACC__
        for (int i = static_cast<int>(threadIdx.x); i < n; i += WARPS * LANES) f(i);
#else
        for (int i = 0; i < n; ++i) f(i);
#endif
    }

    LAVIN_INLINE void sync() const {
#ifdef __CUDACC__
        __syncthreads();
#endif
    }
};

// 16 bytes into shared memory, zeros where not ``there``; in place after ``arrived`` and a sync.
LAVIN_INLINE void fetch(void* to, const void* from, bool there) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    const unsigned target = static_cast<unsigned>(__cvta_generic_to_shared(to));
    const int size = there ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(target), "l"(from),
                 "r"(size));
#elif defined(__CUDACC__)
    *static_cast<uint4*>(to) =
        there ? *static_cast<const uint4*>(from) : make_uint4(0u, 0u, 0u, 0u);
#else
    there ? std::memcpy(to, from, 16) : std::memset(to, 0, 16);
#endif
}

LAVIN_INLINE void arrived() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;\ncp.async.wait_group 0;\n" ::: "memory");
#endif
}

LAVIN_INLINE float exp2_fast(float x) {
#ifdef __CUDACC__
    return exp2f(x);  // ex2.approx under --use_fast_math, 2 ulp without it
#else
    return __builtin_exp2f(x);
#endif
}

// The largest or the sum over the four lanes that hold one row of an accumulator.
template <class F>
LAVIN_INLINE void over_quad(PerLane<float>& x, F f) {
#ifdef __CUDACC__
    x[0] = f(x[0], __shfl_xor_sync(0xffffffffu, x[0], 1));
    x[0] = f(x[0], __shfl_xor_sync(0xffffffffu, x[0], 2));
#else
    for (int step = 1; step <= 2; step *= 2) {
        const PerLane<float> old = x;
        for (int lane = 0; lane < LANES; ++lane) x[lane] = f(old[lane], old[lane ^ step]);
    }
#endif
}

// The sum over all lanes, in every lane.
LAVIN_INLINE void over_warp(PerLane<float>& x) {
    for (int step = LANES / 2; step > 0; step /= 2) {
#ifdef __CUDACC__
        x[0] += __shfl_xor_sync(0xffffffffu, x[0], step);
#else
        const PerLane<float> old = x;
        for (int lane = 0; lane < LANES; ++lane) x[lane] = old[lane] + old[lane ^ step];
#endif
    }
}

}  // namespace lavin
