// Flow matching at inference: time grids, the Euler solver, guidance, the seeded noise.
// Time runs from t = 0 (noise) to t = 1 (data).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "array.h"

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

// dz/dt at (z, t).
using Velocity = std::function<Array(const Array& z, float t)>;

// InputError: a guidance weight is not finite.
void check_weight(double weight);

// v_null + weight (v - v_null); the conditional field itself at weight 1.
// InputError: the weight is not finite.
Velocity guided(Velocity conditional, Velocity null, double weight);

// Integrate with one evaluation for each interval: z += (t1 - t0) v(z, t0).
Array euler(const Velocity& velocity, const Array& z, const Grid& grid);

// Standard normal noise: Philox4x64-10 under key (seed, 0), 53-bit uniforms, Box-Muller in float64,
// rounded to float32, in C order. See the Python package's flow/noise.py for the definition.
Array normal(std::uint64_t seed, const Shape& shape);

}  // namespace lavin::core
