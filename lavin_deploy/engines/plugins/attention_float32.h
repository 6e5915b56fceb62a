// Grouped-query attention in float32 throughout, without tensor cores: for engines in float32 and
// as a yardstick. The same rows, tiles and online softmax as attention.h, in shared memory.
#pragma once

#include "block.h"
#include "kernels.h"

namespace lavin {

struct AttentionFloat32 {
    static constexpr int WARPS = 4, ROWS = 16, KEYS = 32, WIDEST = 128;
    // One float more than a row, so that a column of keys lies in different banks.
    static constexpr int STRIDE = WIDEST + 1;
    static constexpr int SHARED =
        int(sizeof(float)) * (2 * ROWS * WIDEST + KEYS * STRIDE + ROWS * KEYS + 3 * ROWS);

    static LAVIN_INLINE void run(const lavin_attention_args& args, const Block<WARPS>& block) {
        const int width = args.head_dim, group = args.heads / args.kv_heads;
        const int group_rows = group * args.queries, all = args.past + args.keys;
        const std::int64_t head = block.y;
        float* q = reinterpret_cast<float*>(block.shared);
        float* out = q + ROWS * WIDEST;
        float* tile = out + ROWS * WIDEST;
        float* scores = tile + KEYS * STRIDE;
        float* top = scores + ROWS * KEYS;
        float* sum = top + ROWS;
        float* fade = sum + ROWS;

        const float* given = static_cast<const float*>(args.q) + head * group_rows * width;
        block.each(ROWS * width, [&](int i) {
            const std::int64_t row = block.x * ROWS + i / width;
            q[i] = row < group_rows ? given[row * width + i % width] * args.scale : 0.0f;
            out[i] = 0.0f;
        });
        block.each(ROWS, [&](int row) {
            top[row] = -__builtin_huge_valf();
            sum[row] = 0.0f;
        });
        const auto load = [&](const void* past, const void* now, int first) {
            const float* before = static_cast<const float*>(past) + head * args.past * width;
            const float* rest = static_cast<const float*>(now) + head * args.keys * width;
            block.each(KEYS * width, [&](int i) {
                const int row = i / width, column = i % width, key = first + row;
                float x = 0.0f;
                if (key < args.past)
                    x = before[std::int64_t(key) * width + column];
                else if (key < all)
                    x = rest[std::int64_t(key - args.past) * width + column];
                tile[row * STRIDE + column] = x;
            });
        };
        for (int first = 0; first < all; first += KEYS) {
            block.sync();
            load(args.past_k, args.k, first);
            block.sync();
            block.each(ROWS * KEYS, [&](int i) {
                const int row = i / KEYS, key = i % KEYS;
                float x = 0.0f;
                for (int e = 0; e < width; ++e) x += q[row * width + e] * tile[key * STRIDE + e];
                scores[i] = first + key < all ? x : -__builtin_huge_valf();
            });
            block.sync();
            block.each(ROWS, [&](int row) {
                float most = top[row], added = 0.0f;
                for (int key = 0; key < KEYS; ++key) {
                    const float x = scores[row * KEYS + key];
                    most = x > most ? x : most;
                }
                for (int key = 0; key < KEYS; ++key) {
                    float& x = scores[row * KEYS + key];
                    x = exp2_fast((x - most) * 1.4426950408889634f);
                    added += x;
                }
                fade[row] = exp2_fast((top[row] - most) * 1.4426950408889634f);
                sum[row] = sum[row] * fade[row] + added;
                top[row] = most;
            });
            load(args.past_v, args.v, first);
            block.sync();
            block.each(ROWS * width, [&](int i) {
                const int row = i / width, column = i % width;
                float x = out[i] * fade[row];
                for (int key = 0; key < KEYS; ++key)
                    x += scores[row * KEYS + key] * tile[key * STRIDE + column];
                out[i] = x;
            });
        }
        block.each(ROWS * width, [&](int i) {
            const int row = block.x * ROWS + i / width;
            if (row >= group_rows) return;
            const std::int64_t token = row % args.queries;
            const std::int64_t query_head = head * group + row / args.queries;
            static_cast<float*>(args.out)[(token * args.heads + query_head) * width + i % width] =
                out[i] / sum[i / width];
        });
    }
};

}  // namespace lavin
