#!/bin/sh
# The CUDA kernels and TensorRT plugins, without a GPU: into build/plugins/ of this checkout.
#
#   scripts/build_plugins.sh ["80-real;87-real;90-virtual"]
#
# Architectures: that list by default, "all" for every one from Turing to Blackwell. Headers of
# TensorRT are those in LAVIN_TENSORRT_INCLUDE, else those of TensorRT 10.14 that a small package of
# the package index carries, checked by its sha256. Without nvcc only the CPU's reference is built.
set -eu
root=$(CDPATH= cd -- "$(dirname "$0")/.." && pwd)
build=$root/build/plugins
python=${PYTHON:-python3}
architectures=${1:-80-real;87-real;90-virtual}
[ "$architectures" = all ] && architectures="75-real;80-real;86-real;87-real;89-real;90-real;100-real;110-real;120"

headers=${LAVIN_TENSORRT_INCLUDE:-$root/build/tensorrt-headers/kernel_lens/include/tensorrt}
cuda=OFF
if command -v nvcc > /dev/null; then
    cuda=ON
    if [ ! -f "$headers/NvInferRuntime.h" ]; then
        mkdir -p "$root/build/tensorrt-headers"
        cd "$root/build/tensorrt-headers"
        echo "kernel-lens==2.0.1 --hash=sha256:07cc714e8b5e7f34b672f7c7fad93febe7c747be5837ba276b1527370134ffe0" > pinned.txt
        "$python" -m pip download -q --disable-pip-version-check --no-deps --require-hashes -r pinned.txt
        "$python" -m zipfile -e kernel_lens-2.0.1-py3-none-any.whl .
    fi
fi
cmake -S "$root/lavin_deploy/engines/plugins" -B "$build" -DLAVIN_CUDA=$cuda \
    "-DLAVIN_TENSORRT_INCLUDE=$headers" "-DCMAKE_CUDA_ARCHITECTURES=$architectures" > /dev/null
cmake --build "$build" --parallel 2
echo "$build"
