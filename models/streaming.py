"""A trained network as a function of one frame and a few states: what is exported.

Computes what `DrumNet.step` computes, but in far fewer and larger operations, since for one frame each operation costs
more to start than to do. Normalisation is folded into the weights. Of a stack of dilated convolutions, the part that
looks at the past needs no result of this frame, so that it is one batched product for all blocks; what is left of a
block is two matrix-vector products. All histories of a stack are one state. Exporting compares the two.

Contents
--------
Streaming, streaming
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.base import DrumNet, Heads
from models.convtcn import ConvTCN
from models.ensemble import Ensemble
from models.frontend import FADE_DB, FULL_SCALE, SCALE_DB, SILENCE_DB, Frontend
from models.tcn import TCN


class Streaming(nn.Module, ABC):
    """One step of a network, its states as separate inputs and outputs, as ONNX wants it.

    Attributes
    ----------
    results : tuple of str
        Names of what `forward` returns before the states.
    """

    results: tuple[str, ...] = ("onset", "velocity")

    @abstractmethod
    def init_state(self) -> list[Tensor]:
        """Return the state at the start of a stream: zeros, silence."""

    def description(self) -> dict[str, Any] | None:
        """Return what `dance.tcn` needs to know beside the weights, if it can do this step."""
        return None

    @abstractmethod
    def forward(self, frame: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Return the results and the next states for a frame [1, bands].

        Onset probabilities and velocities are [1, labels]; where there is a ``timbre``, it is [1, n].
        """


@torch.no_grad()
def streaming(network: DrumNet) -> Streaming:
    """Return the step of a trained network; an architecture without a form of its own takes its usual one."""
    forms = {TCN: StreamingTCN, ConvTCN: StreamingConvTCN, Ensemble: StreamingEnsemble}
    return forms.get(type(network), StreamingAny)(network.eval()).eval()


class StreamingAny(Streaming):
    """`DrumNet.step` as it is."""

    def __init__(self, network: DrumNet) -> None:
        super().__init__()
        self.network = network

    def init_state(self) -> list[Tensor]:
        """See `Streaming`."""
        return self.network.init_state(1)

    def forward(self, frame: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """See `Streaming`."""
        onset, velocity, following = self.network.step(frame, list(state))
        return (onset, velocity, *following)


class FrontendStep(nn.Module):
    """`Frontend` for one frame [1, bands]."""

    def __init__(self, frontend: Frontend) -> None:
        super().__init__()
        self.bands, self.decay, self.lift = frontend.bands, frontend.decay, frontend.lift
        self._start = frontend.init_state
        self.deep = frontend.depth is not None
        if self.deep:
            self.register_buffer("depth", torch.tensor([[frontend.depth]]))

    def init_state(self) -> list[Tensor]:
        """See `Frontend.init_state`."""
        return self._start(1)

    def forward(self, frame: Tensor, last: Tensor, memory: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the three inputs [1, bands] and the next state."""
        sums, peak, loud = memory.split([self.bands + 1, 1, memory.shape[1] - self.bands - 2], dim=1)
        level = (frame - SILENCE_DB) / SCALE_DB
        if self.deep or self.lift is not None:
            peak = torch.maximum(level.amax(1, keepdim=True).clamp(max=FULL_SCALE), peak - FADE_DB / SCALE_DB)
        if self.lift is not None:
            counts = self.lift.loud(level, peak)
            loud = self.lift.decay * loud + (1 - self.lift.decay) * torch.cat([level * counts, counts], dim=1)
            level = level + self.lift(loud)
        before, last = last, level
        if self.deep:
            floor = peak - self.depth
            level, before = torch.maximum(level, floor), torch.maximum(before, floor)
        sums = self.decay * sums + (1 - self.decay) * F.pad(level, (0, 1), value=1.0)
        inputs = [level, 2 * torch.relu(level - before), level - sums[:, :-1] / sums[:, -1:]]
        return inputs, [last, torch.cat([sums, peak, loud], dim=1)]


class StackStep(nn.Module):
    """A stack of `Block` for one frame [1, channels], its histories in one state [rows, channels].

    Parameters
    ----------
    blocks : ModuleList of Block
    """

    def __init__(self, blocks: nn.ModuleList) -> None:
        super().__init__()
        before, now, mix, biases, skipped, taps, order = [], [], [], [], [], [], []
        channels = blocks[0].mix.out_channels
        # The residual stream is carried without the biases of the mixing layers; what looks at it adds them.
        bias = torch.zeros(channels, dtype=torch.float64)
        rows = sum(2 * block.past.conv.dilation[0] for block in blocks)
        start = 0
        for number, block in enumerate(blocks):
            weight, shift = folded(block.past.conv, block.norm)
            dilation = block.past.conv.dilation[0]
            before.append(torch.cat([weight[:, :, 0].T, weight[:, :, 1].T]))
            now.append(weight[:, :, 2].T)
            biases.append(shift + weight[:, :, 2] @ bias)
            skipped.append(bias.clone())
            mix.append(block.mix.weight[:, :, 0].T)
            bias += block.mix.bias.double()
            taps += [start, start + dilation]
            order += [*range(start + 1, start + 2 * dilation), rows + number]
            start += 2 * dilation
        self.count, self.channels, self.rows = len(mix), channels, rows
        for name, tensors in {"before": before, "biases": biases, "skipped": skipped}.items():
            self.register_buffer(name, torch.stack(tensors).float())
        self.now = nn.ParameterList(weight.float().contiguous() for weight in now)
        self.mix = nn.ParameterList(weight.float().contiguous() for weight in mix)
        self.register_buffer("last", bias.float())
        self.register_buffer("taps", torch.tensor(taps))
        self.register_buffer("order", torch.tensor(order))

    def init_state(self) -> Tensor:
        """Return zeros [rows, channels]."""
        return torch.zeros(self.rows, self.channels)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map [1, channels] to the same shape."""
        past = state.index_select(0, self.taps).view(self.count, 1, 2 * self.channels) @ self.before
        past = (past.view(self.count, self.channels) + self.biases).split(1)
        stream = []
        for looks_back, now, mix in zip(past, self.now, self.mix, strict=True):
            stream.append(x)
            x = torch.addmm(x, torch.relu(torch.addmm(looks_back, x, now)), mix)
        new = torch.cat(stream) + self.skipped
        return x + self.last, torch.cat([state, new]).index_select(0, self.order)


class HeadsStep(nn.Module):
    """`Heads` and the logistic function for one frame [1, channels]."""

    results: tuple[str, ...] = Streaming.results

    def __init__(self, heads: Heads) -> None:
        super().__init__()
        self.both = nn.Linear(heads.onset.in_features, 2 * heads.onset.out_features)
        self.both.weight.data = torch.cat([heads.onset.weight, heads.velocity.weight]).data
        self.both.bias.data = torch.cat([heads.onset.bias, heads.velocity.bias]).data
        self.timbre = heads.timbre
        if self.timbre is not None:
            self.results = (*self.results, "timbre")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return onset probabilities and velocities, each [1, labels], and the timbre [1, n] if there is one."""
        answers = torch.sigmoid(self.both(x)).chunk(2, dim=1)
        return answers if self.timbre is None else (*answers, self.timbre(x))


class StreamingTCN(Streaming):
    """`TCN.step`."""

    def __init__(self, network: TCN) -> None:
        super().__init__()
        self.bands = network.bands
        self.frontend = FrontendStep(network.frontend)
        weight, bias = folded(network.stem.conv, network.norm)
        self.register_buffer("weight", weight.permute(2, 1, 0).flatten(0, 1).float().contiguous())
        self.register_buffer("bias", bias[None].float())
        self.stack = StackStep(network.blocks)
        self.heads = HeadsStep(network.heads)
        self.results = self.heads.results
        lift = network.frontend.lift
        self._description = {
            "dilations": [block.past.conv.dilation[0] for block in network.blocks],
            "frontend": network.frontend.numbers(),
            "lift": None if lift is None else lift.numbers(),
        }

    def description(self) -> dict[str, Any]:
        """See `Streaming`."""
        return self._description

    def init_state(self) -> list[Tensor]:
        """See `Streaming`."""
        return [*self.frontend.init_state(), torch.zeros(1, 6 * self.bands), self.stack.init_state()]

    def forward(self, frame: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """See `Streaming`."""
        last, memory, stem, stack = state
        inputs, following = self.frontend(frame, last, memory)
        three = torch.cat([stem, *inputs], dim=1)
        x, stack = self.stack(torch.relu(torch.addmm(self.bias, three, self.weight)), stack)
        return (*self.heads(torch.relu(x)), *following, three[:, 3 * self.bands :], stack)


class StreamingConvTCN(Streaming):
    """`ConvTCN.step`."""

    def __init__(self, network: ConvTCN) -> None:
        super().__init__()
        self.bands = network.bands
        self.frontend = FrontendStep(network.frontend)
        self.patches = network.patches
        self.join = nn.Linear(network.join.in_channels, network.join.out_channels)
        self.join.weight.data = network.join.weight.data[:, :, 0]
        self.join.bias.data = network.join.bias.data
        self.stack = StackStep(network.blocks)
        self.heads = HeadsStep(network.heads)

    def init_state(self) -> list[Tensor]:
        """See `Streaming`."""
        return [*self.frontend.init_state(), *(patch.init_state(1) for patch in self.patches), self.stack.init_state()]

    def forward(self, frame: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """See `Streaming`."""
        last, memory, *state = state
        inputs, following = self.frontend(frame, last, memory)
        x = torch.cat(inputs, dim=1).view(1, 3, 1, self.bands)
        for patch, past in zip(self.patches, state[:-1], strict=True):
            x, past = patch(x, past)
            following.append(past)
        x, stack = self.stack(self.join(x.flatten(1)), state[-1])
        return (*self.heads(torch.relu(x)), *following, stack)


class StreamingEnsemble(Streaming):
    """`Ensemble.step`."""

    def __init__(self, network: Ensemble) -> None:
        super().__init__()
        self.members = nn.ModuleList(streaming(member) for member in network.members)

    def init_state(self) -> list[Tensor]:
        """See `Streaming`."""
        return [state for member in self.members for state in member.init_state()]

    def forward(self, frame: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """See `Streaming`."""
        past, onsets, velocities, following = list(state), [], [], []
        for member in self.members:
            count = len(member.init_state())
            onset, velocity, *after = member(frame, *past[:count])
            past, after = past[count:], after[len(member.results) - 2 :]  # timbres of several say nothing together
            onsets.append(onset)
            velocities.append(velocity)
            following += after
        return (sum(onsets) / len(onsets), sum(velocities) / len(velocities), *following)


def folded(conv: nn.Conv1d, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Return weight and bias, float64, of a convolution without bias followed by a trained normalisation."""
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return conv.weight.double() * scale[:, None, None], norm.bias.double() - scale * norm.running_mean.double()
