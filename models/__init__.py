"""Streaming network architectures behind one interface, `models.base.DrumNet`.

Contents
--------
ARCHITECTURES, build
"""

from typing import Any

from models.base import DrumNet
from models.convtcn import ConvTCN, ConvTCNConfig
from models.ensemble import Ensemble
from models.gru import GRU, GRUConfig
from models.tcn import TCN, TCNConfig

ARCHITECTURES: dict[str, tuple[type[Any], type[DrumNet]]] = {
    "tcn": (TCNConfig, TCN),
    "convtcn": (ConvTCNConfig, ConvTCN),
    "gru": (GRUConfig, GRU),
}


def build(architecture: str, **sizes: Any) -> DrumNet:
    """Return a fresh network.

    Parameters
    ----------
    architecture : str
        A name in `ARCHITECTURES`, or "ensemble".
    sizes
        Fields of the architecture's config; for an ensemble ``members``, a sequence of dicts with the
        ``architecture`` and sizes of each, and the sizes that all of them share.

    Raises
    ------
    ValueError
        If the architecture or a size is unknown.
    """
    if architecture == "ensemble":
        members = sizes.pop("members", ())
        if not all(isinstance(member, dict) for member in members):
            raise ValueError("members must be a list of sizes by name")
        return Ensemble([build(member.get("architecture", ""), **{**sizes, **_sizes(member)}) for member in members])
    if architecture not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {architecture!r}; there are {', '.join(ARCHITECTURES)}")
    config, network = ARCHITECTURES[architecture]
    try:
        return network(config(**sizes))
    except TypeError as error:
        raise ValueError(f"{architecture}: {error}") from None


def _sizes(member: dict[str, Any]) -> dict[str, Any]:
    return {name: size for name, size in member.items() if name != "architecture"}


__all__ = ["ARCHITECTURES", "DrumNet", "build"]
