// Flow matching at inference: the Euler solver, guidance, the seeded noise.
// Time runs from t = 0 (noise) to t = 1 (data).
#pragma once

#include <cstdint>
#include <functional>

#include "base/array.h"
#include "base/grids.h"

namespace lavin::core {

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
