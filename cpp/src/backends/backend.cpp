#include "backends/backend.h"

#include "base/errors.h"

namespace lavin::core {

namespace {

void check_feed(const Graph& graph, const Feed& feed) {
  std::map<std::string, const TensorSpec*> expected;
  for (const TensorSpec& spec : graph.inputs) expected[spec.name] = &spec;
  bool same = expected.size() == feed.size();
  for (const auto& [name, array] : feed) same = same && expected.count(name) != 0;
  if (!same) {
    std::vector<std::string> accepted, names;
    for (const auto& [name, spec] : expected) accepted.push_back(in_quotes(name));
    for (const auto& [name, array] : feed) names.push_back(in_quotes(name));
    throw InputError(cat("the graph ", in_quotes(graph.name), " takes the inputs ",
                         join(accepted, ", "), "; given: ", join(names, ", "), "."));
  }
  for (const TensorSpec& spec : graph.inputs) {
    const Array& array = *feed.at(spec.name);
    if (array.dtype() != spec.dtype || array.shape() != spec.shape) {
      throw InputError(cat("the input ", in_quotes(spec.name), " of the graph ",
                           in_quotes(graph.name), " is ", spec.dtype, " ", spec.shape,
                           "; given: ", array.dtype(), " ", array.shape(), "."));
    }
  }
}

}  // namespace

Outputs Backend::infer(const Graph& graph, const Feed& feed) {
  check_feed(graph, feed);
  return infer_impl(graph, feed);
}

Array Backend::infer_one(const Graph& graph, const Feed& feed) {
  Outputs outputs = infer(graph, feed);
  if (outputs.size() != 1) {
    throw BundleError(cat("the graph ", in_quotes(graph.name), " has ", outputs.size(),
                          " outputs where one belongs; export the bundle again."));
  }
  return std::move(outputs.begin()->second);
}

void require_output(const Graph& graph, std::string_view name, const Shape& shape) {
  for (const TensorSpec& spec : graph.outputs) {
    if (spec.name == name && spec.dtype == "float32" && spec.shape == shape) return;
  }
  throw BundleError(cat(in_quotes(graph.file), " gives no ", in_quotes(name), " of float32 ", shape,
                        "; export the bundle again."));
}

}  // namespace lavin::core
