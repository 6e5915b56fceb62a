// Memory, a stream, CUDA graphs and two kernels by the CUDA driver: a Device but for its engines.
// Not run on a GPU yet.
#pragma once

#include <map>
#include <set>
#include <string>

#include "device/cuda_api.h"
#include "device/device.h"
#include "device/gpu.h"

namespace lavin::core {

// The kernels affine and update of the Python package's runtime/cuda/elementwise.ptx; made by
// CMake.
extern const char* const kElementwisePtx;

// The primary context of one GPU, a stream of its own, and what was allocated by it. The primary
// context stays when this goes, for libraries that go on using it.
class CudaDriver : public Device {
 public:
  // `index` is the driver's number of the GPU. InputError: no driver. WorkError: it refuses.
  explicit CudaDriver(int index, const std::string& library = kDriverLibrary);
  ~CudaDriver() override;

  void enter() override;
  Address allocate(std::size_t size) override;
  void upload(Address target, const Array& array) override;
  void download(Address source, std::size_t size) override;
  void collect(Address source, Array& array) override;
  void copy(Address target, Address source, std::size_t size) override;
  void affine(Address target, Address source, const AffineNumbers& numbers) override;
  void update(Address z, Address velocity, Address null, const UpdateNumbers& numbers) override;
  CapturedGraph capture(const std::function<void()>& work) override;
  void launch(CapturedGraph captured) override;
  Event mark() override;
  void again(Event event) override;
  double between(Event first, Event last) override;
  void synchronize() override;
  void release(Address start) override;
  void release(CapturedGraph captured) override;
  void release(Event event) override;

 protected:
  // A CUstream.
  void* stream() const { return stream_; }

 private:
  // Pinned memory that copies of one address go by.
  struct Staging {
    void* place = nullptr;
    std::size_t size = 0;
  };

  void* staging(Address address, std::size_t size);
  void start(void* kernel, std::size_t count, void** values);
  void close() noexcept;

  CudaApi cuda_;
  void* context_ = nullptr;
  void* stream_ = nullptr;
  void* module_ = nullptr;
  void* affine_ = nullptr;
  void* update_ = nullptr;
  std::map<Address, std::size_t> memory_;  // bytes from each address on
  std::map<Address, Staging> staging_;
  std::set<void*> graphs_, events_;
};

}  // namespace lavin::core
