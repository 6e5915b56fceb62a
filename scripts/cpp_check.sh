#!/bin/sh
# What the C++ runtime is held to beyond `make test`, without a GPU:
#
#   scripts/cpp_check.sh [address] [thread] [aarch64] [fuzz]      (all by default)
#
# address  the tests under AddressSanitizer and UndefinedBehaviorSanitizer
# thread   the tests under ThreadSanitizer
# aarch64  the tests cross-compiled and run by qemu, and a whole answer compared with this machine's
# fuzz     every fuzz target for FUZZ_SECONDS (20), from the real files of this checkout
#
# Builds lie in build/. ONNX Runtime's library is that of the Python package in PYTHON (.venv's).
set -eu
root=$(CDPATH= cd -- "$(dirname "$0")/.." && pwd)
cd "$root"
python=${PYTHON:-$root/.venv/bin/python}
LAVIN_ONNXRUNTIME=$("$python" -c "
from tests.helpers.clib import onnxruntime_library
print(onnxruntime_library())")
export LAVIN_ONNXRUNTIME

configure() {
    folder=$1
    shift
    # Without precompiled headers every file must include what it uses.
    cmake -S cpp -B "build/$folder" -DLAVIN_EXAMPLES=OFF -DLAVIN_WERROR=ON \
        -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON "$@" > "build/$folder.log" 2>&1 ||
        { tail -50 "build/$folder.log"; exit 1; }
}

build() {
    folder=$1
    shift
    cmake --build "build/$folder" --parallel 2 --target "$@" >> "build/$folder.log" 2>&1 ||
        { tail -50 "build/$folder.log"; exit 1; }
}

run_tests() {
    for program in lavin_tests lavin_stub_tests; do
        "$@" "build/$folder/tests/$program" --gtest_brief=1
    done
}

sanitized() {
    configure "$1" "-DLAVIN_SANITIZE=$2" -DCMAKE_CXX_FLAGS_RELEASE=-O1
    build "$1" lavin_tests lavin_stub_tests
    run_tests env UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
        "TSAN_OPTIONS=suppressions=$root/cpp/tests/tsan.supp"
}

# A folder in which qemu finds the libraries, and a /proc/cpuinfo of the processor that it is: of the
# real one, this machine's, ONNX Runtime makes nothing.
arm_root() {
    mkdir -p build/aarch64-root/proc
    ln -sfn /usr/aarch64-linux-gnu/lib build/aarch64-root/lib
    for number in 0 1; do
        printf 'processor\t: %s\nBogoMIPS\t: 100.00\n' "$number"
        printf 'Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid\n'
        printf 'CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\n'
        printf 'CPU part\t: 0xd08\nCPU revision\t: 3\n\n'
    done > build/aarch64-root/proc/cpuinfo
}

on_aarch64() {
    version=$("$python" -c "from importlib.metadata import version; print(version('onnxruntime'))")
    wheels=build/aarch64-wheel
    if ! ls $wheels/*.whl > /dev/null 2>&1; then
        "$python" -m pip download -q --disable-pip-version-check --no-deps -d $wheels \
            --only-binary=:all: --platform manylinux_2_28_aarch64 "onnxruntime==$version"
    fi
    "$python" -m zipfile -e $wheels/*.whl $wheels
    arm_root
    configure aarch64 "-DCMAKE_TOOLCHAIN_FILE=$root/cpp/cmake/aarch64.cmake"
    build aarch64 lavin_tests lavin_stub_tests lavin_cli
    arm=$(ls "$root"/$wheels/onnxruntime/capi/libonnxruntime.so.*)
    run_tests env "LAVIN_ONNXRUNTIME=$arm" qemu-aarch64 -L build/aarch64-root
    configure cpp
    build cpp lavin_cli
    picture=build/in.ppm # the formats with libraries are not there on ARM
    "$python" -c "
from pathlib import Path
from PIL import Image
found = sorted(Path('examples/tasks/segmentation').glob('*_input.*'))[0]
Image.open(found).convert('RGB').save('$picture')"
    answer="--bundle lavin_deploy/bundles/edge.lavin --task segmentation --backend onnxruntime"
    build/cpp/lavin_cli $answer --latents build/here.f32 $picture build/here.ppm
    LAVIN_ONNXRUNTIME=$arm qemu-aarch64 -L build/aarch64-root build/aarch64/lavin_cli $answer \
        --latents build/arm.f32 $picture build/arm.ppm
    "$python" -c "
import numpy as np
from PIL import Image
here, arm = (np.fromfile(f'build/{n}.f32', np.float32) for n in ('here', 'arm'))
pixels = [np.array(Image.open(f'build/{n}.ppm')) for n in ('here', 'arm')]
distance, equal = np.abs(here - arm).max(), (pixels[0] == pixels[1]).mean()
print(f'aarch64 against this machine: latents differ by {distance:.2e}, {equal:.4%} of pixels equal')
assert distance < 5e-5 and equal > 0.999, 'too far apart'"
}

fuzzed() {
    configure fuzz -DLAVIN_FUZZ=ON -DLAVIN_TESTS=OFF -DCMAKE_CXX_COMPILER=clang++ \
        -DCMAKE_C_COMPILER=clang
    build fuzz fuzz
    seeds=build/fuzz-seeds
    rm -rf $seeds
    mkdir -p $seeds/manifest $seeds/npy $seeds/zip $seeds/letterbox $seeds/picture
    toy=tests/golden/toy.lavin
    cp $toy/manifest.json $seeds/manifest
    cp $toy/tables/*.npy $toy/tasks/*/*.npy $seeds/npy
    cp $toy/tasks/*/pairs/*.png $seeds/picture
    "$python" -c "
from lavin_deploy.bundle import open_bundle, pack
with open_bundle('$toy') as bundle:
    pack(bundle, '$seeds/zip/toy.zip')"
    for target in manifest npy zip letterbox picture; do
        build/fuzz/fuzz/fuzz_$target -max_total_time="${FUZZ_SECONDS:-20}" -timeout=60 \
            -rss_limit_mb=4096 -artifact_prefix=build/fuzz- $seeds/$target \
            > build/fuzz-$target.log 2>&1 || { tail -40 build/fuzz-$target.log; exit 1; }
        echo "fuzz_$target: $(grep -o '^Done.*' build/fuzz-$target.log)"
    done
}

mkdir -p build
for check in ${*:-address thread aarch64 fuzz}; do
    echo "== $check"
    case $check in
        address) sanitized asan address,undefined ;;
        thread) sanitized tsan thread ;;
        aarch64) on_aarch64 ;;
        fuzz) fuzzed ;;
        *) echo "unknown check '$check'; accepted: address, thread, aarch64, fuzz." >&2; exit 2 ;;
    esac
done
