// A device on the host, with functions for engines. It is strict where CUDA is: addresses are
// 256-aligned, only arithmetic, copies and engines can be captured, what is captured does not run,
// an engine must have run once before it is captured, and downloads arrive with `synchronize`.
#pragma once

#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "device/device.h"
#include "device/program.h"

namespace lavin::core {

class HostDevice : public Device {
 public:
  using Compute = std::function<Outputs(const Feed&)>;

  // Functions by the graph's name; an engine's plan is its graph's file.
  HostDevice(const Variant& variant, std::map<std::string, Compute> graphs)
      : variant_(variant), graphs_(std::move(graphs)) {}

  std::vector<std::string> calls;
  bool refuses_capture = false;

  std::size_t count(const std::string& name) const {
    std::size_t found = 0;
    for (const std::string& call : calls) found += call == name ? 1 : 0;
    return found;
  }
  // What was allocated, captured or marked and not given back.
  std::size_t held() const { return memory_.size() + loops_.size() + events_.size(); }

  std::string describe() const override { return "host"; }
  void enter() override {}

  Address allocate(std::size_t size) override {
    require(size > 0 && recording_ == nullptr, "an allocation is empty or captured");
    Memory memory(static_cast<std::byte*>(::operator new (size, std::align_val_t{kAlignment})));
    std::memset(memory.get(), 0x7f, size);
    const Address address = reinterpret_cast<Address>(memory.get());
    memory_.emplace(address, std::move(memory));
    return address;
  }

  Engine& load(const std::string& plan) override {
    for (const Graph& graph : variant_.graphs) {
      if (graph.file != plan) continue;
      engines_.push_back(std::make_unique<HostEngine>(graph));
      return *engines_.back();
    }
    throw BundleError("no such engine.");
  }

  void upload(Address target, const Array& array) override {
    require(recording_ == nullptr, "an upload is captured");
    calls.push_back("upload");
    std::memcpy(at(target), array.data(), array.bytes());
  }

  void download(Address source, std::size_t size) override {
    require(recording_ == nullptr, "a download is captured");
    calls.push_back("download");
    coming_[source].assign(at(source), at(source) + size);
  }

  void collect(Address source, Array& array) override {
    const std::vector<std::byte>& found = arrived_.at(source);
    require(found.size() == array.bytes(), "another size was downloaded");
    std::memcpy(array.data(), found.data(), found.size());
  }

  void run(Engine& engine, const std::map<std::string, Address>& tensors) override {
    HostEngine& mine = dynamic_cast<HostEngine&>(engine);
    const Graph& graph = mine.graph;
    require(tensors.size() == graph.inputs.size() + graph.outputs.size(), "tensors are missing");
    for (const auto& each : tensors) require(each.second % kAlignment == 0, "alignment");
    require(recording_ == nullptr || mine.runs > 0, "an engine sets itself up when it first runs");
    ++mine.runs;
    queue("run " + graph.name, [this, &graph, tensors] {
      std::map<std::string, Array> given;
      Feed feed;
      for (const TensorSpec& spec : graph.inputs) {
        Array array(spec.dtype, spec.shape);
        std::memcpy(array.data(), at(tensors.at(spec.name)), array.bytes());
        feed[spec.name] = &given.insert_or_assign(spec.name, std::move(array)).first->second;
      }
      const Outputs outputs = graphs_.at(graph.name)(feed);
      for (const TensorSpec& spec : graph.outputs) {
        const Array& array = outputs.at(spec.name);
        require(array.bytes() == tensor_bytes(spec), "an output has another size");
        std::memcpy(at(tensors.at(spec.name)), array.data(), array.bytes());
      }
    });
  }

  void copy(Address target, Address source, std::size_t size) override {
    queue("copy", [this, target, source, size] { std::memcpy(at(target), at(source), size); });
  }

  void affine(Address target, Address source, const AffineNumbers& numbers) override {
    queue("affine", [this, target, source, n = numbers] {
      for (std::int64_t channel = 0; channel < n.channels; ++channel) {
        for (std::int64_t i = 0; i < n.length; ++i) {
          const float x = floats(source)[channel * n.length + i];
          floats(target)[channel * n.stride + i] = (x + n.add) * n.factor + n.shift;
        }
      }
    });
  }

  void update(Address z, Address velocity, Address null, const UpdateNumbers& numbers) override {
    queue("update", [this, z, velocity, null, n = numbers] {
      for (int i = 0; i < n.length; ++i) {
        float v = floats(velocity)[i];
        if (n.weight != 1.0F) v = floats(null)[i] + n.weight * (v - floats(null)[i]);
        floats(z)[i] += n.span * v;
      }
    });
  }

  CapturedGraph capture(const std::function<void()>& work) override {
    calls.push_back("capture");
    if (refuses_capture) throw WorkError("no graphs here.");
    auto made = std::make_unique<Loop>();
    recording_ = made.get();
    try {
      work();
    } catch (...) {
      recording_ = nullptr;
      throw;
    }
    recording_ = nullptr;
    const auto captured = static_cast<CapturedGraph>(reinterpret_cast<std::uintptr_t>(made.get()));
    loops_.emplace(captured, std::move(made));
    return captured;
  }
  void launch(CapturedGraph captured) override {
    calls.push_back("launch");
    for (const auto& work : *loops_.at(captured)) work();
  }

  Event mark() override {
    const auto event = static_cast<Event>(++next_);
    events_[event] = ++clock_;
    return event;
  }
  void again(Event event) override { events_.at(event) = ++clock_; }
  double between(Event first, Event last) override {
    return 0.001 * (events_.at(last) - events_.at(first));
  }

  void synchronize() override {
    require(recording_ == nullptr, "waiting is captured");
    for (auto& [source, bytes] : coming_) arrived_[source] = std::move(bytes);
    coming_.clear();
  }

  void release(Address start) override { require(memory_.erase(start) == 1, "not allocated"); }
  void release(CapturedGraph captured) override { require(loops_.erase(captured) == 1, "no loop"); }
  void release(Event event) override { require(events_.erase(event) == 1, "no event"); }

 private:
  using Loop = std::vector<std::function<void()>>;
  struct Free {
    void operator()(std::byte* memory) const {
      ::operator delete (memory, std::align_val_t{kAlignment});
    }
  };
  using Memory = std::unique_ptr<std::byte, Free>;

  class HostEngine : public Engine {
   public:
    explicit HostEngine(const Graph& of) : graph(of) {}
    const std::vector<TensorSpec>& inputs() const override { return graph.inputs; }
    const std::vector<TensorSpec>& outputs() const override { return graph.outputs; }
    const Graph& graph;
    int runs = 0;
  };

  static void require(bool right, const char* fault) {
    if (!right) throw std::logic_error(fault);
  }
  static std::byte* at(Address address) { return reinterpret_cast<std::byte*>(address); }
  static float* floats(Address address) { return reinterpret_cast<float*>(address); }

  void queue(const std::string& name, std::function<void()> work) {
    if (recording_ != nullptr) {
      recording_->push_back(std::move(work));
    } else {
      calls.push_back(name);
      work();
    }
  }

  const Variant& variant_;
  std::map<std::string, Compute> graphs_;
  std::vector<std::unique_ptr<HostEngine>> engines_;
  std::map<Address, Memory> memory_;
  std::map<Address, std::vector<std::byte>> coming_, arrived_;
  std::map<CapturedGraph, std::unique_ptr<Loop>> loops_;
  std::map<Event, int> events_;
  Loop* recording_ = nullptr;
  std::uintptr_t next_ = 0;
  int clock_ = 0;
};

}  // namespace lavin::core
