// What several tests use.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "base/errors.h"
#include "base/json.h"
#include "bundle/bundle.h"

namespace lavin::core {

// A file of tests/golden.
std::string golden(const std::string& name);

// The vectors that the Python package computed: tests/golden/host.json.
const Json& host_vectors();

// The picture of the vectors: the top byte of (i * 2654435761 + seed * 40503) mod 2^32.
Picture made_picture(int height, int width, std::uint64_t seed);

// sha256 in hex of bytes.
std::string digest(const void* data, std::size_t size);

// Whether ONNX Runtime can be loaded here; tests that need it are skipped where it cannot.
bool has_onnxruntime();

// The sentence of the error that `work` throws, "" where it throws none.
std::string sentence_of(const std::function<void()>& work);

// A float32 array of that shape and those values.
Array floats(Shape shape, const std::vector<float>& values);
std::vector<float> values_of(const Array& array);

// A back end whose graphs are functions, by the graph's name. It counts their calls.
class FakeBackend : public Backend {
 public:
  using Compute = std::function<Outputs(const Feed&)>;
  using Backend::Backend;
  std::string describe() const override { return "fake"; }
  void prepare(const std::vector<const Graph*>&) override {}
  void release(const Graph& graph) override { released.push_back(graph.name); }
  std::map<std::string, Compute> graphs;
  std::map<std::string, int> calls;
  std::vector<std::string> released;

 protected:
  Outputs infer_impl(const Graph& graph, const Feed& feed) override {
    ++calls[graph.name];
    return graphs.at(graph.name)(feed);
  }
};

}  // namespace lavin::core
