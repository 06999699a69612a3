from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

class TCN:
    def __new__(
        cls,
        frontend: Mapping[str, float],
        lift: Mapping[str, Any] | None,
        dilations: Sequence[int],
        weights: NDArray[np.int16],
        scales: NDArray[np.float32],
        biases: NDArray[np.float32],
        skipped: NDArray[np.float32],
        heads: NDArray[np.int16],
        heads_scales: NDArray[np.float32],
        heads_bias: NDArray[np.float32],
        bands: int,
        labels: int,
    ) -> Self: ...
    @property
    def bands(self) -> int: ...
    @property
    def labels(self) -> int: ...
    @property
    def size(self) -> int: ...
    def reset(self) -> None: ...
    def step(
        self,
        frame: NDArray[np.float32],
        onset: NDArray[np.float32],
        velocity: NDArray[np.float32],
        timbre: NDArray[np.float32],
    ) -> None: ...
