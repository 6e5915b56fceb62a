/* The two kernels as plain C functions, so that they can be tested and timed without TensorRT.
 *
 * Shapes: L tokens, N query heads, K key/value heads, E head width, P tokens of a prefix; batch 1.
 * "Data" is of the type given, the same for all data of a call; "float32" stays so. Every tensor
 * is contiguous and aligned to 16 bytes. The text of lavin_deploy/portable.py defines what
 * both compute.
 */
#ifndef LAVIN_KERNELS_H
#define LAVIN_KERNELS_H

#ifdef __cplusplus
extern "C" {
#endif

enum lavin_type { LAVIN_FLOAT32 = 0, LAVIN_FLOAT16 = 1, LAVIN_BFLOAT16 = 2 };

/* QK-Norm and rotation. N E and K E are whole numbers of heads. */
struct lavin_rope3d_args {
    const void* q;         /* (L, N E) data, or null: keys alone */
    const void* k;         /* (L, K E) data */
    const float* q_weight; /* (N E,) float32; unused without q */
    const float* k_weight; /* (K E,) float32 */
    const float* cos;      /* (L, E / 2) float32 */
    const float* sin;      /* (L, E / 2) float32 */
    void* q_out;           /* (N, L, E) data */
    void* k_out;           /* (K, L, E) data */
    int tokens;            /* L, at least 1 */
    int heads;             /* N; unused without q */
    int kv_heads;          /* K */
    int head_dim;          /* E, a multiple of 8 */
    float epsilon;
};

/* Grouped-query attention, softmax(scale q k^T) v, no mask. Query head i reads head i / (N / K). */
struct lavin_attention_args {
    const void* q;      /* (N, Lq, E) data */
    const void* k;      /* (K, L, E) data */
    const void* v;      /* (K, L, E) data */
    const void* past_k; /* (K, P, E) data, stands before k; null where P is 0 */
    const void* past_v; /* (K, P, E) data */
    void* out;          /* (Lq, N E) data */
    int queries;        /* Lq, at least 1 */
    int keys;           /* L, at least 1 */
    int past;           /* P */
    int heads;          /* N, a multiple of K */
    int kv_heads;       /* K */
    int head_dim;       /* E, a multiple of 8 from 8 to 128 */
    float scale;
};

/* On the current CUDA device, queued on ``stream`` (a cudaStream_t; null is the default stream).
 * Return 0 or a cudaError_t; cudaErrorInvalidValue (1) for arguments out of range. */
int lavin_rope3d(const struct lavin_rope3d_args* args, int type, void* stream);
int lavin_attention(const struct lavin_attention_args* args, int type, void* stream);

/* The same source run on the CPU, block after block, lane after lane: the reference for index
 * logic. ``wide``: 1 takes tiles of 128 rows where there are some, 0 tiles of 64. Only in
 * liblavin_reference. */
int lavin_rope3d_reference(const struct lavin_rope3d_args* args, int type);
int lavin_attention_reference(const struct lavin_attention_args* args, int type, int wide);

#ifdef __cplusplus
}
#endif
#endif
