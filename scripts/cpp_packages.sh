#!/bin/sh
# The Debian packages that the C++ runtime's build and tests take; `scripts/cpp_packages.sh install`
# installs them, which needs root.
set -eu
library="cmake g++ pkg-config nlohmann-json3-dev libpng-dev libjpeg-dev liblcms2-dev" # and its command line
tests="libgtest-dev file strace"
gstreamer="libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev gstreamer1.0-plugins-base gstreamer1.0-tools"
arm="g++-aarch64-linux-gnu qemu-user"
fuzzing="clang libclang-rt-dev" # the second has libFuzzer and the sanitizers
packages="$library $tests $gstreamer $arm $fuzzing"
if [ "${1:-}" = install ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q > /dev/null
    # shellcheck disable=SC2086
    apt-get install -qy --no-install-recommends $packages > /dev/null
else
    echo "$packages"
fi
