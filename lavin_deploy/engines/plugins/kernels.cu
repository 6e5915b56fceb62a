// The kernels on a GPU.

#include <cuda_runtime.h>

#include "attention.h"
#include "attention_float32.h"
#include "dispatch.h"
#include "rope3d.h"

namespace lavin {
namespace {

template <class Kernel>
__global__ void __launch_bounds__(Kernel::WARPS * LANES) attention(lavin_attention_args args) {
    extern __shared__ __align__(16) char shared[];
    const Block<Kernel::WARPS> block{int(blockIdx.x), int(blockIdx.y), shared};
    if constexpr (std::is_same_v<Kernel, AttentionFloat32>)
        Kernel::run(args, block);
    else
        Kernel(args, block).run();
}

template <class Kernel>
__global__ void __launch_bounds__(Kernel::WARPS * LANES) rope3d(lavin_rope3d_args args) {
    Kernel::run(args, Block<Kernel::WARPS>{int(blockIdx.x), int(blockIdx.y), nullptr});
}

template <class Kernel>
int launch(const lavin_attention_args& args, cudaStream_t stream) {
    const int rows = args.heads / args.kv_heads * args.queries;
    const dim3 grid(over(rows, Kernel::ROWS), args.kv_heads);
    static_assert(Kernel::SHARED <= 48 * 1024, "more needs an opt-in");
    attention<Kernel><<<grid, Kernel::WARPS * LANES, Kernel::SHARED, stream>>>(args);
    return cudaGetLastError();
}

template <class T>
int launch_rope(const lavin_rope3d_args& args, cudaStream_t stream) {
    return by_row(args, [&](auto held) {
        using Kernel = Rope3D<T, held()>;
        const dim3 grid(over(args.tokens, Kernel::WARPS), args.q ? 2 : 1);
        rope3d<Kernel><<<grid, Kernel::WARPS * LANES, 0, stream>>>(args);
        return int(cudaGetLastError());
    });
}

template <class T>
int launch_tiles(const lavin_attention_args& args, int processors, cudaStream_t stream) {
    return by_shape(args, worth_tall(args, processors), [&](auto width, auto height) {
        return launch<Attention<T, width(), height()>>(args, stream);
    });
}

// Multiprocessors and major compute capability of the current device.
struct Device {
    int processors = 0, major = 0, error = 0;

    Device() {
        int device = 0;
        error = cudaGetDevice(&device);
        if (!error)
            error = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
        if (!error)
            error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    }
};

}  // namespace
}  // namespace lavin

extern "C" int lavin_rope3d(const lavin_rope3d_args* args, int type, void* stream) {
    using namespace lavin;
    if (!args || !acceptable(*args)) return INVALID;
    const auto queue = static_cast<cudaStream_t>(stream);
    switch (type) {
        case LAVIN_FLOAT32: return launch_rope<float>(*args, queue);
        case LAVIN_FLOAT16: return launch_rope<Half>(*args, queue);
        case LAVIN_BFLOAT16: return launch_rope<BFloat16>(*args, queue);
        default: return INVALID;
    }
}

extern "C" int lavin_attention(const lavin_attention_args* args, int type, void* stream) {
    using namespace lavin;
    if (!args || !acceptable(*args)) return INVALID;
    const Device device;
    if (device.error) return device.error;
    const auto queue = static_cast<cudaStream_t>(stream);
    switch (type) {
        case LAVIN_FLOAT32: return launch<AttentionFloat32>(*args, queue);
        case LAVIN_FLOAT16: return launch_tiles<Half>(*args, device.processors, queue);
        case LAVIN_BFLOAT16:
            if (device.major < 8) return cudaErrorNotSupported;
            return launch_tiles<BFloat16>(*args, device.processors, queue);
        default: return INVALID;
    }
}
