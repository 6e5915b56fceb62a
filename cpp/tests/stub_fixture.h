// Tests on the stub of the driver, for programs of their own, because what they load stays.
#pragma once

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <string>

#include "stub_cuda.h"

namespace lavin::core {

inline constexpr const char* kModule = "liblavin_tensorrt10.so";

// The driver, as it answers unless a test wants another. Its file has the name of the real one, so
// that libcuda.so.1 means this from here on.
inline StubCuda& driver() {
  using Entry = StubCuda* (*)();
  static const Entry entry = [] {
    const std::string file = std::string(LAVIN_STUB_FOLDER) + "/libcuda.so.1";
    return reinterpret_cast<Entry>(dlsym(dlopen(file.c_str(), RTLD_NOW), "stub_cuda"));
  }();
  return *entry();
}

class Tensorrt : public testing::Test {
 protected:
  void SetUp() override {
    const auto queue = driver().queue;
    driver() = StubCuda();
    driver().queue = queue;
    dlopen((std::string(LAVIN_STUB_FOLDER) + "/" + kModule).c_str(), RTLD_NOW);
  }
  void TearDown() override { EXPECT_EQ(driver().live, 0) << "something was not given back"; }
};

}  // namespace lavin::core
