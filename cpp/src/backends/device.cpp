#include "backends/device.h"

#include "base/errors.h"
#include "device/planner.h"
#include "device/resident.h"

namespace lavin::core {

using Specs = std::vector<TensorSpec>;

DeviceBackend::DeviceBackend(const Bundle& opened, const Variant& chosen,
                             std::unique_ptr<Device> device, PlanOf plan_of)
    : Backend(opened, chosen), device_(std::move(device)), plan_of_(std::move(plan_of)) {}

void DeviceBackend::prepare(const std::vector<const Graph*>& graphs) {
  device_->enter();
  for (const Graph* graph : graphs) engine(*graph);
}

Outputs DeviceBackend::infer_impl(const Graph& graph, const Feed& feed) {
  device_->enter();
  Engine& ready = engine(graph);
  const std::map<std::string, Address>& where = places(graph);
  for (const auto& [name, array] : feed) device_->upload(where.at(name), *array);
  device_->run(ready, where);
  for (const TensorSpec& spec : graph.outputs) {
    device_->download(where.at(spec.name), tensor_bytes(spec));
  }
  device_->synchronize();
  Outputs outputs;
  for (const TensorSpec& spec : graph.outputs) {
    Array array(spec.dtype, spec.shape);
    device_->collect(where.at(spec.name), array);
    outputs.emplace(spec.name, std::move(array));
  }
  return outputs;
}

std::unique_ptr<Frames> DeviceBackend::resident(const RowOf& row, const ResidentRequest& request) {
  const int pairs = static_cast<int>(request.pairs.shape().at(2) / 2);
  Planner planner(variant, bundle.manifest().latent, request.size, pairs);
  device_->enter();
  return std::make_unique<Resident>(
      *device_, planner.program(request.grid, request.guidance),
      [this](const Graph& graph) -> Engine& { return engine(graph); }, row, request.noise,
      request.pairs);
}

Engine& DeviceBackend::engine(const Graph& graph) {
  const auto entry = engines_.find(graph.file);
  if (entry != engines_.end()) return *entry->second;
  Engine& loaded = device_->load(plan_of_(graph));
  const std::pair<const Specs&, const Specs&> both[] = {{graph.inputs, loaded.inputs()},
                                                        {graph.outputs, loaded.outputs()}};
  for (const auto& [mine, its] : both) {
    if (same_tensors(mine, its)) continue;
    throw BundleError(cat("the engine of ", in_quotes(graph.file), " takes or gives ", listed(its),
                          " where the manifest says ", listed(mine),
                          "; build it again with lavin-build."));
  }
  return *engines_.emplace(graph.file, &loaded).first->second;
}

const std::map<std::string, Address>& DeviceBackend::places(const Graph& graph) {
  const auto entry = buffers_.find(graph.file);
  if (entry != buffers_.end()) return entry->second;
  std::map<std::string, Address> places;
  for (const auto* specs : {&graph.inputs, &graph.outputs}) {
    for (const TensorSpec& spec : *specs) {
      places[spec.name] = device_->allocate(aligned(tensor_bytes(spec)));
    }
  }
  return buffers_.emplace(graph.file, std::move(places)).first->second;
}

}  // namespace lavin::core
