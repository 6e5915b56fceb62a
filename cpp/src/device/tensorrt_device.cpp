// Not run on a GPU yet.
#include "device/tensorrt_device.h"

#include "base/errors.h"
#include "base/text.h"

namespace lavin::core {

namespace {

// Where a module writes its reason.
class Reason {
 public:
  LavinTrtReason place() { return {text_, sizeof text_}; }
  // " (...)", or nothing.
  std::string text() const { return text_[0] == '\0' ? "" : cat(" (", text_, ")"); }

 private:
  char text_[512] = "";
};

}  // namespace

// An engine with its execution context.
class TensorrtDevice::Loaded : public Engine {
 public:
  Loaded(const LavinTrtTable& table, LavinTrtEngine* engine) : table_(table), engine_(engine) {}
  ~Loaded() override { table_.unload(engine_); }

  void read_specs() {
    for (std::size_t index = 0; index < table_.tensor_count(engine_); ++index) {
      const LavinTrtTensor tensor = table_.tensor(engine_, index);
      (tensor.is_input != 0 ? inputs_ : outputs_)
          .push_back({tensor.name, tensor.dtype, Shape(tensor.shape, tensor.shape + tensor.rank)});
    }
  }
  const std::vector<TensorSpec>& inputs() const override { return inputs_; }
  const std::vector<TensorSpec>& outputs() const override { return outputs_; }
  LavinTrtEngine* engine() const { return engine_; }

 private:
  const LavinTrtTable& table_;
  LavinTrtEngine* engine_;
  std::vector<TensorSpec> inputs_, outputs_;
};

TensorrtDevice::TensorrtDevice(Gpu gpu, Library library)
    : CudaDriver(gpu.index), gpu_(std::move(gpu)), library_(std::move(library)) {
  Reason reason;
  if (library_.table->open(&runtime_, reason.place()) != LAVIN_TRT_OK) {
    throw InputError(cat(describe(), " does not start", reason.text(), "; is ",
                         library_.table->library, " whole, and made for this GPU?"));
  }
}

TensorrtDevice::~TensorrtDevice() {
  try {
    enter();
    synchronize();
  } catch (const std::exception&) {  // what failed was told when it did
  }
  loaded_.clear();  // engines go before their runtime, and both before memory and stream
  if (runtime_ != nullptr) library_.table->close(runtime_);
}

std::string TensorrtDevice::describe() const {
  return cat(library_.target, " ", library_.version, " on ", gpu_.text());
}

Engine& TensorrtDevice::load(const std::string& plan) {
  const LavinTrtTable& table = *library_.table;
  Reason reason;
  LavinTrtEngine* engine = nullptr;
  const LavinTrtStatus status =
      table.load(runtime_, plan.data(), plan.size(), &engine, reason.place());
  if (status == LAVIN_TRT_NO_ROOM) {
    throw WorkError(cat(describe(), " has no room for an engine's context", reason.text(), "."));
  }
  if (status != LAVIN_TRT_OK) {
    throw BundleError(cat(describe(), " does not load the engine", reason.text(),
                          "; build it again with lavin-build."));
  }
  auto loaded = std::make_unique<Loaded>(table, engine);
  loaded->read_specs();
  if (const std::size_t size = table.scratch_size(engine)) {
    table.set_scratch(engine, scratch(size), size);
  }
  loaded_.push_back(std::move(loaded));
  return *loaded_.back();
}

void TensorrtDevice::run(Engine& engine, const std::map<std::string, Address>& tensors) {
  std::vector<const char*> names;
  std::vector<std::uint64_t> addresses;
  for (const auto& [name, address] : tensors) {
    names.push_back(name.c_str());
    addresses.push_back(address);
  }
  Reason reason;
  const LavinTrtStatus status =
      library_.table->run(static_cast<Loaded&>(engine).engine(), names.data(), addresses.data(),
                          names.size(), stream(), reason.place());
  if (status != LAVIN_TRT_OK) {
    throw WorkError(cat(describe(), " refused to run an engine", reason.text(), "."));
  }
}

// Scratch memory for an engine: all share it, for they run one after another. What was given out
// stays where it is, because captured runs refer to it.
Address TensorrtDevice::scratch(std::size_t size) {
  if (size > scratch_size_) {
    scratch_ = allocate(size);
    scratch_size_ = size;
  }
  return scratch_;
}

}  // namespace lavin::core
