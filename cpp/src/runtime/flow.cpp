#include "runtime/flow.h"

#include <cmath>
#include <utility>

#include "base/errors.h"
#include "base/limits.h"
#include "base/text.h"

namespace lavin::core {

void check_weight(double weight) {
  if (std::abs(weight) <= limits::guidance) return;
  throw InputError(cat("guidance is ", short_number(weight), "; it is a finite number from -",
                       limits::guidance, " to ", limits::guidance, ", 1 for no guidance."));
}

Velocity guided(Velocity conditional, Velocity null, double weight) {
  check_weight(weight);
  if (weight == 1.0) return conditional;
  const float w = static_cast<float>(weight);
  return
      [conditional = std::move(conditional), null = std::move(null), w](const Array& z, float t) {
        Array velocity = null(z, t);
        const Array under_context = conditional(z, t);
        float* v = velocity.floats();
        for (std::size_t i = 0; i < velocity.count(); ++i)
          v[i] += w * (under_context.floats()[i] - v[i]);
        return velocity;
      };
}

Array euler(const Velocity& velocity, const Array& z, const Grid& grid) {
  Array state = z.clone();
  for (std::size_t step = 0; step + 1 < grid.size(); ++step) {
    const float span = grid[step + 1] - grid[step];
    const Array v = velocity(state, grid[step]);
    for (std::size_t i = 0; i < state.count(); ++i) state.floats()[i] += span * v.floats()[i];
  }
  return state;
}

}  // namespace lavin::core
