"""Train a streaming drum network on chunks.

Everything that decides the result is in one configuration: defaults, overridden by a JSON file
(--config), overridden by options. It is stored in every checkpoint, together with the feature spec.
A run that is stopped goes on with the same command.

With --devices N --strategy ddp, N processes (or GPUs) train together: --batch is the batch of each, and together
they draw what one process with N times that batch would draw. For several machines, start the same command on each
with --nodes and with MASTER_ADDR, MASTER_PORT and NODE_RANK set, or use torchrun.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, RichProgressBar, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dance.labels import LABELS
from dance.spec import FeatureSpec
from labelgen.work import positive
from models import ARCHITECTURES, build
from training.augment import Augment
from training.checkpoints import read_checkpoint
from training.dataset import BLOCK, Batches, Boldness, load_features
from training.loss import DrumLoss
from training.precision import precision
from training.schedule import one_cycle

SURVEYED = ("frontend.lift.", "heads.timbre.")
"""Parts of a network that `training.survey` adds, and no step of training changes."""


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


@dataclass(frozen=True)
class TrainConfig:
    """All that decides a training run.

    Attributes
    ----------
    train, valid : tuple of str
        Folders of chunk sets.
    weights : tuple of float
        How often each training set is drawn, relative to its length; empty: 1 each.
    boldness : tuple of float or of tuples of float
        How many times `positive` a hit weighs in each training set, of all labels or of one after the other; empty: 1
        each. The threshold with the best F is
        half of that F (Lipton, Elkan & Narayanaswamy, "Optimal thresholding of classifiers to maximize F1 measure",
        2014), so where little can be heard, in a room, a smaller chance should do; there is one threshold, so the
        network must raise it.
    architecture : str
    sizes : dict
        Fields of the architecture's config that differ from its defaults.
    delay : int or tuple of int
        Label delay in frames, for each label if there are several.
    positive : float
        Weight of a hit against silence.
    velocity, order : float
        Weights of the velocities' squared error, and of their disorder inside a crop (`training.loss.disorder`).
    steps, epoch_steps, batch, seconds
        Length of the run, of an epoch (one checkpoint each), of a batch (of each process) and of a crop.
    rate : float
        Peak learning rate; warm-up, then a cosine to zero.
    average : float
        Decay of the running average of weights (EMA), which is what is validated and kept.
    """

    train: tuple[str, ...] = ("data/chunks/midi",)
    valid: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    boldness: tuple[Boldness, ...] = ()
    architecture: str = "tcn"
    sizes: dict[str, Any] = field(default_factory=dict)
    features: FeatureSpec = field(default_factory=FeatureSpec)
    labels: tuple[str, ...] = LABELS
    delay: int | tuple[int, ...] = 1
    positive: float = 1.5
    velocity: float = 0.3
    order: float = 0.0
    augment: Augment = field(default_factory=Augment)
    steps: int = 3000
    epoch_steps: int = 100
    batch: int = 32
    seconds: float = 6.0
    rate: float = 3e-3
    weight_decay: float = 1e-2
    average: float = 0.995
    seed: int = 0

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainConfig":
        """Build from plain values, as stored in checkpoints and JSON files.

        Raises
        ------
        ValueError
            If a name is unknown.
        """
        parts = {"features": FeatureSpec, "augment": Augment}
        given = {k: v for k, v in values.items() if k in parts and isinstance(v, dict)}
        for kind, settings in ((cls, values), *((parts[name], part) for name, part in given.items())):
            unknown = set(settings) - {f.name for f in fields(kind)}
            if unknown:
                raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
        built = {name: parts[name](**_tuples(part)) for name, part in given.items()}
        return cls(**{**_tuples(values), **built})

    def __post_init__(self) -> None:
        """Check what would otherwise end in the middle of a run.

        Raises
        ------
        ValueError
            If a number is none or out of range.
        """
        for name in ("steps", "epoch_steps", "batch", "seconds", "rate"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise ValueError(f"{name} must be a positive number, not {value!r}")
        if not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"seed must be a whole number, 0 or more, not {self.seed!r}")
        if min(self.delays, default=0) < 0 or len(self.delays) != len(self.labels):
            raise ValueError(f"delay must be one number of frames, or one for each of {', '.join(self.labels)}")

    @property
    def delays(self) -> tuple[int, ...]:
        """Label delay of each label in frames."""
        return (self.delay,) * len(self.labels) if isinstance(self.delay, int) else self.delay


OF_THE_NETWORK = ("architecture", "sizes", "features", "labels", "delay")
"""Settings that a checkpoint brings along."""


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
        self.loss = DrumLoss(self.config.delay, self.config.positive, self.config.velocity, self.config.order)

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


class Mixes(pl.LightningDataModule):
    """Training batches that depend on the epoch alone, and a fixed validation epoch."""

    def __init__(self, config: TrainConfig, workers: int = 0) -> None:
        super().__init__()
        self.config = config
        self.workers = workers

    def setup(self, stage: str) -> None:
        """Load, or compute once, the features of all sets."""
        c = self.config

        def sets(folders: Sequence[str]) -> list[Any]:
            return [load_features(Path(folder), c.features, c.labels) for folder in folders]

        frames = round(c.seconds / c.features.hop_seconds)
        self.train = Batches(
            sets(c.train), c.augment, frames, c.batch, c.epoch_steps, c.seed, c.weights or None, c.boldness or None
        )
        self.valid = None
        if c.valid:
            clear = replace(c.augment, balance_db=0.0, balance_spread_db=4.0)
            self.valid = Batches(sets(c.valid), clear, frames, c.batch, 12, 1_000_003)

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Return the batches of the current epoch (reloaded for each)."""
        assert self.trainer is not None
        self.train.epoch = self.trainer.current_epoch
        self.train.rank, self.train.world = self.trainer.global_rank, self.trainer.world_size
        return DataLoader(self.train, batch_size=None, num_workers=self.workers)

    def val_dataloader(self) -> Any:
        """Return the validation batches, the same each time."""
        return DataLoader(self.valid, batch_size=None) if self.valid else []


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  python training/train.py --train data/chunks/midi --name first\n"
        "  python training/train.py --config checkpoints/released/before/0.3-first.json --name again\n",
    )
    add = result.add_argument
    add("--name", default="run", help="the run's folder below --out (default: %(default)s)")
    add("--out", type=Path, default=Path("checkpoints"), help="where runs are kept (default: %(default)s)")
    add("--config", type=Path, metavar="JSON", help="settings by name; see TrainConfig")
    add("--init", type=Path, metavar="CKPT", help="begin with the weights of this checkpoint, and with its network, "
        "labels and delays unless told otherwise")  # fmt: skip
    add("--train", nargs="+", metavar="DIR", help="chunk sets to learn from")
    add("--valid", nargs="+", metavar="DIR", help="chunk sets to validate on, of other kits and songs")
    add("--architecture", choices=sorted(ARCHITECTURES))
    add("--steps", type=positive(int), help="batches in all")
    add("--batch", type=positive(int), help="crops in a batch of each process")
    add("--delay", type=int, nargs="+", help="label delay in frames: one, or one for each label")
    add("--rate", type=float, help="peak learning rate")
    add("--seed", type=int)
    add("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    add("--workers", type=int, default=1, help="processes that draw batches, beside each that trains; 0: the latter "
        "do it themselves (default: %(default)s)")  # fmt: skip
    add("--precision", help="of Lightning's Trainer (default: bf16-mixed on machines that compute so, else 32-true)")
    add("--accelerator", default="auto", help="of Lightning's Trainer (default: %(default)s)")
    add("--devices", type=int, default=1, help="GPUs, or processes on a CPU, on each machine (default: %(default)s)")
    add("--nodes", type=int, default=1, help="machines (default: %(default)s)")
    add("--strategy", default="auto", help="of Lightning's Trainer; ddp for several devices (default: %(default)s)")
    add("--plain", action="store_true", help="no progress bar, for logs")
    return result


def read_settings(path: Path) -> dict[str, Any]:
    """Read a file of settings by name.

    Raises
    ------
    ValueError
        If it is none.
    OSError
        If it cannot be read.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: need settings by name, {{...}}")
    return values


def settings(args: argparse.Namespace, given: TrainConfig | None = None) -> TrainConfig:
    """Return the configuration that the command line asks for.

    What belongs to the network is that of `given` where nothing else is asked for.
    """
    values = read_settings(args.config) if args.config else {}
    if given and not args.architecture:
        values = {name: getattr(given, name) for name in OF_THE_NETWORK} | values
    names = ("train", "valid", "architecture", "steps", "batch", "delay", "rate", "seed")
    values |= {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.delay and len(args.delay) == 1:
        values["delay"] = args.delay[0]
    return TrainConfig.from_dict(values)


def trainer_for(
    config: TrainConfig,
    folder: Path,
    precision: Any,
    accelerator: str,
    plain: bool,
    steps: int,
    devices: int = 1,
    nodes: int = 1,
    strategy: str = "auto",
) -> pl.Trainer:
    """Return the trainer of a run in `folder`, which ends after `steps` batches.

    Batch normalisation over all processes exists for GPUs only; on CPUs each normalises by its own share.
    """
    gpus = accelerator in ("cuda", "gpu", "auto") and torch.cuda.is_available()
    keep = ModelCheckpoint(
        folder,
        filename="{step}",
        save_last=True,
        every_n_epochs=1,
        save_top_k=1,
        enable_version_counter=False,  # a run whose folder was moved would go on beside its old last.ckpt
    )
    bar = [] if plain else [RichProgressBar() if sys.stdout.isatty() else TQDMProgressBar(10)]
    return pl.Trainer(
        max_steps=steps,
        precision=precision,
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy=strategy,
        sync_batchnorm=gpus and devices * nodes > 1,
        callbacks=[keep, EMAWeightAveraging(decay=config.average), *bar],
        logger=CSVLogger(folder, name="log"),
        reload_dataloaders_every_n_epochs=1,
        gradient_clip_val=1.0,
        log_every_n_steps=20,
        enable_progress_bar=not plain,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


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


def finished(config: TrainConfig, last: Path) -> bool:
    """Return whether the run that left `last` is at its end already.

    Raises
    ------
    ValueError
        If it was a run of other settings, or the file is none that it could go on from.
    """
    loaded = read_checkpoint(last)
    before, now = (
        json.loads(json.dumps(asdict(TrainConfig.from_dict(c))))
        for c in (loaded["hyper_parameters"]["config"], asdict(config))
    )
    if differing := sorted(name for name in now if now[name] != before[name]):
        raise ValueError(
            f"{last.parent} holds a run of other settings ({', '.join(differing)}): choose another --name (with "
            f"--init {last} it begins with what this one learned), or remove it"
        )
    return bool(loaded.get("global_step", 0) >= config.steps)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    try:
        given = load_task(args.init) if args.init else None
        config = settings(args, given.config if given else None)
        folder = args.out / args.name
        last = folder / "last.ckpt"
        if last.exists() and finished(config, last):
            print(f"{last}: trained for all of its {config.steps} steps already")
            return 0
        task = DrumTask(asdict(config))
        if given:
            take_weights(task, given)
        if args.workers < 0:
            raise ValueError(f"--workers {args.workers}: need 0 or more")
        data = Mixes(config, args.workers)
        torch.set_num_threads(args.threads)
        if args.devices * args.nodes > 1 and config.batch % BLOCK:
            raise ValueError(f"--batch {config.batch} cannot be shared among processes: use a multiple of {BLOCK}")
        devices = (args.devices, args.nodes, args.strategy)
        digits = args.precision or precision(args.accelerator)
        trainer = trainer_for(config, folder, digits, args.accelerator, args.plain, config.steps, *devices)
        data.setup("fit")
        if trainer.is_global_zero:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config.json").write_text(json.dumps(asdict(config), indent=1) + "\n", encoding="utf-8")
    except (OSError, ValueError, TypeError, RuntimeError, MisconfigurationException) as error:  # TypeError: a setting
        print(f"train: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped before the first step", file=sys.stderr)
        return 130
    try:
        trainer.fit(task, data, ckpt_path=str(last) if last.exists() else None)
    except SystemExit:  # so Lightning leaves after Ctrl-C
        if not trainer.interrupted:
            raise
        kept = "the same command goes on from the last epoch" if last.exists() else "its first epoch had not ended yet"
        print(f"stopped; {kept}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
