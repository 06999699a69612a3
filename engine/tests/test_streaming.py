"""What is exported computes what the network computes, however much it has been rearranged."""

import pytest
import torch

from models import build
from models.streaming import streaming

SIZES = {
    "tcn": {"bands": 12, "channels": 8, "dilations": (1, 2, 4, 1)},
    "tcn that lifts and tells": {
        "bands": 12,
        "channels": 8,
        "dilations": (1, 2),
        "depth_db": 40.0,
        "usual_db": (20.0, 10.0, *(0.0,) * 10),
        "timbre": 4,
    },
    "convtcn": {"bands": 12, "channels": 8, "dilations": (1, 2, 1), "filters": (4, 6)},
    "gru": {"bands": 12},
    "ensemble": {
        "bands": 12,
        "members": [
            {"architecture": "tcn", "channels": 8, "dilations": (1, 2), "timbre": 3},
            {"architecture": "convtcn", "channels": 8, "dilations": (1, 2), "filters": (4, 6)},
        ],
    },
}


@pytest.mark.parametrize("architecture", SIZES)
def test_streaming_equals_step(architecture: str) -> None:
    torch.manual_seed(0)
    network = build(architecture.split()[0], **SIZES[architecture])
    for module in network.modules():  # as if trained: nothing that folding could get wrong is 0 or 1
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, 0, 0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 2.0)
            torch.nn.init.normal_(module.bias, 0, 0.3)
    step = streaming(network)
    state, states = network.init_state(1), step.init_state()
    with torch.no_grad():
        for frame in 30 * torch.randn(60, 1, 12) - 50:
            onset, velocity, state = network.step(frame, state)
            mine, hardness, *states = step(frame, *states)
            states = states[len(step.results) - 2 :]
            torch.testing.assert_close(mine, onset, rtol=0, atol=1e-5)
            torch.testing.assert_close(hardness, velocity, rtol=0, atol=1e-5)
