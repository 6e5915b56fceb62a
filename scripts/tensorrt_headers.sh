#!/bin/sh
# Prints a folder with TensorRT's headers: that of LAVIN_TENSORRT_INCLUDE, else those of TensorRT 10.14
# that a small package of the package index carries, checked by its sha256, below build/.
set -eu
root=$(CDPATH= cd -- "$(dirname "$0")/.." && pwd)
headers=${LAVIN_TENSORRT_INCLUDE:-$root/build/tensorrt-headers/kernel_lens/include/tensorrt}
if [ ! -f "$headers/NvInferRuntime.h" ]; then
    mkdir -p "$root/build/tensorrt-headers"
    cd "$root/build/tensorrt-headers"
    echo "kernel-lens==2.0.1 --hash=sha256:07cc714e8b5e7f34b672f7c7fad93febe7c747be5837ba276b1527370134ffe0" > pinned.txt
    "${PYTHON:-python3}" -m pip download -q --disable-pip-version-check --no-deps --require-hashes -r pinned.txt >&2
    "${PYTHON:-python3}" -m zipfile -e kernel_lens-2.0.1-py3-none-any.whl .
fi
echo "$headers"
