// What every back end does: run a bundle's graphs. No type of a vendor's library appears here.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/array.h"
#include "base/frames.h"
#include "bundle/bundle.h"
#include "bundle/manifest.h"

namespace lavin::core {

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
  virtual std::unique_ptr<Frames> resident(const RowOf&, const ResidentRequest&) { return nullptr; }

  // Run one graph: an array for each input, of exactly its type and shape; one for each output.
  // InputError: a name, type or shape is not the graph's. WorkError: the computation failed.
  Outputs infer(const Graph& graph, const Feed& feed);
  // Run a graph with one output and return that.
  Array infer_one(const Graph& graph, const Feed& feed);

 protected:
  // Compute; `feed` was validated.
  virtual Outputs infer_impl(const Graph& graph, const Feed& feed) = 0;
};

// BundleError: a graph's output of that name is not float32 of that shape.
void require_output(const Graph& graph, std::string_view name, const Shape& shape);

}  // namespace lavin::core
