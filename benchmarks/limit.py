"""How far a hop is from what the processor could do at best.

Counts the arithmetic that a hop cannot do without: multiplications and additions of the network, from the shapes in
its ONNX graph, and of the features, from the sizes of FFT and mel filters. Divided by the speed of one core in a large
matrix product (which is as near to the peak as programs come) this gives the least time; printed is how many times
longer the engine takes.

A single frame uses each weight once, so the weights have to be read again for each hop, and reading may be slower
than arithmetic. The second limit is the time of one matrix-vector product over as many bytes of weights: two each in
the compiled step, four in ONNX Runtime. What the latter takes to start as many operations, whatever they do, is printed
for a graph that it runs: it is no limit, but it explains the rest.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper, shape_inference

from benchmarks.common import RATE, SONG, guard, mono
from dance.commands.arguments import count
from dance.detector import RELEASED, Detector
from dance.features import mel_filters, window
from dance.network import Network
from dance.spec import FeatureSpec

LOGARITHM = 20
"""Operations taken for a logarithm: reduction and a polynomial."""

# One thread, which only the environment can tell NumPy's library, hence a process of its own.
SPEED = """
import sys, time
import numpy as np

def best(call, runs):
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)

n, weights = 256, int(sys.argv[1])
a = np.ones((n, n), np.float32)
c = np.empty_like(a)
rows = weights // 96
w, x, y = np.ones((rows, 96), np.float32), np.ones(rows, np.float32), np.empty(96, np.float32)
print([2 * n**3 / best(lambda: np.matmul(a, a, out=c), 2000), best(lambda: np.matmul(x, w, out=y), 2000)])
"""


def network_work(path: Path) -> tuple[int, int]:
    """Return multiplications and additions of one step (two for each weight used), and the number of weights.

    Raises
    ------
    ValueError
        If the graph has an operation with weights that is not counted here.
    """
    model = shape_inference.infer_shapes(onnx.load(path), strict_mode=True)
    graph = model.graph
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
              for value in (*graph.input, *graph.value_info, *graph.output)}  # fmt: skip
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            weights[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    shapes |= {name: list(array.shape) for name, array in weights.items()}
    work = 0
    for node in graph.node:
        result = math.prod(shapes[node.output[0]])
        if node.op_type in ("MatMul", "Gemm"):
            transposed = any(a.name == "transA" and a.i for a in node.attribute)
            work += 2 * result * shapes[node.input[0]][-2 if transposed else -1]
        elif node.op_type == "Conv":
            work += 2 * result * math.prod(shapes[node.input[1]][1:])
        elif node.op_type in ("GRU", "LSTM"):
            work += sum(2 * weights[name].size for name in node.input[1:3])
        elif node.op_type in ("ConvTranspose", "Einsum", "RNN"):
            raise ValueError(f"{path} has {node.op_type}, which is not counted here yet")
        elif node.op_type in ("Add", "Sub", "Mul", "Div", "Relu", "Clip", "Min", "Max"):
            work += result
        elif node.op_type in ("Sigmoid", "Tanh", "Exp", "Log", "Softplus"):
            work += LOGARITHM * result
    return work, sum(array.size for array in weights.values() if array.dtype == np.float32)


def feature_work(spec: FeatureSpec, sample_rate: int) -> int:
    """Return multiplications and additions of one log-mel frame; for the real FFT the customary 2.5 n log2 n."""
    length = len(window(spec, sample_rate))
    size = 1 << (length - 1).bit_length()
    filters = mel_filters(spec, sample_rate, size)
    powers = 3 * size // 2
    return round(length + 2.5 * size * math.log2(size) + powers + 2 * np.count_nonzero(filters)
                 + LOGARITHM * spec.bands)  # fmt: skip


def speeds(weights: int) -> tuple[float, float]:
    """Return operations a second in a large matrix product, and seconds of a vector times so many weights."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SPEED, str(weights)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    peak, reading = json.loads(done.stdout)
    return peak, reading


def operations(path: Path) -> int:
    """Return how many operations ONNX Runtime executes for a step, after it has joined some."""
    with tempfile.TemporaryDirectory() as folder:
        options = _one_thread()
        options.optimized_model_filepath = str(Path(folder) / "joined.onnx")
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        nodes = onnx.load(options.optimized_model_filepath).graph.node
    return sum(node.op_type != "Constant" for node in nodes)


def starting(count: int, runs: int = 3000) -> float:
    """Return the median seconds of a step of `count` operations that have next to nothing to do."""
    names = [f"x{number}" for number in range(count + 1)]
    nodes = [helper.make_node("Neg", [one], [other]) for one, other in pairwise(names)]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1]) for name in (names[0], names[-1])]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), _one_thread(), providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    taken, given = (onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros((1, 1), np.float32)) for _ in range(2))
    binding.bind_ortvalue_input(names[0], taken)
    binding.bind_ortvalue_output(names[-1], given)
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        session.run_with_iobinding(binding)
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def _one_thread() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options


def hop_seconds(detector: Detector, song: Path) -> float:
    """Return the median time of a hop through all."""
    samples = mono(song, detector.sample_rate, least=1.0)
    hop = round(detector.spec.features.hop_seconds * detector.sample_rate)
    times = []
    for start in range(0, len(samples) - hop, hop):
        begin = time.perf_counter()
        detector.process(samples[start : start + hop])
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    result = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  python benchmarks/limit.py",
    )
    add = result.add_argument
    add("--model", type=Path, default=RELEASED, help="ONNX file (default: the released model)")
    add("--song", type=Path, default=SONG, help="recording to run over (default: the demo song)")
    add("--rate", type=count, default=RATE, help="sample rate (default: %(default)s)")
    return result


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    args = parser().parse_args(argv)
    stepped = Network(args.model)
    detector = Detector(stepped, sample_rate=args.rate)
    network, weights = network_work(args.model)
    features = feature_work(detector.spec.features, args.rate)
    taken = hop_seconds(detector, args.song)
    peak, reading = speeds(weights // 2 if stepped.compiled else weights)
    arithmetic = (network + features) / peak
    print(f"network, one step                {network / 1e6:8.3f} million operations, {weights:,} weights")
    print(f"features, one frame              {features / 1e6:8.3f} million operations")
    print(f"a core in a matrix product       {peak / 1e9:8.1f} billion operations a second")
    print(f"least time for the arithmetic    {1e6 * arithmetic:8.1f} us")
    print(f"reading the weights once         {1e6 * reading:8.1f} us")
    if not stepped.compiled:
        count = operations(args.model)
        print(f"starting {count:3} operations          {1e6 * starting(count):8.1f} us")
    print(f"a hop takes (median)             {1e6 * taken:8.1f} us")
    print(f"times the arithmetic             {taken / arithmetic:8.1f}")
    print(f"times the larger of both limits  {taken / max(arithmetic, reading):8.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
