// The GPU that is found, and memory, arithmetic and graphs by a driver that is a stub on the host.
// On a GPU nothing of this has run yet.
#include "device/cuda_driver.h"
#include "stub_fixture.h"
#include "support.h"

namespace lavin::core {
namespace {

TEST_F(Tensorrt, FindsAGpu) {
  const Gpu gpu = find_gpu();
  EXPECT_EQ(gpu.text(), "Stub, compute capability 8.9");
  EXPECT_EQ(gpu.memory, std::size_t{24} << 30);
  EXPECT_EQ(gpu.processors, 16);
  EXPECT_EQ(gpu.driver, std::pair(13, 0));
  driver().version = 12060;  // JetPack 6.2
  EXPECT_EQ(find_gpu().driver, std::pair(12, 6));
}

TEST_F(Tensorrt, SaysWhatIsMissing) {
  driver().version = 11040;
  EXPECT_EQ(sentence_of([] { find_gpu(); }),
            "the NVIDIA driver supports CUDA 11.4; engines need 12.6 or later: update the driver, "
            "or use the back end 'onnxruntime'.");
  driver().version = 13000;
  driver().devices = 0;
  EXPECT_EQ(sentence_of([] { find_gpu(); }),
            "the NVIDIA driver finds no GPU (is CUDA_VISIBLE_DEVICES empty?); use the back end "
            "'onnxruntime'.");
  driver().devices = 1;
  driver().major = 7;
  driver().minor = 2;
  EXPECT_EQ(sentence_of([] { find_gpu(); }),
            "the GPU is Stub, compute capability 7.2; engines need 7.5 (Turing) or later: use the "
            "back end 'onnxruntime'.");
  driver().failing["cuInit"] = 999;
  driver().calls.clear();
  EXPECT_NE(sentence_of([] { find_gpu(); }).find("cuInit failed with CUDA error 999"),
            std::string::npos);
  EXPECT_EQ(driver().calls.size(), 2U);  // a driver that fails is not asked further
}

// A driver with the functions that only engines need.
class Memory : public CudaDriver {
 public:
  Memory() : CudaDriver(0) {}
  std::string describe() const override { return "memory"; }
  Engine& load(const std::string&) override { throw WorkError("none"); }
  void run(Engine&, const std::map<std::string, Address>&) override {}
};

TEST_F(Tensorrt, MovesAndCalculates) {
  Memory device;
  EXPECT_NE(driver().ptx.find(".visible .entry update("), std::string::npos);
  const Address a = device.allocate(1024), b = device.allocate(1024);
  Array values = floats({2, 2}, {1, 2, 3, 4});
  device.upload(a, values);
  values.floats()[0] = 100;  // may change as soon as upload returns
  device.affine(b, a, {2, 2, 4, 1, 2, 0.5F});
  device.copy(b + 8, a + 4, 4);
  device.download(b, 24);
  device.synchronize();
  Array found({6});
  device.collect(b, found);
  const std::vector<float> right = {4.5F, 6.5F, 2, found.floats()[3], 8.5F, 10.5F};
  EXPECT_EQ(values_of(found), right);
  device.upload(a, floats({2}, {1, 2}));
  device.upload(b, floats({2}, {3, 5}));
  device.update(a, b, b, {1, 0.5F, 2});
  device.update(a, b, a, {2, 0.25F, 1});
  device.download(a, 8);
  device.synchronize();
  Array pair({2});
  device.collect(a, pair);
  EXPECT_EQ(values_of(pair), (std::vector<float>{2.5F + 0.25F * 3.5F, 4.5F}));
}

TEST_F(Tensorrt, CapturesWithoutRunning) {
  Memory device;
  const Address z = device.allocate(256), v = device.allocate(256);
  device.upload(z, floats({1}, {0}));
  device.upload(v, floats({1}, {1}));
  const CapturedGraph loop = device.capture([&] { device.update(z, v, v, {1, 1, 1}); });
  const Event first = device.mark();
  for (int i = 0; i < 3; ++i) device.launch(loop);
  const Event last = device.mark();
  EXPECT_THROW(device.between(first, last), WorkError);  // it has not passed
  device.download(z, 4);
  device.synchronize();
  Array found({1});
  device.collect(z, found);
  EXPECT_EQ(found.floats()[0], 3);
  EXPECT_DOUBLE_EQ(device.between(first, last), 0.004);
  device.release(loop);
  device.release(first);
  device.release(last);
  device.release(z);
  EXPECT_EQ(driver().calls["cuGraphDestroy"], 1);
  EXPECT_THROW(device.collect(z, found), WorkError);
}

TEST_F(Tensorrt, GoesOnAfterACaptureThatFailed) {
  Memory device;
  const Address z = device.allocate(256);
  EXPECT_EQ(sentence_of([&] { device.capture([&] { device.allocate(256); }); }),
            "cuMemAlloc_v2 failed on the GPU: CUDA_ERROR_STREAM_CAPTURE.");
  EXPECT_THROW(device.capture([] { throw WorkError("another."); }), WorkError);
  driver().failing["cuGraphInstantiateWithFlags"] = 2;
  EXPECT_THROW(device.capture([&] { device.copy(z, z + 4, 4); }), WorkError);
  device.upload(z, floats({1}, {7}));
  device.synchronize();
}

TEST_F(Tensorrt, TellsWhyTheDriverRefuses) {
  driver().failing["cuMemAlloc_v2"] = 2;
  {
    Memory device;
    EXPECT_EQ(sentence_of([&] { device.allocate(256); }),
              "cuMemAlloc_v2 failed on the GPU: CUDA_ERROR_OUT_OF_MEMORY.");
  }
  driver().failing = {{"cuModuleLoadData", 218}};
  EXPECT_EQ(sentence_of([] { Memory(); }), "cuModuleLoadData failed on the GPU: CUDA error 218.");
}

}  // namespace
}  // namespace lavin::core
