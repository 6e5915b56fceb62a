// From the arguments of a call to the form of a kernel and the size of its grid, the same on the
// CPU and on the GPU.
#pragma once

#include <type_traits>

#include "kernels.h"

namespace lavin {

constexpr int INVALID = 1;  // cudaErrorInvalidValue
constexpr int WIDEST_TALL = 80;  // two tiles of rows a warp up to this width, by registers

template <int N>
using Number = std::integral_constant<int, N>;

inline int over(int a, int b) { return (a + b - 1) / b; }

inline bool acceptable(const lavin_rope3d_args& a) {
    const bool queries = a.q == nullptr || (a.q_weight && a.q_out && a.heads >= 1);
    return queries && a.k && a.k_weight && a.cos && a.sin && a.k_out && a.tokens >= 1 &&
           a.kv_heads >= 1 && a.head_dim >= 8 && a.head_dim % 8 == 0;
}

inline bool acceptable(const lavin_attention_args& a) {
    const bool prefix = a.past == 0 || (a.past > 0 && a.past_k && a.past_v);
    return prefix && a.q && a.k && a.v && a.out && a.queries >= 1 && a.keys >= 1 &&
           a.kv_heads >= 1 && a.heads >= 1 && a.heads % a.kv_heads == 0 && a.head_dim >= 8 &&
           a.head_dim <= 128 && a.head_dim % 8 == 0;
}

// Items of rope3d.h that a lane holds in registers: 3, 12, or 0 for longer rows.
template <class F>
int by_row(const lavin_rope3d_args& args, F f) {
    const int heads = args.q && args.heads > args.kv_heads ? args.heads : args.kv_heads;
    const int items = over(heads * (args.head_dim / 8), 32);
    if (items <= 3) return f(Number<3>{});
    if (items <= 12) return f(Number<12>{});
    return f(Number<0>{});
}

// The width of attention.h and its tiles of 16 rows a warp: two where there are enough rows.
template <class F>
int by_shape(const lavin_attention_args& args, bool tall, F f) {
    const auto height = [&](auto width) {
        if constexpr (width() <= WIDEST_TALL)
            if (tall) return f(width, Number<2>{});
        return f(width, Number<1>{});
    };
    switch (over(args.head_dim, 16)) {
        case 1: return height(Number<16>{});
        case 2: return height(Number<32>{});
        case 3: return height(Number<48>{});
        case 4: return height(Number<64>{});
        case 5: return height(Number<80>{});
        case 6: return height(Number<96>{});
        case 7: return height(Number<112>{});
        case 8: return height(Number<128>{});
        default: return INVALID;
    }
}

// Tall tiles read K and V half as often, but leave half as many blocks: not where that leaves
// processors idle.
inline bool worth_tall(const lavin_attention_args& args, int processors) {
    const int rows = args.heads / args.kv_heads * args.queries;
    return over(rows, 128) * args.kv_heads >= processors;
}

}  // namespace lavin
