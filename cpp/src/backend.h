// What every back end does: run a bundle's graphs. No type of a vendor's library appears here.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "array.h"
#include "bundle.h"
#include "image.h"
#include "manifest.h"

namespace lavin::core {

class Modulation;

// Seconds of the stages of one answer.
struct Seconds {
  double setup = 0, preprocess = 0, encode = 0, sample = 0, decode = 0, postprocess = 0;
};

// Answers pictures of one size at fixed settings.
class Frames {
 public:
  virtual ~Frames() = default;
  // The latents (1, C, 1, h, w) float32 scaled and the target of a picture of the size; sets
  // encode, sample and decode of `seconds`.
  virtual Array answer(const Picture& picture, Picture& target, Seconds& seconds) = 0;
};

// All that a device needs to answer pictures without leaving it.
struct ResidentRequest {
  Size size;
  const Array& pairs;  // (1, C, 2 pairs, h, w) float32 scaled, the context without the query
  const Array& noise;  // (1, C, 1, h, w) float32
  const std::vector<float>& grid;
  double guidance;
};

// Runs the graphs of one variant of an open bundle; one thread at a time, but that graphs may be
// prepared while another runs.
class Backend {
 public:
  Backend(const Bundle& opened, const Variant& chosen) : bundle(opened), variant(chosen) {}
  virtual ~Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  const Bundle& bundle;
  const Variant& variant;
  std::string choice;  // what "auto" chose and why, in a line; empty where it was asked for

  // Library, version, device and threads in one line.
  virtual std::string describe() const = 0;
  // Load graphs now rather than when they first run. BundleError: one cannot be loaded.
  virtual void prepare(const std::vector<const Graph*>& graphs) = 0;
  // Give a graph's memory back; should it run again, it is loaded again.
  virtual void release(const Graph&) {}
  // What answers pictures without leaving the device; null where nothing does.
  virtual std::unique_ptr<Frames> resident(Modulation&, const ResidentRequest&) { return nullptr; }

  // Run one graph: an array for each input, of exactly its type and shape; one for each output.
  // InputError: a name, type or shape is not the graph's. WorkError: the computation failed.
  Outputs infer(const Graph& graph, const Feed& feed);
  // Run a graph with one output and return that.
  Array infer_one(const Graph& graph, const Feed& feed);

 protected:
  // Compute; `feed` was validated.
  virtual Outputs infer_impl(const Graph& graph, const Feed& feed) = 0;
};

// (1, C, 1, h/8, w/8), the latent of one picture.
Shape latent_shape(const Manifest& manifest, Size size);

// BundleError: a graph's output of that name is not float32 of that shape.
void require_output(const Graph& graph, std::string_view name, const Shape& shape);

// How a caller wants a bundle to run.
struct BackendChoice {
  std::string name = "auto";  // "auto", "onnxruntime" or "tensorrt"
  std::string precision, dialect, library;
  int threads = 0;
};

// InputError: `name` is none of a back end.
void check_backend_name(const std::string& name);

// The back end of that name, ready; with "auto", TensorRT where the bundle has engines and this
// machine runs them, else ONNX Runtime.
std::unique_ptr<Backend> make_backend(const Bundle& bundle, const BackendChoice& choice);

// ONNX Runtime on the CPU; `threads` 0 takes the physical cores.
std::unique_ptr<Backend> make_onnxruntime(const Bundle& bundle, const Variant& variant, int threads,
                                          const std::string& library);

// Have the system load ONNX Runtime's library already; whether it can is seen when it is used.
void preload_onnxruntime(const std::string& library);

// Engines of the bundle on the GPU.
// InputError: no GPU, no library, a packed bundle. BundleError: an engine is missing or stale.
std::unique_ptr<Backend> make_tensorrt(const Bundle& bundle, const std::string& precision,
                                       const std::string& dialect);

// Physical cores this process may use, within a container's quota; at least 1.
int physical_cores();

}  // namespace lavin::core
