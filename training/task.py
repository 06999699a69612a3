"""What is trained, and on what: network, loss and optimiser of a run, and its batches.

Contents
--------
DrumTask, Mixes, checkpoint, load_task, beyond_shapes, take_weights, SURVEYED
"""

import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from models import build
from training.checkpoints import read_checkpoint
from training.config import TrainConfig
from training.dataset import Batches, load_features
from training.loss import DrumLoss
from training.schedule import one_cycle
from training.sets import look_over

SURVEYED = ("frontend.lift.", "heads.timbre.")
"""Parts of a network that `training.survey` adds, and no step of training changes."""


class DrumTask(pl.LightningModule):
    """Network, loss and optimiser of one run; its checkpoints rebuild it without other files."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.config = TrainConfig.from_dict(config)
        torch.manual_seed(self.config.seed)
        self.network = build(
            self.config.architecture,
            **{"bands": self.config.features.bands, "labels": len(self.config.labels), **self.config.sizes},
        )
        c = self.config
        self.loss = DrumLoss(c.delay, c.positive, c.velocity, c.order, c.importance)

    def on_train_epoch_start(self) -> None:
        """Seed dropout anew, so that a resumed run goes on as if it had not been stopped; each process its own."""
        torch.manual_seed(self.config.seed * 1_000_003 + self.current_epoch + 500_009 * self.global_rank)

    def _shared(self, batch: dict[str, Tensor], stage: str) -> Tensor:
        frames, velocity = batch["frames"], batch["velocity"]
        state = [s.to(frames.device) for s in self.network.init_state(len(frames))]
        logits, hardness, _ = self.network(frames, state)
        parts: dict[str, Tensor] = self.loss(
            logits.float(), hardness.float(), velocity, batch["heard"], batch["boldness"]
        )
        for name, value in parts.items():
            self.log(f"{stage}_{name}", value, prog_bar=name == "loss", batch_size=len(frames), sync_dist=True)
        return parts["loss"]

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        """Return the loss of one batch."""
        return self._shared(batch, "train")

    def validation_step(self, batch: dict[str, Tensor], _: int) -> None:
        """Log the loss of one validation batch."""
        self._shared(batch, "valid")

    def configure_optimizers(self) -> Any:
        """AdamW under a one-cycle schedule."""
        c = self.config
        optimiser = torch.optim.AdamW(self.parameters(), lr=c.rate, weight_decay=c.weight_decay)
        return [optimiser], [{"scheduler": one_cycle(optimiser, c.rate, c.steps, 1e3), "interval": "step"}]


def checkpoint(task: DrumTask) -> dict[str, Any]:
    """Return weights and configuration alone, for `torch.save`; any training can begin with them."""
    return {
        "state_dict": task.state_dict(),
        "hyper_parameters": dict(task.hparams),
        "pytorch-lightning_version": pl.__version__,
    }


def load_task(path: Path) -> DrumTask:
    """Return the task of a checkpoint, as it was trained.

    Raises
    ------
    ValueError
        If it is no checkpoint, or its weights are not those of the network that it describes.
    OSError
        If it cannot be read.
    """
    loaded = read_checkpoint(path)
    task = DrumTask(loaded["hyper_parameters"]["config"])
    try:
        task.load_state_dict(loaded["state_dict"])
    except RuntimeError:
        raise ValueError(f"{path}: the weights are not those of the network that it describes") from None
    return task


def _deaf(_: int) -> None:
    """Ignore Ctrl-C, which reaches all processes of a terminal: who trains ends those that load."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Mixes(pl.LightningDataModule):
    """Training batches that depend on the epoch alone, and a fixed validation epoch.

    Attributes
    ----------
    unused : list of str
        Sets that are too short for a crop.
    """

    def __init__(self, config: TrainConfig, workers: int = 0) -> None:
        super().__init__()
        self.unused = look_over(config)
        self.config = config
        self.workers = workers

    def setup(self, stage: str) -> None:
        """Load, or compute once, the features of all sets."""
        c = self.config

        def sets(folders: Sequence[str]) -> list[Any]:
            return [load_features(Path(folder), c.features, c.labels) for folder in folders]

        self.train = Batches(
            sets(c.train),
            c.augment,
            c.frames,
            c.batch,
            c.epoch_steps,
            c.seed,
            c.weights or None,
            c.boldness or None,
            c.louder_db or None,
        )
        self.valid = None
        if c.valid:
            clear = replace(c.augment, balance_db=0.0, balance_spread_db=4.0)
            self.valid = Batches(sets(c.valid), clear, c.frames, c.batch, 12, 1_000_003)

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Return the batches of the current epoch (reloaded for each)."""
        assert self.trainer is not None
        self.train.epoch = self.trainer.current_epoch
        self.train.rank, self.train.world = self.trainer.global_rank, self.trainer.world_size
        return DataLoader(self.train, batch_size=None, num_workers=self.workers, worker_init_fn=_deaf)

    def val_dataloader(self) -> Any:
        """Return the validation batches, the same each time."""
        return DataLoader(self.valid, batch_size=None) if self.valid else []


def beyond_shapes(task: DrumTask) -> tuple[tuple[str, ...], list[tuple[int, ...]]]:
    """Return what the shapes of a network's weights do not tell: the order of its labels, and its dilations."""
    return task.config.labels, [part.dilation for part in task.network.modules() if isinstance(part, nn.Conv1d)]


def take_weights(task: DrumTask, given: DrumTask) -> None:
    """Begin with the weights of another checkpoint.

    What only a survey has put there (`training.survey`) and this network does without stays behind: training would
    leave it out of date.

    Raises
    ------
    ValueError
        If its network is another one.
    """
    own = task.network.state_dict()
    weights = {k: v for k, v in given.network.state_dict().items() if k in own or not k.startswith(SURVEYED)}
    mine, theirs = ({k: v.shape for k, v in each.items()} for each in (own, weights))
    if mine != theirs or beyond_shapes(task) != beyond_shapes(given):
        held, asked = (f"{c.architecture}, {c.sizes}, {', '.join(c.labels)}" for c in (given.config, task.config))
        raise ValueError(f"--init holds another network ({held}) than the settings ask for ({asked})")
    task.network.load_state_dict(weights)
