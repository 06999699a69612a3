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
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint, RichProgressBar, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from dance.commands.arguments import count, natural, positive
from labelgen.chunks import remove_stale
from models import ARCHITECTURES
from training.checkpoints import WholeFiles, newest
from training.config import OF_THE_NETWORK, TrainConfig, read_settings
from training.dataset import BLOCK
from training.interrupts import Interrupts
from training.precision import precision
from training.task import DrumTask, Mixes, load_task, take_weights


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
    add("--config", type=Path, metavar="JSON", help="file of settings, named as in training/config.py")
    add("--init", type=Path, metavar="CKPT", help="begin with the weights of this checkpoint; its network, labels "
        "and delays are kept unless set otherwise")  # fmt: skip
    add("--train", nargs="+", metavar="DIR", help="chunk sets to learn from")
    add("--valid", nargs="+", metavar="DIR", help="chunk sets to validate on, of other kits and songs")
    add("--architecture", choices=sorted(ARCHITECTURES), help="kind of network (default: tcn)")
    add("--steps", type=positive(int), help="number of batches")
    add("--batch", type=positive(int), help="crops per batch and process")
    add("--delay", type=natural, nargs="+", help="label delay in frames: one for all labels, or one for each")
    add("--rate", type=positive(float), help="peak learning rate")
    add("--seed", type=natural, help="decides every random choice (default: 0)")
    add("--threads", type=count, default=1, help="CPU threads (default: %(default)s)")
    add("--workers", type=natural, default=1, help="data-loading processes per training process; 0: load in the "
        "training process (default: %(default)s)")  # fmt: skip
    add("--precision", help="of Lightning's Trainer (default: bf16-mixed on machines that compute so, else 32-true)")
    add("--accelerator", default="auto", help="of Lightning's Trainer (default: %(default)s)")
    add("--devices", type=count, default=1, help="GPUs, or processes on a CPU, on each machine (default: %(default)s)")
    add("--nodes", type=count, default=1, help="machines (default: %(default)s)")
    add("--strategy", default="auto", help="of Lightning's Trainer; ddp for several devices (default: %(default)s)")
    add("--plain", action="store_true", help="no progress bar, for logs")
    return result


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
    digits: str,
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
        precision=digits,  # type: ignore[arg-type]
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy=strategy,
        plugins=[WholeFiles()],
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


def finished(config: TrainConfig, last: Path, loaded: Mapping[str, Any]) -> bool:
    """Return whether the run that left `loaded` in `last` is at its end already.

    Raises
    ------
    ValueError
        If it was a run of other settings.
    """
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


def kept(folder: Path) -> str:
    """Return what a run that ended early has kept, in words."""
    last = (folder / "last.ckpt").exists()
    return "the same command goes on from the last epoch" if last else "its first epoch had not ended yet"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    try:
        given = load_task(args.init) if args.init else None
        config = settings(args, given.config if given else None)
        folder = args.out / args.name
        left = newest(folder)
        last = left[0] if left else folder / "last.ckpt"
        if left and finished(config, *left):
            print(f"{last}: has already been trained for all of its {config.steps} steps")
            return 0
        task = DrumTask(asdict(config))
        if given:
            take_weights(task, given)
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
            remove_stale(folder)
            (folder / "config.json").write_text(json.dumps(asdict(config), indent=1) + "\n", encoding="utf-8")
            if data.unused:
                short = ", ".join(data.unused)
                print(f"not used, shorter than a crop of {config.seconds:g} s: {short}", file=sys.stderr)
            if left and last.name != "last.ckpt":
                print(f"{folder / 'last.ckpt'} is missing or damaged: going on from {last}", file=sys.stderr)
    except (OSError, ValueError, RuntimeError, MisconfigurationException) as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped before the first step", file=sys.stderr)
        return 130
    interrupts = Interrupts()
    trainer.callbacks.insert(0, interrupts)  # type: ignore[attr-defined]
    try:
        with interrupts.heard(deaf=trainer.local_rank > 0):  # the first process of a machine ends the others
            trainer.fit(task, data, ckpt_path=str(last) if left else None)
    except SystemExit:  # so Lightning leaves after Ctrl-C
        if not trainer.interrupted:
            raise
        print(f"stopped; {kept(folder)}", file=sys.stderr)
        return 130
    except OSError as error:  # such as a full disk
        print(f"train: {folder}: {error}; {kept(folder)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
