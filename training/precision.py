"""Whether this machine computes in bfloat16: half the time of a training step where it does, much more where not.

Contents
--------
native_bfloat16, precision
"""

import torch

NATIVE = ("avx512_bf16", "amx_bf16", "bf16")
"""Names by which x86 and ARM processors say so."""


def native_bfloat16() -> bool:
    """Return whether the processor multiplies matrices of bfloat16 itself."""
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(known.get(name, False) for name in NATIVE)


def precision(accelerator: str) -> str:
    """Return the fastest precision of Lightning's Trainer that trains as well as float32 does.

    Parameters
    ----------
    accelerator : str
        As Lightning's Trainer takes it.
    """
    gpu = accelerator != "cpu" and torch.cuda.is_available()
    return "bf16-mixed" if (torch.cuda.is_bf16_supported() if gpu else native_bfloat16()) else "32-true"
