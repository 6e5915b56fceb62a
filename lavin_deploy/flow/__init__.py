"""Flow matching at inference, in numpy: time grids, solvers, guidance and the seeded noise.

Time runs from t = 0 (noise) to t = 1 (data) everywhere in this package.
"""
