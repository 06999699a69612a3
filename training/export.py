"""Export a checkpoint as a streaming ONNX model that describes itself.

The graph is one step: a frame and states in, onset probabilities, velocities and the next states out.
Its metadata holds the ModelSpec. Parity with torch over a long stream is asserted.
Thresholds start at a guess; ``training/calibrate.py`` chooses them.

A TCN that was exported before can be exported again with another depth (`models.frontend`), which needs no training.
"""

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from dance.commands.arguments import within
from dance.errors import SpecError
from dance.network import Network
from dance.spec import ModelSpec
from dance.tcn import DESCRIPTION
from labelgen.chunks import whole
from models import DrumNet
from models.restored import restored
from models.streaming import Streaming, streaming
from models.tcn import TCN
from training.checkpoints import write_checkpoint
from training.config import TrainConfig
from training.metadata import write_metadata, write_spec
from training.score import REPORTED
from training.task import checkpoint, load_task

PARITY_STEPS = 1500
PARITY = 2e-5  # largest difference of a probability; float32 round-off of a deep graph is 100 times less
PARITY_COMPILED = 5e-4  # the same for the compiled step, whose weights have 16 bits
REFRACTORY = {"kick": 0.05, "snare": 0.04, "hihat": 0.04, "tom": 0.05, "cymbal": 0.08}


def default_spec(config: TrainConfig, name: str) -> ModelSpec:
    """Return a spec with thresholds still to be calibrated."""
    count = len(config.labels)
    return ModelSpec(
        name=name,
        labels=config.labels,
        enabled=tuple(x for x in config.labels if x in REPORTED),
        features=config.features,
        sample_rates=(44100, 48000),
        thresholds=(0.4,) * count,
        refractory_seconds=tuple(REFRACTORY.get(label, 0.05) for label in config.labels),
        # a hit lies on average in the middle of its frame and is reported `delay` frames later
        attack_offset_seconds=tuple((delay + 0.5) * config.features.hop_seconds for delay in config.delays),
    )


def deepened(path: Path, depth_db: float | None) -> tuple[TCN, ModelSpec]:
    """Return the network of a model file that hears so deep (`models.frontend.Frontend`), and the file's spec.

    Raises
    ------
    SpecError
        If the file is no model, or not of a TCN.
    """
    spec, known = Network(path).spec, restored(path)
    if known is None:
        raise SpecError(f"{path} holds no TCN that can be restored; train its checkpoint again")
    network = TCN(replace(known.config, depth_db=depth_db))
    network.load_state_dict(known.state_dict())
    return network.eval(), spec


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
        with warnings.catch_warnings():  # of what the trace is told on purpose; the graph is compared below
            warnings.simplefilter("ignore")
            torch.onnx.export(
                step,
                (frame, *state),
                raw,
                input_names=["frame", *names],
                output_names=[*step.results, *(f"next_{name}" for name in names)],
                dynamo=False,
                opset_version=17,
            )
        model = onnx.load(raw)
    write_spec(model, spec)
    if description := step.description():
        write_metadata(model, DESCRIPTION, json.dumps(description))
        name_constants(model, step)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial:
        onnx.save(model, partial)
        differences = parity(network, partial)
        for differs, most in zip(differences, (PARITY, PARITY_COMPILED), strict=True):
            if differs > most:
                raise RuntimeError(f"the exported model differs from torch by {differs:.1e}, more than {most:.0e}")
    return differences[0]


def name_constants(model: onnx.ModelProto, step: Streaming) -> None:
    """Give the graph every tensor of `step` by its name, as the compiled step asks for them.

    Of tensors that are equal, as in networks that were never trained, torch keeps one and refers to it.
    """
    there = {tensor.name for tensor in model.graph.initializer}
    missing = {name: tensor for name, tensor in step.state_dict().items() if name not in there}
    for node in [node for node in model.graph.node if node.op_type == "Identity" and node.output[0] in missing]:
        model.graph.node.remove(node)
    model.graph.initializer.extend(numpy_helper.from_array(tensor.numpy(), name) for name, tensor in missing.items())


def parity(network: DrumNet, path: Path, steps: int = PARITY_STEPS) -> tuple[float, float]:
    """Return the largest differences of outputs from torch over `steps` steps: of the graph, and of its compiled step.

    Where no step is compiled the second is 0.
    """
    rng = np.random.default_rng(0)
    # something like music: slow loudness, attacks, band structure
    shape = rng.normal(-55, 12, network.bands) + 8 * np.sin(np.arange(steps) / 40)[:, None]
    attacks = 25 * (rng.random((steps, 1)) < 0.05) * rng.random((steps, network.bands))
    frames = (shape + attacks + rng.normal(0, 3, (steps, network.bands))).astype(np.float32)
    models = [Network(path, compiled=False), *([compiled] if (compiled := Network(path)).compiled else [])]
    state = network.init_state(1)
    worst = [0.0, 0.0]
    with torch.no_grad():
        for frame in frames:
            *expected, state = network.step(torch.from_numpy(frame[None]), state)
            for which, model in enumerate(models):
                for answer, right in zip(model.step(frame), expected, strict=True):
                    worst[which] = max(worst[which], float(np.abs(answer - right.numpy()).max()))
    return worst[0], worst[1]


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n  python training/export.py checkpoints/first/last.ckpt --out first.onnx\n"
        "  python training/export.py first.onnx --depth-db 50 --out deaf.onnx",
    )
    add = result.add_argument
    add("checkpoint", type=Path, help="written by training/train.py, or with --depth-db a TCN's model file")
    add("--out", type=Path, default=Path("dance.onnx"), help="the model file (default: %(default)s)")
    add("--weights", type=Path, help="also write a checkpoint of weights and configuration alone, for train.py --init")
    add("--name", help="name of the model (default: that of the run's folder, of --out, or of the model file)")
    add(
        "--depth-db",
        type=within(float, 0, unit="dB"),
        metavar="DB",
        help="noise floor: dB below the recent peak that still counts; 0: no floor",
    )
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    if not args.checkpoint.is_file():
        print(f"export: no such checkpoint: {args.checkpoint}", file=sys.stderr)
        return 2
    again = args.checkpoint.suffix == ".onnx"
    if (args.depth_db is not None) != again or (again and args.weights):
        print("export: --depth-db is for model files, --weights for checkpoints", file=sys.stderr)
        return 2
    try:
        if again:
            network, spec = deepened(args.checkpoint, args.depth_db or None)
            spec = replace(spec, name=args.name or spec.name)
        else:
            task = load_task(args.checkpoint)
            run = args.checkpoint.resolve().parent  # a checkpoint elsewhere, of training/survey.py, has no run's name
            name = run.name if (run / "config.json").is_file() else args.out.stem
            network, spec = task.network, default_spec(task.config, args.name or name)
        worst = export(network, spec, args.out)
        if args.weights:
            write_checkpoint(checkpoint(task), args.weights)
    except (OSError, ValueError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 2
    size = args.out.stat().st_size / 1e6
    parameters = sum(p.numel() for p in network.parameters())
    print(
        f"{args.out}: {parameters:,} parameters, {size:.2f} MB, differs from torch by at most {worst:.1e} "
        f"over {PARITY_STEPS} steps"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
