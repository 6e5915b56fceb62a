#include "base/grids.h"

#include <cmath>

#include "base/errors.h"
#include "base/limits.h"
#include "base/text.h"

namespace lavin::core {

namespace {

constexpr double kLinearEnd = 0.05;  // time at which the linear half of the release's grid ends

// numpy.linspace: start + i * step, the last point exactly `stop`.
std::vector<double> linspace(double start, double stop, int count) {
  std::vector<double> points(static_cast<std::size_t>(count));
  if (count == 1) {
    points[0] = start;
    return points;
  }
  const double step = (stop - start) / (count - 1);
  for (int i = 0; i < count; ++i) points[static_cast<std::size_t>(i)] = i * step + start;
  points.back() = stop;
  return points;
}

void check_steps(int steps) {
  if (steps < 1) {
    throw InputError(cat("steps is ", steps, "; it counts model evaluations and is at least 1."));
  }
  if (steps > limits::steps) {
    throw InputError(cat("steps is ", steps, "; at most ", limits::steps, " are taken."));
  }
}

Grid to_float(const std::vector<double>& points) {
  Grid grid;
  grid.reserve(points.size());
  for (const double point : points) grid.push_back(static_cast<float>(point));
  return grid;
}

}  // namespace

Grid linear_quadratic(int points) {
  if (points < 4 || points % 2 != 0) {
    throw InputError(cat("a linear-quadratic grid cannot have ", points,
                         " points; it needs an even number from 4 on (an odd number of steps from "
                         "3 on)."));
  }
  std::vector<double> grid = linspace(0.0, kLinearEnd, points / 2);
  for (const double u : linspace(1.0 / points, 1.0, points / 2)) {
    grid.push_back(kLinearEnd + (1.0 - kLinearEnd) * (u * u));
  }
  if (points == 20 || points == 30 || points == 40) {
    for (double& point : grid) point = std::nearbyint(point * 1e4) / 1e4;
  }
  return to_float(grid);
}

Grid uniform(int steps) {
  check_steps(steps);
  return to_float(linspace(0.0, 1.0, steps + 1));
}

Grid grid_for(int steps, const std::string& kind) {
  check_steps(steps);
  if (kind == "uniform") return uniform(steps);
  if (kind != "linear-quadratic") {
    throw unknown_name("time grid", kind, {"linear-quadratic", "uniform"});
  }
  if (steps < 3 || steps % 2 == 0) {
    const std::string nearest = steps < 3 ? "3" : cat(steps - 1, " or ", steps + 1);
    throw InputError(cat("the linear-quadratic grid has no ", steps,
                         " steps: it exists for odd numbers from 3 on; the nearest is ", nearest,
                         "."));
  }
  return linear_quadratic(steps + 1);
}

Grid check_grid(const std::vector<double>& times) {
  if (times.size() < 2) {
    throw InputError(cat("a time grid is a list of at least two numbers; got an array of shape ",
                         Shape{static_cast<std::int64_t>(times.size())}, "."));
  }
  Grid grid = to_float(times);
  for (const float time : grid) {
    if (!std::isfinite(time)) {
      throw InputError("the time grid holds a value that is not finite; give numbers in [0, 1].");
    }
  }
  if (grid.front() != 0.0F || grid.back() != 1.0F) {
    throw InputError(cat("a time grid runs from 0 (noise) to 1 (data); this one runs from ",
                         short_number(static_cast<double>(grid.front())), " to ",
                         short_number(static_cast<double>(grid.back())), "."));
  }
  for (std::size_t at = 0; at + 1 < grid.size(); ++at) {
    if (grid[at + 1] <= grid[at]) {
      throw InputError(cat("a time grid must increase at every step; points ", at, " and ", at + 1,
                           " are ", short_number(static_cast<double>(grid[at])), " and ",
                           short_number(static_cast<double>(grid[at + 1])), " in float32."));
    }
  }
  return grid;
}

}  // namespace lavin::core
