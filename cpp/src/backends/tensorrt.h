// Make the TensorRT back end: the GPU is checked first, then libraries, then the engines.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "backends/backend.h"
#include "device/device.h"
#include "device/engine_store.h"
#include "device/gpu.h"
#include "device/tensorrt_library.h"

namespace lavin::core {

// What is found on this machine; tests have others.
struct Machine {
  std::function<Gpu()> gpu;
  std::function<std::optional<Library>(const std::string& module)> library;
  std::function<std::unique_ptr<Device>(const Gpu&, const Library&)> device;
};

// Of the libraries that are installed, the one that the bundle has engines of; else the first.
// InputError: none is installed.
Library choose_library(const EngineStore& store, const Machine& machine);

// Engines of the bundle on the GPU.
// InputError: no GPU, no library, a packed bundle. BundleError: an engine is missing or stale.
std::unique_ptr<Backend> make_tensorrt(const Bundle& bundle, const std::string& precision,
                                       const std::string& dialect);

// Likewise on such a machine.
std::unique_ptr<Backend> make_tensorrt(const Bundle& bundle, const std::string& precision,
                                       const std::string& dialect, const Machine& machine);

}  // namespace lavin::core
