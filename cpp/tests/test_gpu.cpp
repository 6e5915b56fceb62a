// What is said where there is no driver. test_tensorrt.cpp has a driver that answers as told.
#include "device/gpu.h"
#include "support.h"

namespace lavin::core {
namespace {

TEST(Gpu, NeedsADriver) {
  EXPECT_EQ(sentence_of([] { find_gpu("libcuda-that-is-not-there.so.1"); }),
            "no NVIDIA driver is installed here (libcuda-that-is-not-there.so.1 cannot be loaded); "
            "install the driver, start the container with GPU access, or use the back end "
            "'onnxruntime'.");
}

TEST(Gpu, IsNotAskedOfALibraryThatIsNoDriver) {
  EXPECT_EQ(sentence_of([] { find_gpu("libm.so.6"); }),
            "the NVIDIA driver has no cuDriverGetVersion; it is a stub or too old: install the "
            "driver of the GPU.");
}

TEST(Gpu, IsDescribed) {
  Gpu gpu;
  gpu.name = "Orin";
  gpu.capability = {8, 7};
  EXPECT_EQ(gpu.text(), "Orin, compute capability 8.7");
}

}  // namespace
}  // namespace lavin::core
