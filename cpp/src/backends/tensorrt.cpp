#include "backends/tensorrt.h"

#include "backends/device.h"
#include "base/errors.h"
#include "device/tensorrt_device.h"

namespace lavin::core {

namespace {

// Whether a library may have built an engine; one of another major version never fits.
bool may_be_of(const EngineStore::Record& record, const Library& library) {
  const std::string major = library.version.substr(0, library.version.find('.') + 1);
  return record.identity.library == library.target &&
         record.identity.version.compare(0, major.size(), major) == 0;
}

}  // namespace

Library choose_library(const EngineStore& store, const Machine& machine) {
  std::vector<Library> installed;
  std::vector<std::string> faults;
  for (const std::string& module : module_files()) {
    try {
      if (auto library = machine.library(module)) installed.push_back(std::move(*library));
    } catch (const InputError& error) {
      faults.emplace_back(error.what());
    }
  }
  if (installed.empty() && faults.empty()) {
    faults.push_back(cat("the back end 'tensorrt' needs one of the modules ",
                         join(module_files(), ", "),
                         " beside liblavin, and there is none; build them with: cmake "
                         "-DLAVIN_TENSORRT_INCLUDE=FOLDER_OF_NvInferRuntime.h, or use the back end "
                         "'onnxruntime'."));
  }
  if (installed.empty()) throw InputError(join(faults, " Or: "));
  const std::vector<EngineStore::Record> records = store.records();
  for (const Library& library : installed) {
    for (const EngineStore::Record& record : records) {
      if (may_be_of(record, library)) return library;
    }
  }
  return installed[0];
}

std::unique_ptr<Backend> make_tensorrt(const Bundle& bundle, const std::string& precision,
                                       const std::string& dialect, const Machine& machine) {
  const Gpu gpu = machine.gpu();
  const EngineStore store(bundle.path(), bundle.manifest());
  const Library library = choose_library(store, machine);
  const Variant& variant = bundle.variant(precision, dialect.empty() ? library.dialect() : dialect);
  const auto plan_of = [store, library, gpu, &bundle, &variant](const Graph& graph) {
    const EngineNeeds needs{onnx_digest(bundle.manifest(), variant, graph), library.target,
                            library.version, gpu};
    return store.find(variant, graph, needs);
  };
  plan_of(variant.graph("modulation"));  // say now that nothing was built, not at the first frame
  return std::make_unique<DeviceBackend>(bundle, variant, machine.device(gpu, library), plan_of);
}

std::unique_ptr<Backend> make_tensorrt(const Bundle& bundle, const std::string& precision,
                                       const std::string& dialect) {
  const Machine here{[] { return find_gpu(); }, load_library,
                     [](const Gpu& gpu, const Library& library) -> std::unique_ptr<Device> {
                       return std::make_unique<TensorrtDevice>(gpu, library);
                     }};
  return make_tensorrt(bundle, precision, dialect, here);
}

}  // namespace lavin::core
