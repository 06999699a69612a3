"""Learning-rate schedule: warm-up for a tenth of the steps, then cosine decay.

Contents
--------
one_cycle
"""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR


def one_cycle(optimiser: Optimizer, rate: float, steps: int, fall: float = 1e4) -> OneCycleLR:
    """Return a schedule over `steps` steps: warm-up for a tenth of them, then a cosine.

    Parameters
    ----------
    optimiser : Optimizer
    rate : float
        The highest learning rate.
    steps : int
    fall : float
        How many times less than at the start it is in the end.
    """
    # a warm-up that ends with the step that it begins with, as of 9 steps, makes torch divide by its length, 0
    warm = 0.1 if steps > 9 else 0.0
    return OneCycleLR(optimiser, rate, total_steps=steps + 1, pct_start=warm, final_div_factor=fall)
