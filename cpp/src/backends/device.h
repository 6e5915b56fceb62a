// The back end for a device: whole answers stay there, single graphs go up and down.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "backends/backend.h"
#include "device/device.h"

namespace lavin::core {

// Engines of a bundle on one device.
class DeviceBackend : public Backend {
 public:
  // The bytes of a graph's engine. BundleError: there is none.
  using PlanOf = std::function<std::string(const Graph&)>;

  DeviceBackend(const Bundle& opened, const Variant& chosen, std::unique_ptr<Device> device,
                PlanOf plan_of);

  std::string describe() const override { return device_->describe(); }
  void prepare(const std::vector<const Graph*>& graphs) override;
  // Must be destroyed before this.
  std::unique_ptr<Frames> resident(const RowOf& row, const ResidentRequest& request) override;

 protected:
  Outputs infer_impl(const Graph& graph, const Feed& feed) override;

 private:
  Engine& engine(const Graph& graph);
  const std::map<std::string, Address>& places(const Graph& graph);

  std::unique_ptr<Device> device_;
  PlanOf plan_of_;
  std::map<std::string, Engine*> engines_;                         // by file
  std::map<std::string, std::map<std::string, Address>> buffers_;  // by file and tensor
};

}  // namespace lavin::core
