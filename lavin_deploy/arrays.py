"""Names for the arrays that pass between modules; numpy is all that they need."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""Of any dtype: what a graph takes and gives."""
U8 = NDArray[np.uint8]
"""Pictures, (..., H, W, 3) RGB."""
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
"""(H, W) bool."""
