// What the engines of the tests' module do, and the text that is their plan.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace stub {

struct Tensor {
  std::string name, dtype;
  std::vector<std::int64_t> shape;
  bool input = false;

  std::size_t count() const {
    std::size_t all = 1;
    for (const std::int64_t side : shape) all *= static_cast<std::size_t>(side);
    return all;
  }
};

// A line a tensor: in or out, name, dtype, sides.
inline std::string plan_of(const std::vector<Tensor>& tensors) {
  std::string text = "stub\n";
  for (const Tensor& tensor : tensors) {
    text += (tensor.input ? "in " : "out ") + tensor.name + " " + tensor.dtype;
    for (const std::int64_t side : tensor.shape) text += " " + std::to_string(side);
    text += "\n";
  }
  return text;
}

// The tensors of a plan; none where it is no plan.
inline std::vector<Tensor> tensors_of(const std::string& plan) {
  std::istringstream lines(plan);
  std::string line;
  std::vector<Tensor> found;
  if (!std::getline(lines, line) || line != "stub") return found;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string way;
    Tensor tensor;
    words >> way >> tensor.name >> tensor.dtype;
    tensor.input = way == "in";
    for (std::int64_t side = 0; words >> side;) tensor.shape.push_back(side);
    found.push_back(tensor);
  }
  return found;
}

// Every output from every input; float32 by name, in the order of their names.
inline void compute(const std::map<std::string, std::pair<const float*, std::size_t>>& inputs,
                    const std::map<std::string, std::pair<float*, std::size_t>>& outputs) {
  for (const auto& [name, to] : outputs) {
    for (std::size_t i = 0; i < to.second; ++i) {
      float sum = 0.01F * static_cast<float>(name.size());
      std::size_t k = 0;
      for (const auto& [other, from] : inputs) {
        ++k;
        sum += 0.5F * from.first[(7 * i + k) % from.second] / static_cast<float>(k);
      }
      to.first[i] = std::tanh(sum);
    }
  }
}

}  // namespace stub
