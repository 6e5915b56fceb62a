#include "runtime/sampler.h"

namespace lavin::core {

Sampler::Sampler(Backend& backend, Modulation& modulation, Size size, int pairs)
    : conditional_(make_branch(backend, modulation, size, pairs, false)),
      null_(make_branch(backend, modulation, size, pairs, true)),
      euler_(EulerSteps::find(backend, modulation, size, pairs)) {}

void Sampler::take_pairs(const Array& pairs, double guidance) {
  if (with_update_inside(guidance)) {
    euler_->take_pairs(pairs);
    return;
  }
  conditional_->take_pairs(pairs);
  if (guidance != 1.0) null_->take_pairs(pairs);
}

std::vector<const Graph*> Sampler::graphs(double guidance) const {
  if (with_update_inside(guidance)) return {&euler_->graph()};
  std::vector<const Graph*> graphs = conditional_->graphs();
  if (guidance != 1.0) {
    const auto more = null_->graphs();
    graphs.insert(graphs.end(), more.begin(), more.end());
  }
  return graphs;
}

Array Sampler::sample(const Array& noise, const Array& query, const Grid& grid, double guidance) {
  if (with_update_inside(guidance)) {
    euler_->begin(query);
    Array z = noise.clone();
    for (std::size_t step = 0; step + 1 < grid.size(); ++step) {
      z = euler_->advance(z, grid[step], grid[step + 1] - grid[step]);
    }
    return z;
  }
  conditional_->begin(query);
  if (guidance != 1.0) null_->begin(query);
  const Velocity under_context = [this](const Array& z, float t) {
    return conditional_->velocity(z, t);
  };
  const Velocity without_context = [this](const Array& z, float t) {
    return null_->velocity(z, t);
  };
  return euler(guided(under_context, without_context, guidance), noise, grid);
}

}  // namespace lavin::core
