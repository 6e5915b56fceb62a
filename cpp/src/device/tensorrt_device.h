// Engines of TensorRT or TensorRT-RTX on the driver's stream. Not run on a GPU yet.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "device/cuda_driver.h"
#include "device/gpu.h"
#include "device/tensorrt_library.h"

namespace lavin::core {

class TensorrtDevice : public CudaDriver {
 public:
  // A GPU that find_gpu gave, and the library that runs the engines.
  // InputError: the library cannot be opened. WorkError: the driver refuses.
  TensorrtDevice(Gpu gpu, Library library);
  ~TensorrtDevice() override;

  std::string describe() const override;
  Engine& load(const std::string& plan) override;
  void run(Engine& engine, const std::map<std::string, Address>& tensors) override;

 private:
  class Loaded;

  Address scratch(std::size_t size);

  Gpu gpu_;
  Library library_;
  LavinTrtRuntime* runtime_ = nullptr;
  std::vector<std::unique_ptr<Loaded>> loaded_;
  Address scratch_ = 0;
  std::size_t scratch_size_ = 0;
};

}  // namespace lavin::core
