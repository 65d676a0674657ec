#!/usr/bin/env python3
"""Time the stages of generating one cell: with Keras, as predict.py does, and with ONNX Runtime."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
import numpy as np

from biogans.core import trained
from biogans.exchange import onnx_graph
from biogans.system import arguments, launch

KERAS = """
import sys, time
start = time.perf_counter()
import numpy as np
from biogans.core import trained
from biogans.system.lazy import keras
keras.ops
imported = time.perf_counter()
generator = trained.load_generator(sys.argv[1])
generator.network
built = time.perf_counter()
np.save(sys.argv[3], generator.generate(np.load(sys.argv[2])))
print(imported - start, built - imported, time.perf_counter() - built)
"""
ONNX = """
import sys, time
start = time.perf_counter()
import numpy as np, onnxruntime
imported = time.perf_counter()
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
built = time.perf_counter()
np.save(sys.argv[3], session.run(["pixels"], {"z": np.load(sys.argv[2])})[0])
print(imported - start, built - imported, time.perf_counter() - built)
"""


def benchmark(options):
    """Print the median seconds of each stage, and the largest difference of the pixels."""
    generator = trained.load_generator(options.input_file)
    with tempfile.TemporaryDirectory() as folder:
        z, graph = Path(folder, "z.npy"), Path(folder, "generator.onnx")
        np.save(z, next(generator.latents(1, 0)))
        graph.write_bytes(onnx_graph.serialize(generator.network, half=False, channels_last=True))
        print(f"{'':<14}{'import':>10}{'build':>10}{'generate':>10}{'process':>10}   median seconds")
        cells = []
        for name, code, file in (("Keras", KERAS, options.input_file), ("ONNX Runtime", ONNX, graph)):
            cells.append(Path(folder, f"{name}.npy"))
            times = [stages(code, file, z, cells[-1]) for _ in range(options.rounds)]
            print(f"{name:<14}" + "".join(f"{statistics.median(column):>10.2f}" for column in zip(*times, strict=True)),
                  flush=True)
        difference = np.abs(np.load(cells[0]) - np.load(cells[1])).max()
    print(f"largest difference of pixels in [-1, 1]: {difference:.1e}")


def stages(code, *words):
    """Seconds of the stages that a process prints, and of the whole process."""
    start = time.perf_counter()
    path = f"import sys; sys.path.insert(0, {str(Path(trained.__file__).parents[2])!r})\n"
    done = subprocess.run([sys.executable, "-c", path + code, *map(str, words)], capture_output=True, text=True,
                          check=True)
    return [*map(float, done.stdout.split()), time.perf_counter() - start]


def parser():
    result = arguments.Parser(prog="one_cell.py", description=__doc__)
    result.add_argument("-i", "--input_file", metavar="FILE", required=True, help="file of a generator, required")
    result.add_argument("--rounds", type=arguments.positive_int, default=5, metavar="N",
                        help="processes of each kind; default=5")
    return result


def main(arguments=None):
    return launch.run(benchmark, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
