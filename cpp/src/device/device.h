// What a device does for a runtime that stays on it: memory, engines, a little arithmetic, graphs.
// No type of a vendor's library appears here. Work is queued in order on one stream; only
// `synchronize` waits for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/array.h"
#include "bundle/manifest.h"

namespace lavin::core {

using Address = std::uint64_t;
enum class CapturedGraph : std::uintptr_t {};
enum class Event : std::uintptr_t {};

// Bytes: TensorRT wants the addresses of its tensors so.
inline constexpr std::size_t kAlignment = 256;

// Rounds bytes up to kAlignment.
inline constexpr std::size_t aligned(std::size_t size) {
  return (size + kAlignment - 1) / kAlignment * kAlignment;
}

// A graph that a device runs.
class Engine {
 public:
  virtual ~Engine() = default;
  // Names, types and shapes, as the engine itself says.
  virtual const std::vector<TensorSpec>& inputs() const = 0;
  virtual const std::vector<TensorSpec>& outputs() const = 0;
};

// (x + add) * factor + shift on (channels, length) float32; rows of the result begin `stride`
// elements apart.
struct AffineNumbers {
  int channels = 0, length = 0;
  std::int64_t stride = 0;
  float add = 0, factor = 1, shift = 0;
};

// z += span * (null + weight * (velocity - null)); weight 1 ignores null.
struct UpdateNumbers {
  float weight = 1, span = 0;
  int length = 0;
};

// One device and one queue of work on it; one thread at a time. The destructor gives all back.
class Device {
 public:
  Device() = default;
  virtual ~Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  // The library, its version and the device in one line.
  virtual std::string describe() const = 0;
  // Make this the device of the thread that calls; first of all in every piece of work.
  virtual void enter() = 0;

  // The address of so many new bytes, a multiple of 256.
  virtual Address allocate(std::size_t size) = 0;
  // Make an engine ready to run; it is the device's. BundleError: it cannot be loaded.
  virtual Engine& load(const std::string& plan) = 0;

  // Queue a copy from the host; `array` may change as soon as this returns.
  virtual void upload(Address target, const Array& array) = 0;
  // Queue a copy to the host, to be taken by `collect` after `synchronize`.
  virtual void download(Address source, std::size_t size) = 0;
  // Take what the last download from there brought.
  virtual void collect(Address source, Array& array) = 0;
  // Queue a run of an engine; every input and output has its address.
  virtual void run(Engine& engine, const std::map<std::string, Address>& tensors) = 0;
  // Queue a copy of so many bytes.
  virtual void copy(Address target, Address source, std::size_t size) = 0;
  virtual void affine(Address target, Address source, const AffineNumbers& numbers) = 0;
  virtual void update(Address z, Address velocity, Address null, const UpdateNumbers& numbers) = 0;

  // What `work` queues, to be launched as one; it is not run by this.
  virtual CapturedGraph capture(const std::function<void()>& work) = 0;
  // Queue what was captured.
  virtual void launch(CapturedGraph captured) = 0;

  // Queue the taking of a time; `again` takes a time that was taken before anew.
  virtual Event mark() = 0;
  virtual void again(Event event) = 0;
  // Seconds between two marks; both have passed.
  virtual double between(Event first, Event last) = 0;

  // Wait for everything that was queued. WorkError: some of it failed.
  virtual void synchronize() = 0;

  // Give one thing back before the device goes. Nothing that was queued may still use it.
  virtual void release(Address start) = 0;
  virtual void release(CapturedGraph captured) = 0;
  virtual void release(Event event) = 0;
};

}  // namespace lavin::core
