from typing import Self

import numpy as np
from numpy.typing import NDArray

FAINTEST: float

class Votes:
    def __new__(
        cls,
        labels: int,
        size: int,
        strength: float,
        sharpness: float,
        hits: int,
        first: float,
        memory: int,
    ) -> Self: ...
    @property
    def labels(self) -> int: ...
    @property
    def size(self) -> int: ...
    def reset(self) -> None: ...
    def skip(self, frames: int) -> None: ...
    def process(
        self, activations: NDArray[np.float32], timbres: NDArray[np.float32], out: NDArray[np.float32]
    ) -> None: ...

class Weighing:
    @property
    def labels(self) -> int: ...
    def process(self, activations: NDArray[np.float32], out: NDArray[np.float32]) -> None: ...

class Expectation(Weighing):
    def __new__(
        cls,
        labels: int,
        strength: float,
        shortest: int,
        longest: int,
        similar_frames: float,
        mean_frames: float,
        sharpness: float,
    ) -> Self: ...
    def reset(self) -> None: ...
    def skip(self, frames: int) -> None: ...

class Evidence(Weighing):
    def __new__(
        cls,
        labels: int,
        strength: float,
        neutral: float,
        least: float,
        most: float,
        fade_frames: float,
    ) -> Self: ...
    def reset(self) -> None: ...
    def skip(self, frames: int) -> None: ...
