#include "device/program.h"

#include <set>

namespace lavin::core {

std::size_t tensor_bytes(const TensorSpec& tensor) {
  const std::size_t one = tensor.dtype == "bfloat16" ? 2 : element_bytes(tensor.dtype);
  return element_count(tensor.shape) * one;
}

std::vector<const Graph*> Program::graphs() const {
  std::vector<const Graph*> graphs;
  std::set<std::string> seen;
  for (const Operations* part : {&once, &encode, &sample, &decode}) {
    for (const Operation& operation : *part) {
      const Run* run = std::get_if<Run>(&operation);
      if (run != nullptr && seen.insert(run->graph->file).second) graphs.push_back(run->graph);
    }
  }
  return graphs;
}

std::pair<std::map<std::string, std::size_t>, std::size_t> Program::offsets() const {
  std::map<std::string, std::size_t> starts;
  std::size_t end = 0;
  for (const auto& [name, size] : buffers) {
    starts[name] = end;
    end += aligned(size);
  }
  return {starts, end};
}

}  // namespace lavin::core
