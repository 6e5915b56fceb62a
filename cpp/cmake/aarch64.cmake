# Cross-compiles for 64-bit ARM with Debian's compiler, and runs the tests in qemu:
#
#   apt install g++-aarch64-linux-gnu qemu-user
#   cmake -S cpp -B build/aarch64 -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64.cmake
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

set(lavin_sysroot /usr/aarch64-linux-gnu)
find_program(LAVIN_QEMU NAMES qemu-aarch64 qemu-aarch64-static)
mark_as_advanced(LAVIN_QEMU)
if(LAVIN_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${LAVIN_QEMU} -L ${lavin_sysroot})
endif()

# Programs are this machine's and libraries the other's. Packages may be this machine's too, for
# headers such as nlohmann-json's; the other's are found first. Its own folder of pkg-config files
# keeps GStreamer's of this machine out.
set(CMAKE_FIND_ROOT_PATH ${lavin_sysroot})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE BOTH)
set(ENV{PKG_CONFIG_LIBDIR} ${lavin_sysroot}/lib/pkgconfig:/usr/lib/aarch64-linux-gnu/pkgconfig)
