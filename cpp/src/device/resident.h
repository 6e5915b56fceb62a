// Runs a program on a device, frame after frame; the sampler loop is captured once and launched.
//
// Order: constants up and `once`; the first frame is queued operation by operation, which lets
// engines set themselves up; then the loop is captured, and every later frame launches it as one.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/frames.h"
#include "device/device.h"
#include "device/program.h"

namespace lavin::core {

// Answers pictures of one size by one program. The device must outlive it.
class Resident : public Frames {
 public:
  using EngineOf = std::function<Engine&(const Graph&)>;

  // `noise` is (1, C, 1, h, w) float32; `pairs` (1, C, 2 pairs, h, w) float32 scaled, the context
  // without the query. BundleError: a row is not of the size that the graphs take.
  Resident(Device& device, Program program, const EngineOf& engine, const RowOf& row,
           const Array& noise, const Array& pairs);
  ~Resident() override;

  // WorkError: the device failed.
  Array answer(const Picture& picture, Picture& target, Seconds& seconds) override;

  // Why the loop is queued and not captured; empty where nothing is wrong.
  const std::string& fault() const { return fault_; }

 private:
  void upload_constants(const RowOf& row, const Array& noise, const Array& pairs);
  void upload(const std::string& buffer, const Array& array);
  void capture();
  void mark(std::size_t which);
  Address at(const Place& place) const { return addresses_.at(place.buffer) + place.offset; }
  void queue(const Operations& operations);
  void queue(const Run& run);
  void queue(const Copy& copy);
  void queue(const Affine& affine);
  void queue(const Update& update);
  void give_back() noexcept;

  Device& device_;
  Program program_;
  std::map<std::string, Engine*> engines_;  // by file
  std::map<std::string, Address> addresses_;
  Address start_ = 0;
  Shape latents_, pixels_;
  std::optional<CapturedGraph> loop_;
  std::string fault_;
  bool ready_ = false;  // a frame was answered, so every engine has run
  std::vector<Event> events_;
};

}  // namespace lavin::core
