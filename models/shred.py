"""The network that names shreds of a drum track: convolutions over each shred, then a look at its neighbours.

It is not a streaming network: it sees whole shreds, and those after as well as before. The neighbours
matter because drummers repeat themselves: a hat under a loud snare is heard better by who knows the bar.

Contents
--------
ShredConfig, ShredNet
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ShredConfig:
    """Sizes of a `ShredNet`.

    Attributes
    ----------
    frames, bands, labels : int
    channels : tuple of int
        Of the convolutions; each but the second halves time, all halve the bands.
    hidden : int
        Length of a shred's description.
    context : int
        Width of the recurrent layer over neighbouring shreds, each way.
    dropout : float
    """

    frames: int = 40
    bands: int = 64
    labels: int = 5
    channels: tuple[int, int, int, int] = (32, 48, 64, 128)
    hidden: int = 160
    context: int = 48
    dropout: float = 0.2


class ShredNet(nn.Module):
    """Images of consecutive shreds in, logits out."""

    def __init__(self, config: ShredConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        inputs, frames, bands = 3, config.frames, config.bands
        for number, outputs in enumerate(config.channels):
            stride = (1 if number == 1 else 2, 2)
            kernel = (3, 5) if number == 0 else (3, 3)
            padding = (1, kernel[1] // 2)
            layers += [
                nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
            inputs = outputs
            frames, bands = -(-frames // stride[0]), -(-bands // 2)
        self.shape = nn.Sequential(*layers)
        self.describe = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(config.dropout),
            nn.Linear(inputs * frames * bands, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
        )
        self.alone = nn.Linear(config.hidden, config.labels)
        self.around = nn.GRU(config.hidden + 2, config.context, batch_first=True, bidirectional=True)
        self.together = nn.Linear(2 * config.context, config.labels)

    def forward(self, images: Tensor, gaps: Tensor) -> Tensor:
        """Return logits [batch, shreds, labels].

        Parameters
        ----------
        images : Tensor [batch, shreds, 3, frames, bands]
        gaps : Tensor [batch, shreds, 2]
            Seconds since the onset before and until the one after, at most 1.
        """
        batch, shreds = images.shape[:2]
        described = self.describe(self.shape(images.flatten(0, 1))).view(batch, shreds, -1)
        context, _ = self.around(torch.cat([described, gaps], dim=2))
        return self.alone(described) + self.together(context)
