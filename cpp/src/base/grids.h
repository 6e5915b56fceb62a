// Time grids: the instants between which a solver steps, from t = 0 (noise) to t = 1 (data).
#pragma once

#include <string>
#include <vector>

namespace lavin::core {

using Grid = std::vector<float>;

// n points: the first half linear up to 0.05, the rest 0.05 + 0.95 u^2; the release's own tables,
// rounded to four decimals, for 20, 30 and 40. InputError: n is odd or below 4.
Grid linear_quadratic(int points);

// `steps` equal intervals.
Grid uniform(int steps);

// The grid of that kind that costs `steps` evaluations of the Euler solver.
// InputError: an unknown kind, or a number of steps that the kind does not have.
Grid grid_for(int steps, const std::string& kind);

// A float32 copy of a grid. InputError: it does not increase strictly from exactly 0 to exactly 1.
Grid check_grid(const std::vector<double>& times);

}  // namespace lavin::core
