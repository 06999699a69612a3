"""Streaming network architectures behind one interface, `models.base.DrumNet`.

Contents
--------
ARCHITECTURES, build
"""

from typing import Any

from models.base import DrumNet
from models.convtcn import ConvTCN, ConvTCNConfig
from models.gru import GRU, GRUConfig
from models.tcn import TCN, TCNConfig

ARCHITECTURES: dict[str, tuple[type[Any], type[DrumNet]]] = {
    "tcn": (TCNConfig, TCN),
    "convtcn": (ConvTCNConfig, ConvTCN),
    "gru": (GRUConfig, GRU),
}


def build(architecture: str, **sizes: Any) -> DrumNet:
    """Return a fresh network; `sizes` are fields of the architecture's config.

    Raises
    ------
    ValueError
        If the architecture or a size is unknown.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {architecture!r}; there are {', '.join(ARCHITECTURES)}")
    config, network = ARCHITECTURES[architecture]
    try:
        return network(config(**sizes))
    except TypeError as error:
        raise ValueError(f"{architecture}: {error}") from None


__all__ = ["ARCHITECTURES", "DrumNet", "build"]
