// The kernels on a CPU: every block of the grid in turn, from the source that the GPU runs.

#include <vector>

#include "attention.h"
#include "attention_float32.h"
#include "dispatch.h"
#include "rope3d.h"

namespace lavin {
namespace {

// Tile rows hold bytes of an earlier block's data; a kernel that reads what it did not write shows.
constexpr char RUBBISH = char(0x7e);

template <class F>
int every_block(int columns, int rows, int shared, F f) {
    for (int y = 0; y < rows; ++y)
        for (int x = 0; x < columns; ++x) {
            std::vector<char> memory(std::size_t(shared) + 16, RUBBISH);
            char* start = memory.data();
            start += (16 - reinterpret_cast<std::uintptr_t>(start) % 16) % 16;
            f(x, y, start);
        }
    return 0;
}

template <class Kernel>
int attend(const lavin_attention_args& args) {
    const int rows = args.heads / args.kv_heads * args.queries;
    return every_block(over(rows, Kernel::ROWS), args.kv_heads, Kernel::SHARED,
                       [&](int x, int y, char* shared) {
                           const Block<Kernel::WARPS> block{x, y, shared};
                           if constexpr (std::is_same_v<Kernel, AttentionFloat32>)
                               Kernel::run(args, block);
                           else
                               Kernel(args, block).run();
                       });
}

template <class T>
int attend_in_tiles(const lavin_attention_args& args, bool tall) {
    return by_shape(args, tall, [&](auto width, auto height) {
        return attend<Attention<T, width(), height()>>(args);
    });
}

template <class T>
int turn(const lavin_rope3d_args& args) {
    return by_row(args, [&](auto held) {
        using Kernel = Rope3D<T, held()>;
        return every_block(over(args.tokens, Kernel::WARPS), args.q ? 2 : 1, 0,
                           [&](int x, int y, char*) {
                               Kernel::run(args, Block<Kernel::WARPS>{x, y, nullptr});
                           });
    });
}

}  // namespace
}  // namespace lavin

extern "C" int lavin_rope3d_reference(const lavin_rope3d_args* args, int type) {
    using namespace lavin;
    if (!args || !acceptable(*args)) return INVALID;
    switch (type) {
        case LAVIN_FLOAT32: return turn<float>(*args);
        case LAVIN_FLOAT16: return turn<Half>(*args);
        case LAVIN_BFLOAT16: return turn<BFloat16>(*args);
        default: return INVALID;
    }
}

extern "C" int lavin_attention_reference(const lavin_attention_args* args, int type, int wide) {
    using namespace lavin;
    if (!args || !acceptable(*args)) return INVALID;
    switch (type) {
        case LAVIN_FLOAT32: return attend<AttentionFloat32>(*args);
        case LAVIN_FLOAT16: return attend_in_tiles<Half>(*args, wide != 0);
        case LAVIN_BFLOAT16: return attend_in_tiles<BFloat16>(*args, wide != 0);
        default: return INVALID;
    }
}
