// Grouped-query attention on tensor cores, with an online softmax: FlashAttention-2 (Dao 2023,
// algorithm 1). Scores and statistics are float32 and stay in registers; K/V are never repeated.
//
// The queries of the N / K heads that read one key/value head lie one behind the other in memory,
// so they are the rows of one problem: row r is token r % Lq of head r / Lq of the group. A block
// takes ROWS of them through all keys in tiles of KEYS, the prefix first.
#pragma once

#include "kernels.h"
#include "mma.h"

namespace lavin {

constexpr float LOG2_E = 1.4426950408889634f;

// T: Half or BFloat16. WIDTH: head_dim rounded up to 16; columns beyond head_dim are zeros.
// HEIGHT: tiles of 16 rows that a warp takes.
template <class T, int WIDTH, int HEIGHT>
struct Attention {
    static constexpr int WARPS = 4, WARP_ROWS = 16 * HEIGHT, ROWS = WARPS * WARP_ROWS, KEYS = 64;
    // 16 bytes more than a row, so that eight rows of a matrix lie in different banks.
    static constexpr int STRIDE = WIDTH + 8, CHUNKS = WIDTH / 8;
    static constexpr int TILE = KEYS * STRIDE;
    static constexpr int SHARED = 2 * TILE * int(sizeof(T));
    static_assert(WIDTH % 16 == 0 && ROWS <= 2 * KEYS, "queries pass through the tiles of K and V");

    struct Warp {
        PerLane<TileA> q[HEIGHT][WIDTH / 16];
        PerLane<TileD> out[HEIGHT][WIDTH / 8];
        PerLane<TileD> scores[HEIGHT][KEYS / 8];
        PerLane<float> top[HEIGHT][2], sum[HEIGHT][2];  // of rows g and g + 8
    };

    const lavin_attention_args& args;
    const Block<WARPS> block;
    T* const k_tile;
    T* const v_tile;
    const int group_rows, keys_in_all;

    LAVIN_INLINE Attention(const lavin_attention_args& given, const Block<WARPS>& here)
        : args(given),
          block(here),
          k_tile(reinterpret_cast<T*>(here.shared)),
          v_tile(k_tile + TILE),
          group_rows(given.heads / given.kv_heads * given.queries),
          keys_in_all(given.past + given.keys) {}

    LAVIN_INLINE void run() {
        PerWarp<Warp, WARPS> state;
        load_queries(state);
        block.sync();  // the tiles are free again
        load_tile(k_tile, args.past_k, args.k, 0);
        for (int first = 0; first < keys_in_all; first += KEYS) {
            arrived();
            block.sync();  // K is there, and nobody reads the V before
            load_tile(v_tile, args.past_v, args.v, first);
            block.warps([&](int warp) { score(state[warp], first); });
            arrived();
            block.sync();  // V is there, and nobody reads this K
            if (first + KEYS < keys_in_all) load_tile(k_tile, args.past_k, args.k, first + KEYS);
            block.warps([&](int warp) {
                weigh(state[warp]);
                mix(state[warp]);
            });
        }
        block.warps([&](int warp) { store(state[warp], warp); });
    }

    // Rows of this block into registers, by way of the tiles' memory.
    LAVIN_INLINE void load_queries(PerWarp<Warp, WARPS>& state) {
        const T* q = static_cast<const T*>(args.q) +
                     std::int64_t(block.y) * group_rows * args.head_dim;
        block.each(ROWS * CHUNKS, [&](int i) {
            const int row = i / CHUNKS, column = i % CHUNKS * 8, there = block.x * ROWS + row;
            const bool valid = there < group_rows && column < args.head_dim;
            const std::int64_t from = std::int64_t(there) * args.head_dim + column;
            fetch(k_tile + row * STRIDE + column, q + (valid ? from : 0), valid);
        });
        arrived();
        block.sync();
        block.warps([&](int warp) {
            Warp& w = state[warp];
            for_heights([&](int h) {
#pragma unroll
                for (int e = 0; e < WIDTH / 16; ++e) {
                    PerLane<const void*> rows;
                    lanes([&](int lane) {
                        const int row = warp * WARP_ROWS + 16 * h + lane % 16;
                        rows[lane] = k_tile + row * STRIDE + 16 * e + lane / 16 * 8;
                    });
                    load_matrices(w.q[h][e], rows, false);
                }
                lanes([&](int lane) {
                    for (int half = 0; half < 2; ++half) {
                        w.top[h][half][lane] = -__builtin_huge_valf();
                        w.sum[h][half][lane] = 0.0f;
                    }
#pragma unroll
                    for (int e = 0; e < WIDTH / 8; ++e) w.out[h][e][lane] = TileD{};
                });
            });
        });
    }

    // Start to bring KEYS rows of keys or values from ``first`` on.
    LAVIN_INLINE void load_tile(T* tile, const void* past, const void* now, int first) {
        const std::int64_t head = block.y;
        const T* of_past = static_cast<const T*>(past) + head * args.past * args.head_dim;
        const T* of_now = static_cast<const T*>(now) + head * args.keys * args.head_dim;
        block.each(KEYS * CHUNKS, [&](int i) {
            const int row = i / CHUNKS, column = i % CHUNKS * 8, key = first + row;
            const bool valid = key < keys_in_all && column < args.head_dim;
            const T* from = key < args.past
                                ? of_past + std::int64_t(key) * args.head_dim
                                : of_now + std::int64_t(key - args.past) * args.head_dim;
            fetch(tile + row * STRIDE + column, valid ? from + column : of_now, valid);
        });
    }

    // Scores of the warp's rows with the tile's keys, in units of the base-2 exponent.
    LAVIN_INLINE void score(Warp& w, int first) {
#pragma unroll
        for (int n = 0; n < KEYS / 8; ++n)
            for_heights([&](int h) { lanes([&](int lane) { w.scores[h][n][lane] = TileD{}; }); });
#pragma unroll
        for (int e = 0; e < WIDTH / 16; ++e) {
#pragma unroll
            for (int n = 0; n < KEYS / 16; ++n) {
                PerLane<const void*> rows;
                lanes([&](int lane) {
                    const int key = 16 * n + lane / 16 * 8 + lane % 8;
                    rows[lane] = k_tile + key * STRIDE + 16 * e + lane / 8 % 2 * 8;
                });
                PerLane<TileA> both;
                load_matrices(both, rows, false);
                multiply(both, [&](int h) -> PerLane<TileA>& { return w.q[h][e]; },
                         [&](int h, int half) -> PerLane<TileD>& {
                             return w.scores[h][2 * n + half];
                         });
            }
        }
        const float factor = args.scale * LOG2_E;
#pragma unroll
        for (int n = 0; n < KEYS / 8; ++n)
            for_heights([&](int h) {
                lanes([&](int lane) {
#pragma unroll
                    for (int i = 0; i < 4; ++i) {
                        const int key = first + 8 * n + 2 * (lane % 4) + i % 2;
                        float& x = w.scores[h][n][lane].r[i];
                        x = key < keys_in_all ? x * factor : -__builtin_huge_valf();
                    }
                });
            });
    }

    // Scores become weights relative to the largest so far; what was summed is scaled down to it.
    LAVIN_INLINE void weigh(Warp& w) {
        for_heights([&](int h) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                PerLane<float> top, fade;
                lanes([&](int lane) {
                    top[lane] = w.top[h][half][lane];
#pragma unroll
                    for (int n = 0; n < KEYS / 8; ++n)
#pragma unroll
                        for (int i = 0; i < 2; ++i)
                            top[lane] = larger(top[lane], w.scores[h][n][lane].r[2 * half + i]);
                });
                over_quad(top, [](float a, float b) { return larger(a, b); });
                lanes([&](int lane) {
                    fade[lane] = exp2_fast(w.top[h][half][lane] - top[lane]);
                    w.top[h][half][lane] = top[lane];
                    float sum = 0.0f;
#pragma unroll
                    for (int n = 0; n < KEYS / 8; ++n)
#pragma unroll
                        for (int i = 0; i < 2; ++i) {
                            float& x = w.scores[h][n][lane].r[2 * half + i];
                            x = exp2_fast(x - top[lane]);
                            sum += x;
                        }
                    w.sum[h][half][lane] = w.sum[h][half][lane] * fade[lane] + sum;
#pragma unroll
                    for (int e = 0; e < WIDTH / 8; ++e)
#pragma unroll
                        for (int i = 0; i < 2; ++i) w.out[h][e][lane].r[2 * half + i] *= fade[lane];
                });
            }
        });
    }

    // Add the tile's values, weighted. An accumulator of 16 keys is laid out as the A of a product.
    LAVIN_INLINE void mix(Warp& w) {
#pragma unroll
        for (int n = 0; n < KEYS / 16; ++n) {
            PerLane<TileA> weights[HEIGHT];
            for_heights([&](int h) {
                lanes([&](int lane) {
#pragma unroll
                    for (int m = 0; m < 4; ++m) {
                        const float* pair = &w.scores[h][2 * n + m / 2][lane].r[m % 2 * 2];
                        weights[h][lane].r[m] = packed<T>(pair[0], pair[1]);
                    }
                });
            });
#pragma unroll
            for (int e = 0; e < WIDTH / 16; ++e) {
                PerLane<const void*> rows;
                lanes([&](int lane) {
                    const int key = 16 * n + lane % 16;
                    rows[lane] = v_tile + key * STRIDE + 16 * e + lane / 16 * 8;
                });
                PerLane<TileA> both;
                load_matrices(both, rows, true);
                multiply(both, [&](int h) -> PerLane<TileA>& { return weights[h]; },
                         [&](int h, int half) -> PerLane<TileD>& {
                             return w.out[h][2 * e + half];
                         });
            }
        }
    }

    // Two neighbouring B tiles in four registers, times the A of every height.
    template <class A, class D>
    LAVIN_INLINE void multiply(const PerLane<TileA>& both, A a, D d) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            PerLane<TileB> b;
            lanes([&](int lane) {
                b[lane].r[0] = both[lane].r[2 * half];
                b[lane].r[1] = both[lane].r[2 * half + 1];
            });
            for_heights([&](int h) { mma<T>(d(h, half), a(h), b); });
        }
    }

    LAVIN_INLINE void store(Warp& w, int warp) {
        T* out = static_cast<T*>(args.out);
        for_heights([&](int h) {
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                over_quad(w.sum[h][half], [](float a, float b) { return a + b; });
                lanes([&](int lane) {
                    const int row =
                        block.x * ROWS + warp * WARP_ROWS + 16 * h + 8 * half + lane / 4;
                    if (row >= group_rows) return;
                    const int head = block.y * (args.heads / args.kv_heads) + row / args.queries;
                    const std::int64_t token = row % args.queries;
                    const float inverse = 1.0f / w.sum[h][half][lane];
#pragma unroll
                    for (int e = 0; e < WIDTH / 8; ++e) {
                        const int column = 8 * e + 2 * (lane % 4);
                        if (column >= args.head_dim) continue;
                        const float* pair = &w.out[h][e][lane].r[2 * half];
                        const std::uint32_t word =
                            packed<T>(pair[0] * inverse, pair[1] * inverse);
                        T* to = out + (token * args.heads + head) * args.head_dim + column;
                        std::memcpy(to, &word, sizeof word);
                    }
                });
            }
        });
    }

    template <class F>
    static LAVIN_INLINE void for_heights(F f) {
#pragma unroll
        for (int h = 0; h < HEIGHT; ++h) f(h);
    }

    static LAVIN_INLINE float larger(float a, float b) { return a > b ? a : b; }
};

}  // namespace lavin
