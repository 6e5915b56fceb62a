#include "sampler.h"

namespace lavin::core {

Sampler::Sampler(Backend& backend, Modulation& modulation, Size size, int pairs)
    : conditional_(make_branch(backend, modulation, size, pairs, false)),
      null_(make_branch(backend, modulation, size, pairs, true)),
      euler_(EulerSteps::find(backend, modulation, size, pairs)) {}

void Sampler::prepare(double guidance) {
  if (guidance == 1.0 && euler_) {
    euler_->prepare();
    return;
  }
  conditional_->prepare();
  if (guidance != 1.0) null_->prepare();
}

Array Sampler::sample(const Array& noise, const Array& context, const Grid& grid,
                      double guidance) {
  if (guidance == 1.0 && euler_) {
    Array z = noise.clone();
    for (std::size_t step = 0; step + 1 < grid.size(); ++step) {
      z = euler_->advance(z, context, grid[step], grid[step + 1] - grid[step]);
    }
    return z;
  }
  conditional_->begin(context);
  Array null_context;
  if (guidance != 1.0) {
    const Array query = frames_of(context, context.shape()[2] - 1, 1);
    null_context = join_frames(Array::zeros(query.shape()), query);
    null_->begin(null_context);
  }
  const Velocity shown = [this](const Array& z, float t) { return conditional_->velocity(z, t); };
  const Velocity hidden = [this](const Array& z, float t) { return null_->velocity(z, t); };
  return euler(guided(shown, hidden, guidance), noise, grid);
}

}  // namespace lavin::core
