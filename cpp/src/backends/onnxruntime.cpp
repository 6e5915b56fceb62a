#include "backends/onnxruntime.h"

#include <malloc.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "backends/onnxruntime_library.h"
#include "base/errors.h"
#include "base/limits.h"
#include "base/parallel.h"
#include "base/threads.h"

namespace lavin::core {

namespace {

// Numbers of ONNX's types, by numpy's names.
const std::map<std::string, int>& element_types() {
  static const std::map<std::string, int> types = {
      {"float32", 1}, {"uint8", 2},    {"int8", 3},     {"int32", 6},    {"int64", 7},
      {"bool", 9},    {"float16", 10}, {"float64", 11}, {"bfloat16", 16}};
  return types;
}

// Give the system what loading left behind.
void give_back() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

int element_type(const std::string& dtype) {
  const auto type = element_types().find(dtype);
  if (type == element_types().end()) {
    throw BundleError(cat("a graph has a tensor of type ", in_quotes(dtype),
                          ", which this version does not read; export the bundle again."));
  }
  return type->second;
}

// The number of worker threads; 0 takes the physical cores.
int checked(int threads) {
  if (threads < 0 || threads > limits::threads) {
    throw InputError(cat("threads is ", threads, "; give 1 to ", limits::threads,
                         ", or nothing for all cores."));
  }
  return threads == 0 ? physical_cores() : threads;
}

class OnnxRuntimeBackend : public Backend {
 public:
  OnnxRuntimeBackend(const Bundle& opened, const Variant& chosen, int threads,
                     const std::string& library)
      : Backend(opened, chosen), threads_(checked(threads)), ort_(library) {}

  ~OnnxRuntimeBackend() override {
    for (const auto& [file, session] : sessions_) ort_->release_session(session);
  }

  std::string describe() const override {
    return cat("onnxruntime ", ort_.version(), " on the CPU, ", threads_, " threads");
  }

  void prepare(const std::vector<const Graph*>& graphs) override;

  void release(const Graph& graph) override {
    const std::lock_guard guard(mutex_);
    const auto entry = sessions_.find(graph.file);
    if (entry == sessions_.end()) return;
    ort_->release_session(entry->second);
    sessions_.erase(entry);
    give_back();
  }

 protected:
  Outputs infer_impl(const Graph& graph, const Feed& feed) override;

 private:
  using Specs = std::vector<TensorSpec>;

  OrtSession* session(const Graph& graph);  // loaded if need be
  OrtSession* loaded(const Graph& graph);   // or null
  OrtSession* load(const Graph& graph, const std::string& file);
  void check_tensors(const Graph& graph, OrtSession* session, int which, const Specs& specs);
  TensorSpec tensor(OrtSession* session, int which, std::size_t index);
  OrtValue* wrap(const Array& array, const TensorSpec& spec);

  void expect(OrtStatus* status, const std::string& what) {
    const std::string fault = ort_.message(status);
    if (!fault.empty()) throw WorkError(cat(what, ": ", fault));
  }

  int threads_;
  OrtLibrary ort_;
  std::mutex mutex_;  // of the sessions
  std::map<std::string, OrtSession*> sessions_;
};

// Values of one run, released at its end.
class Values {
 public:
  Values(const OrtLibrary& ort, std::size_t count) : ort_(ort), values(count, nullptr) {}
  ~Values() {
    for (OrtValue* value : values) {
      if (value != nullptr) ort_->release_value(value);
    }
  }
  Values(const Values&) = delete;
  Values& operator=(const Values&) = delete;

 private:
  const OrtLibrary& ort_;

 public:
  std::vector<OrtValue*> values;
};

OrtValue* OnnxRuntimeBackend::wrap(const Array& array, const TensorSpec& spec) {
  OrtValue* value = nullptr;
  // ONNX Runtime takes the memory as its own to write, but does not write what is an input.
  void* data = const_cast<std::byte*>(array.data());
  expect(ort_->create_tensor(ort_.memory(), data, array.bytes(), spec.shape.data(),
                             spec.shape.size(), element_type(spec.dtype), &value),
         "a tensor cannot be made in onnxruntime");
  return value;
}

Outputs OnnxRuntimeBackend::infer_impl(const Graph& graph, const Feed& feed) {
  OrtSession* running = session(graph);
  std::vector<const char*> names[2];
  Values inputs(ort_, graph.inputs.size()), results(ort_, graph.outputs.size());
  Outputs outputs;
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
    const TensorSpec& spec = graph.inputs[i];
    names[0].push_back(spec.name.c_str());
    inputs.values[i] = wrap(*feed.at(spec.name), spec);
  }
  for (std::size_t i = 0; i < graph.outputs.size(); ++i) {
    const TensorSpec& spec = graph.outputs[i];
    names[1].push_back(spec.name.c_str());
    const Array& result = outputs.emplace(spec.name, Array(spec.dtype, spec.shape)).first->second;
    results.values[i] = wrap(result, spec);  // it writes straight into the array
  }
  expect(ort_->run(running, nullptr, names[0].data(), inputs.values.data(), inputs.values.size(),
                   names[1].data(), names[1].size(), results.values.data()),
         cat("the graph ", in_quotes(graph.name), " failed in onnxruntime"));
  return outputs;
}

OrtSession* OnnxRuntimeBackend::loaded(const Graph& graph) {
  const std::lock_guard guard(mutex_);
  const auto entry = sessions_.find(graph.file);
  return entry == sessions_.end() ? nullptr : entry->second;
}

OrtSession* OnnxRuntimeBackend::session(const Graph& graph) {
  if (OrtSession* ready = loaded(graph)) return ready;
  prepare({&graph});
  return loaded(graph);
}

// Graphs load side by side, for most of it is work of one thread.
void OnnxRuntimeBackend::prepare(const std::vector<const Graph*>& graphs) {
  std::vector<std::pair<const Graph*, std::string>> files;
  for (const Graph* graph : graphs) {
    const auto same = [graph](const auto& other) { return other.first->file == graph->file; };
    if (loaded(*graph) != nullptr || std::any_of(files.begin(), files.end(), same)) continue;
    files.emplace_back(graph, bundle.graph_file(variant, *graph).string());
  }
  if (files.empty()) return;
  side_by_side(files.size(), [&](std::size_t i) {
    OrtSession* session = load(*files[i].first, files[i].second);
    const std::lock_guard guard(mutex_);
    sessions_.emplace(files[i].first->file, session);
  });
  give_back();
}

OrtSession* OnnxRuntimeBackend::load(const Graph& graph, const std::string& file) {
  OrtSessionOptions* options = nullptr;
  expect(ort_->create_options(&options), "onnxruntime has no session options");
  constexpr int kSequential = 0, kAllOptimizations = 99, kFatal = 4;  // others come by status
  // Workers spin within a run, not after it, and briefly: those of the other sessions must not burn
  // the cores that this graph, the loading of another, and the camera need.
  const char* spinning = "session.force_spinning_stop";
  const char* spin_time = "session.intra_op.spin_duration_us";
  std::string fault;
  const auto set = [&](OrtStatus* status) {
    const std::string message = ort_.message(status);
    if (fault.empty()) fault = message;
  };
  set(ort_->set_intra_threads(options, threads_));
  set(ort_->set_inter_threads(options, 1));
  set(ort_->set_execution_mode(options, kSequential));
  set(ort_->set_optimization(options, kAllOptimizations));
  set(ort_->set_log_severity(options, kFatal));
  set(ort_->no_memory_pattern(options));  // it takes half as much memory again and saves no time
  set(ort_->add_config(options, spinning, "1"));
  set(ort_->add_config(options, spin_time, "100"));
  if (variant.precision == "int8") {  // exact products where a CPU has no VNNI
    set(ort_->add_config(options, "session.x64quantprecision", "1"));
  }
  if (variant.precision == "fp8") {  // it would fuse them into kernels that are int8 only
    set(ort_->add_config(options, "session.disable_quant_qdq", "1"));
  }
  OrtSession* session = nullptr;
  if (fault.empty()) set(ort_->create_session(ort_.env(), file.c_str(), options, &session));
  ort_->release_options(options);
  if (!fault.empty()) {
    throw BundleError(
        cat("onnxruntime ", ort_.version(), " cannot load ", in_quotes(graph.file), ": ", fault));
  }
  try {
    check_tensors(graph, session, 0, graph.inputs);
    check_tensors(graph, session, 1, graph.outputs);
  } catch (...) {
    ort_->release_session(session);
    throw;
  }
  return session;
}

TensorSpec OnnxRuntimeBackend::tensor(OrtSession* session, int which, std::size_t index) {
  const std::string what = "onnxruntime does not describe a tensor";
  TensorSpec spec;
  OrtAllocator* allocator = nullptr;
  char* name = nullptr;
  expect(ort_->default_allocator(&allocator), what);
  expect(ort_->name[which](session, index, allocator, &name), what);
  spec.name = name;
  expect(ort_->free_by(allocator, name), what);
  OrtTypeInfo* type = nullptr;
  const OrtTensorInfo* info = nullptr;
  expect(ort_->type_info[which](session, index, &type), what);
  std::size_t rank = 0;
  int element = 0;
  std::string fault = ort_.message(ort_->tensor_info(type, &info));
  if (fault.empty() && info != nullptr) {
    fault = ort_.message(ort_->dimension_count(info, &rank));
    spec.shape.resize(rank);
    if (fault.empty()) fault = ort_.message(ort_->dimensions(info, spec.shape.data(), rank));
    if (fault.empty()) fault = ort_.message(ort_->element_type(info, &element));
  }
  ort_->release_type_info(type);
  if (!fault.empty()) throw WorkError(cat(what, ": ", fault));
  for (const auto& [dtype, number] : element_types()) {
    if (number == element) spec.dtype = dtype;
  }
  return spec;
}

void OnnxRuntimeBackend::check_tensors(const Graph& graph, OrtSession* session, int which,
                                       const Specs& specs) {
  std::size_t count = 0;
  expect(ort_->count[which](session, &count), "onnxruntime does not count tensors");
  Specs tensors;
  for (std::size_t index = 0; index < count; ++index) {
    tensors.push_back(tensor(session, which, index));
  }
  if (same_tensors(tensors, specs)) return;
  throw BundleError(cat(in_quotes(graph.file), " has ", listed(tensors),
                        " where the manifest says ", listed(specs), "; export the bundle again."));
}

}  // namespace

std::unique_ptr<Backend> make_onnxruntime(const Bundle& bundle, const Variant& variant, int threads,
                                          const std::string& library) {
  return std::make_unique<OnnxRuntimeBackend>(bundle, variant, threads, library);
}

}  // namespace lavin::core
