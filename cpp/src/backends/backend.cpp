#include "backends/backend.h"

#include "base/errors.h"

namespace lavin::core {

namespace {

std::string names_of(std::vector<std::string> names) {  // a sorted Python list of them
  for (std::string& name : names) name = repr(name);
  return cat("[", join(names, ", "), "]");
}

void check_feed(const Graph& graph, const Feed& feed) {
  std::map<std::string, const TensorSpec*> wanted;
  for (const TensorSpec& spec : graph.inputs) wanted[spec.name] = &spec;
  bool same = wanted.size() == feed.size();
  for (const auto& [name, array] : feed) same = same && wanted.count(name) != 0;
  if (!same) {
    std::vector<std::string> takes, given;
    for (const auto& [name, spec] : wanted) takes.push_back(name);
    for (const auto& [name, array] : feed) given.push_back(name);
    throw InputError(cat("the graph ", repr(graph.name), " takes the inputs ", names_of(takes),
                         "; given: ", names_of(given), "."));
  }
  for (const TensorSpec& spec : graph.inputs) {
    const Array& array = *feed.at(spec.name);
    if (array.dtype() != spec.dtype || array.shape() != spec.shape) {
      throw InputError(cat("the input ", repr(spec.name), " of the graph ", repr(graph.name),
                           " is ", spec.dtype, " ", repr(spec.shape), "; given: ", array.dtype(),
                           " ", repr(array.shape()), "."));
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
    throw BundleError(cat("the graph ", repr(graph.name), " has ", outputs.size(),
                          " outputs where one belongs; export the bundle again."));
  }
  return std::move(outputs.begin()->second);
}

void require_output(const Graph& graph, std::string_view name, const Shape& shape) {
  for (const TensorSpec& spec : graph.outputs) {
    if (spec.name == name && spec.dtype == "float32" && spec.shape == shape) return;
  }
  throw BundleError(cat(repr(graph.file), " gives no ", repr(name), " of float32 ", repr(shape),
                        "; export the bundle again."));
}

}  // namespace lavin::core
