// QK-Norm over whole rows of queries and keys, and the rotation of every head, in one pass.
//
// A warp takes one row, the queries or the keys of a token. An item is four columns of a head's
// first half and the four that turn with them in its second half, 8 or 16 bytes each. Rows of up to
// HELD items a lane stay in registers between the sum of squares and the rotation; longer ones are
// read again, from the cache.
#pragma once

#include "block.h"
#include "kernels.h"

namespace lavin {

constexpr int FOUR = 4;

template <class T>
struct alignas(FOUR * sizeof(T)) Four {
    T values[FOUR];
};

// T: float, Half or BFloat16. HELD: 0 reads rows twice.
template <class T, int HELD>
struct Rope3D {
    static constexpr int WARPS = 4;

    struct Item {
        Four<T> a, b;
    };
    struct Row {
        const T* x;
        const float* weight;
        const float* cos;
        const float* sin;
        T* out;
        int heads, items, half;     // half: E / 2
        std::int64_t head_stride;  // of out
    };

    // block.x: which WARPS tokens; block.y: 0 the keys, 1 the queries.
    static LAVIN_INLINE void run(const lavin_rope3d_args& args, const Block<WARPS>& block) {
        block.warps([&](int warp) {
            const std::int64_t token = std::int64_t(block.x) * WARPS + warp;
            if (token < args.tokens) turn(row_of(args, token, block.y != 0), args.epsilon);
        });
    }

    static LAVIN_INLINE Row row_of(const lavin_rope3d_args& args, std::int64_t token,
                                   bool queries) {
        Row row;
        row.heads = queries ? args.heads : args.kv_heads;
        row.half = args.head_dim / 2;
        row.items = row.heads * (row.half / FOUR);
        row.head_stride = std::int64_t(args.tokens) * args.head_dim;
        row.x = static_cast<const T*>(queries ? args.q : args.k) +
                token * row.heads * args.head_dim;
        row.weight = queries ? args.q_weight : args.k_weight;
        row.cos = args.cos + token * row.half;
        row.sin = args.sin + token * row.half;
        row.out = static_cast<T*>(queries ? args.q_out : args.k_out) + token * args.head_dim;
        return row;
    }

    static LAVIN_INLINE void turn(const Row& row, float epsilon) {
        PerLane<Item> held[HELD > 0 ? HELD : 1];
        PerLane<float> squares;
        lanes([&](int lane) {
            squares[lane] = 0.0f;
            if constexpr (HELD > 0) {
#pragma unroll
                for (int i = 0; i < HELD; ++i) {
                    const int item = i * LANES + lane;
                    if (item >= row.items) break;
                    held[i][lane] = read(row, item);
                    squares[lane] += squared(held[i][lane]);
                }
            } else {
                for (int item = lane; item < row.items; item += LANES)
                    squares[lane] += squared(read(row, item));
            }
        });
        over_warp(squares);
        lanes([&](int lane) {
            const float width = static_cast<float>(row.heads * row.half * 2);
            const float inverse = 1.0f / sqrt_of(squares[lane] / width + epsilon);
            if constexpr (HELD > 0) {
#pragma unroll
                for (int i = 0; i < HELD; ++i) {
                    const int item = i * LANES + lane;
                    if (item >= row.items) break;
                    write(row, item, held[i][lane], inverse);
                }
            } else {
                for (int item = lane; item < row.items; item += LANES)
                    write(row, item, read(row, item), inverse);
            }
        });
    }

    static LAVIN_INLINE int head_of(const Row& row, int item) { return item / (row.half / FOUR); }
    static LAVIN_INLINE int column_of(const Row& row, int item) {
        return item % (row.half / FOUR) * FOUR;
    }

    static LAVIN_INLINE Item read(const Row& row, int item) {
        const T* from = row.x + head_of(row, item) * 2 * row.half + column_of(row, item);
        return {four(from), four(from + row.half)};
    }

    static LAVIN_INLINE float squared(const Item& item) {
        float sum = 0.0f;
#pragma unroll
        for (int i = 0; i < FOUR; ++i) {
            const float a = to_float(item.a.values[i]), b = to_float(item.b.values[i]);
            sum += a * a + b * b;
        }
        return sum;
    }

    static LAVIN_INLINE void write(const Row& row, int item, const Item& x, float inverse) {
        const int head = head_of(row, item), column = column_of(row, item);
        const float* weight = row.weight + head * 2 * row.half + column;
        const Four<float> cos = four(row.cos + column), sin = four(row.sin + column);
        const Four<float> wa = four(weight), wb = four(weight + row.half);
        Item turned;
#pragma unroll
        for (int i = 0; i < FOUR; ++i) {
            const float a = to_float(x.a.values[i]) * inverse * wa.values[i];
            const float b = to_float(x.b.values[i]) * inverse * wb.values[i];
            from_float(a * cos.values[i] - b * sin.values[i], turned.a.values[i]);
            from_float(b * cos.values[i] + a * sin.values[i], turned.b.values[i]);
        }
        T* to = row.out + head * row.head_stride + column;
        *reinterpret_cast<Four<T>*>(to) = turned.a;
        *reinterpret_cast<Four<T>*>(to + row.half) = turned.b;
    }

    template <class V>
    static LAVIN_INLINE Four<V> four(const V* from) {
        return *reinterpret_cast<const Four<V>*>(from);
    }

    static LAVIN_INLINE float sqrt_of(float x) {
#ifdef __CUDACC__
        return sqrtf(x);
#else
        return __builtin_sqrtf(x);
#endif
    }
};

}  // namespace lavin
