"""Give a trained TCN what it takes no training to know: the usual spectrum of music, and timbres to compare hits by.

Listens to labelled chunks with the network of a checkpoint. The mean spectrum of what is loud in them is what
the frontend lifts lows to where a channel has taken them away (`models.frontend.Lift`). The principal components
of the network's last features at its peaks, faint ones too, become its timbre (`models.base.Heads`), by
which hits that sound alike find each other (`dance.votes`). Writes another checkpoint, to be exported, calibrated with
``--votes``, fine-tuned or trained further.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from dance.commands.arguments import positive
from dance.features import log_mel
from dance.votes import FAINTEST
from models.frontend import SCALE_DB, SILENCE_DB, Lift, fading_peaks
from models.restored import PIECE
from models.tcn import TCN
from training.calibrate import add_choice, chosen_chunks
from training.checkpoints import write_checkpoint
from training.sounds import read_sound
from training.task import SURVEYED, DrumTask, checkpoint, load_task

F32 = npt.NDArray[np.float32]
EVEN = 0.1  # of the spread of the last component: keeps rare components from counting as much as all others


def usual_spectrum(recordings: Sequence[F32]) -> list[float]:
    """Return the mean spectrum, less its mean, in dB, of what is loud in recordings [frames, bands]."""
    means = []
    for frames in recordings:
        level = (torch.from_numpy(frames) - SILENCE_DB) / SCALE_DB
        loud = Lift.loud(level, fading_peaks(level[None], torch.zeros(1, 1))[0, :, None])
        if loud.any():
            mean = (level * loud).sum(0) / loud.sum()
            means.append(mean - mean.mean())
    if not means:
        raise ValueError("nothing is loud in these sets, or all drums lie too deep; see --balance")
    return [round(value, 2) for value in (SCALE_DB * torch.stack(means).mean(0)).tolist()]


@torch.no_grad()
def features_of_hits(network: TCN, recordings: Sequence[F32]) -> F32:
    """Return the last features [hits, channels] at the peaks of activation in recordings [frames, bands]."""
    found = []
    for frames in tqdm(recordings, desc="timbres", unit="chunk"):
        state, activations, features = network.init_state(1), [], []
        for piece in torch.from_numpy(frames).split(PIECE):
            heard, state = network.features(piece[None], state)
            activations.append(torch.sigmoid(network.heads(heard)[0][0]).amax(1))
            features.append(heard[0])
        highest = torch.cat(activations).numpy()
        before, after = np.append(0, highest[:-1]), np.append(highest[1:], 0)
        found.append(torch.cat(features).numpy()[(highest >= FAINTEST) & (highest > before) & (highest >= after)])
    return np.concatenate(found)


def principal_components(features: F32, size: int) -> tuple[F32, F32]:
    """Return weight [size, channels] and bias [size] that map features to components of zero mean and equal spread."""
    if len(features) <= size:
        raise ValueError(f"{len(features)} hits are too few for {size} dimensions; name more chunks, or see --timbre")
    mean = features.mean(0, dtype=np.float64)
    spread, directions = np.linalg.eigh(np.cov(features.T.astype(np.float64)))
    spread, directions = spread[::-1][:size], directions[:, ::-1][:, :size]
    weight = (directions / np.sqrt(spread + EVEN * spread[-1])).T
    return weight.astype(np.float32), (-weight @ mean).astype(np.float32)


def survey(task: DrumTask, recordings: Sequence[F32], size: int) -> DrumTask:
    """Return the same network with what `recordings` [frames, bands] say.

    Raises
    ------
    ValueError
        If it is no TCN, or too little is heard in the recordings.
    """
    if not isinstance(task.network, TCN):
        raise ValueError("the checkpoint holds no TCN; only TCNs can be surveyed")
    size = min(size, task.network.config.channels)
    sizes = {**task.config.sizes, "usual_db": usual_spectrum(recordings), "timbre": size}
    surveyed = DrumTask(asdict(replace(task.config, sizes=sizes)))
    network = surveyed.network.eval()
    assert isinstance(network, TCN) and network.heads.timbre is not None
    kept = {name: value for name, value in task.network.state_dict().items() if not name.startswith(SURVEYED)}
    network.load_state_dict({**network.state_dict(), **kept})
    weight, bias = principal_components(features_of_hits(network, recordings), size)
    network.heads.timbre.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    return surveyed


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n"
        "  python training/survey.py trained.ckpt data/chunks/songs --out surveyed.ckpt\n"
        "  python training/export.py surveyed.ckpt --out mine.onnx\n"
        "  python training/calibrate.py mine.onnx data/chunks/songs --votes 0.8 --expectation 2 --evidence 0.5\n",
    )
    add = result.add_argument
    add("checkpoint", type=Path, metavar="CKPT", help="weights of a TCN, written by training/train.py or export.py")
    add("sets", nargs="+", type=Path, metavar="DIR", help="folders of chunks: music as it is recorded or rendered")
    add("--out", type=Path, required=True, metavar="CKPT", help="the checkpoint to write")
    add("--timbre", type=positive(int), default=48, metavar="N",
        help="dimensions of a timbre, at most the network's channels (default: %(default)s)")  # fmt: skip
    add_choice(result)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    try:
        task = load_task(args.checkpoint)
        recordings = []
        for folder in args.sets:
            for chunk in tqdm(chosen_chunks(folder, args.balance, args.limit), desc=folder.name, unit="chunk"):
                samples, rate = read_sound(folder / f"{chunk.name}.flac")
                recordings.append(log_mel(samples, task.config.features, rate))
        surveyed = survey(task, recordings, args.timbre)
        write_checkpoint(checkpoint(surveyed), args.out)
    except (OSError, ValueError) as error:
        print(f"survey: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    sizes = surveyed.config.sizes
    lows = " ".join(f"{value:.0f}" for value in sizes["usual_db"][:8])
    print(f"{args.out}: {len(recordings)} recordings; lows {lows} dB; {sizes['timbre']} dimensions of timbre")
    return 0


if __name__ == "__main__":
    sys.exit(main())
