"""Export a checkpoint as a streaming ONNX model that describes itself.

The graph is one step: a frame and states in, onset probabilities, velocities and the next states out.
Its metadata holds the ModelSpec. Parity with torch over a long stream is asserted, not hoped for.
Thresholds start at a guess; ``training/calibrate.py`` chooses them.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import onnx
import torch

from dance.network import Network
from dance.spec import ModelSpec
from models import DrumNet
from models.streaming import streaming
from training.train import DrumTask, TrainConfig

PARITY_STEPS = 1500
PARITY = 2e-5  # largest difference of a probability; float32 round-off of a deep graph is 100 times less
METADATA = "dance"
REFRACTORY = {"kick": 0.05, "snare": 0.04, "hihat": 0.04, "tom": 0.05, "cymbal": 0.08}


def default_spec(config: TrainConfig, name: str) -> ModelSpec:
    """Return a spec with thresholds still to be calibrated."""
    count = len(config.labels)
    # a hit lies on average in the middle of its frame and is reported `delay` frames later
    delays = (config.delay,) * count if isinstance(config.delay, int) else config.delay
    return ModelSpec(
        name=name,
        labels=config.labels,
        enabled=tuple(x for x in config.labels if x in ("kick", "snare", "hihat")),
        features=config.features,
        sample_rates=(44100, 48000),
        thresholds=(0.4,) * count,
        refractory_seconds=tuple(REFRACTORY.get(label, 0.05) for label in config.labels),
        attack_offset_seconds=tuple((delay + 0.5) * config.features.hop_seconds for delay in delays),
    )


def write_spec(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Put `spec` into the model's metadata, replacing an earlier one."""
    kept = [p for p in model.metadata_props if p.key != METADATA]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=METADATA, value=spec.to_json())


def export(network: DrumNet, spec: ModelSpec, path: Path) -> float:
    """Write `network` to `path` and return the largest difference from torch.

    Raises
    ------
    RuntimeError
        If the exported graph does not compute the same.
    """
    step = streaming(network)
    state = step.init_state()
    names = [f"state_{i}" for i in range(len(state))]
    frame = torch.zeros(1, network.bands)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.onnx"
        torch.onnx.export(
            step,
            (frame, *state),
            raw,
            input_names=["frame", *names],
            output_names=["onset", "velocity", *(f"next_{name}" for name in names)],
            dynamo=False,
            opset_version=17,
        )
        model = onnx.load(raw)
    write_spec(model, spec)
    partial = path.with_suffix(".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, partial)
    worst = parity(network, partial)
    if worst > PARITY:
        partial.unlink()
        raise RuntimeError(f"the exported model differs from torch by {worst:.1e}, more than {PARITY:.0e}")
    partial.replace(path)
    return worst


def parity(network: DrumNet, path: Path, steps: int = PARITY_STEPS) -> float:
    """Return the largest difference of outputs between torch and the file over `steps` steps."""
    rng = np.random.default_rng(0)
    # something like music: slow loudness, attacks, band structure
    shape = rng.normal(-55, 12, network.bands) + 8 * np.sin(np.arange(steps) / 40)[:, None]
    attacks = 25 * (rng.random((steps, 1)) < 0.05) * rng.random((steps, network.bands))
    frames = (shape + attacks + rng.normal(0, 3, (steps, network.bands))).astype(np.float32)
    model = Network(path)
    state = network.init_state(1)
    worst = 0.0
    with torch.no_grad():
        for frame in frames:
            onset, velocity = model.step(frame)
            expected, hardness, state = network.step(torch.from_numpy(frame[None]), state)
            worst = max(worst, float(np.abs(onset.reshape(-1) - expected[0].numpy()).max()))
            worst = max(worst, float(np.abs(velocity.reshape(-1) - hardness[0].numpy()).max()))
    return worst


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python training/export.py checkpoints/first/last.ckpt --out first.onnx",
    )
    add = result.add_argument
    add("checkpoint", type=Path, help="written by training/train.py")
    add("--out", type=Path, default=Path("dance.onnx"), help="the model file (default: %(default)s)")
    add("--weights", type=Path, help="also write weights and configuration alone, a checkpoint to begin others from")
    add("--name", help="name of the model (default: the run's folder)")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    if not args.checkpoint.is_file():
        print(f"export: no such checkpoint: {args.checkpoint}", file=sys.stderr)
        return 2
    task = DrumTask.load_from_checkpoint(args.checkpoint, map_location="cpu", weights_only=True)
    spec = default_spec(task.config, args.name or args.checkpoint.resolve().parent.name)
    worst = export(task.network, spec, args.out)
    if args.weights:
        task.network.eval()
        torch.save({"state_dict": task.state_dict(), "hyper_parameters": dict(task.hparams),
                    "pytorch-lightning_version": pl.__version__}, args.weights)  # fmt: skip
    size = args.out.stat().st_size / 1e6
    parameters = sum(p.numel() for p in task.network.parameters())
    print(
        f"{args.out}: {parameters:,} parameters, {size:.2f} MB, differs from torch by at most {worst:.1e} "
        f"over {PARITY_STEPS} steps"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
