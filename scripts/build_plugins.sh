#!/bin/sh
# The CUDA kernels and TensorRT plugins, without a GPU: into build/plugins/ of this checkout.
#
#   scripts/build_plugins.sh ["80-real;87-real;90-virtual"]
#
# Architectures: that list by default, "all" for every one from Turing to Blackwell. Headers of
# TensorRT are those of scripts/tensorrt_headers.sh. Without nvcc only the CPU's reference is built.
set -eu
root=$(CDPATH= cd -- "$(dirname "$0")/.." && pwd)
build=$root/build/plugins
python=${PYTHON:-python3}
architectures=${1:-80-real;87-real;90-virtual}
[ "$architectures" = all ] && architectures="75-real;80-real;86-real;87-real;89-real;90-real;100-real;110-real;120"

headers=
cuda=OFF
if command -v nvcc > /dev/null; then
    cuda=ON
    headers=$(PYTHON=$python "$root/scripts/tensorrt_headers.sh")
fi
cmake -S "$root/lavin_deploy/engines/plugins" -B "$build" -DLAVIN_CUDA=$cuda \
    "-DLAVIN_TENSORRT_INCLUDE=$headers" "-DCMAKE_CUDA_ARCHITECTURES=$architectures" > /dev/null
cmake --build "$build" --parallel 2
echo "$build"
