#include "device/program.h"

#include <set>

namespace lavin::core {

std::size_t tensor_bytes(const TensorSpec& tensor) {
  const std::size_t one = tensor.dtype == "bfloat16" ? 2 : element_bytes(tensor.dtype);
  return element_count(tensor.shape) * one;
}

std::vector<const Graph*> Program::graphs() const {
  std::vector<const Graph*> found;
  std::set<std::string> seen;
  for (const Operations* part : {&once, &encode, &sample, &decode}) {
    for (const Operation& operation : *part) {
      const Run* run = std::get_if<Run>(&operation);
      if (run != nullptr && seen.insert(run->graph->file).second) found.push_back(run->graph);
    }
  }
  return found;
}

std::pair<std::map<std::string, std::size_t>, std::size_t> Program::offsets() const {
  std::map<std::string, std::size_t> found;
  std::size_t end = 0;
  for (const auto& [name, size] : buffers) {
    found[name] = end;
    end += aligned(size);
  }
  return {found, end};
}

}  // namespace lavin::core
