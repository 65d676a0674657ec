"""What a benchmark must know of its machine: names and versions, its best rates, what else it is busy with, memory."""

import importlib.metadata
import math
import os
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

from biogans.system.lazy import keras, tensorflow as tf
from biogans.system.provenance import cpu_model     # noqa: F401: the other benchmarks take it from here

# Input height, width; channels in, out: the hidden layers of the paper's critic.
CONVOLUTIONS = ((24, 40, 64, 128), (12, 20, 128, 256), (6, 10, 256, 512))
PRODUCTS = (1024, 2048, 4096)       # sides of square matrices
REPEATS = 7
GPU_BATCH, CPU_BATCH = 2048, 64     # a GPU takes longer to start an operation than for one of 64 images
GPU_CALLS, CPU_CALLS = 10, 1        # between two waits for the result


# ---------------------------------------------------------------------------------------------- names

def versions(*packages):
    """{package: version}, with that of Python."""
    return {"Python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}


# ---------------------------------------------------------------------------------------------- best rates

def peaks(precision="float32"):
    """{"convolution": (FLOP/s, name), "matrix product": …}: the fastest single operation of each kind.

    Convolutions are those of the paper's critic, forward and both gradients; under "bfloat16" operands have 16 bits.
    """
    return {"convolution": fastest(convolutions(precision)), "matrix product": fastest(products(precision))}


def fastest(operations):
    """(FLOP/s, name) of the fastest of [(name, FLOP, compiled function)]."""
    return max((flop / shortest_time(compute), name) for name, flop, compute in operations)


def convolutions(precision):
    """Yields (name, FLOP, compiled function) of single convolutions, one shape and pass after another."""
    batch = GPU_BATCH if on_gpu() else CPU_BATCH
    for height, width, inputs, outputs in CONVOLUTIONS:
        image = numbers((batch, height, width, inputs), precision)
        kernel = numbers((4, 4, inputs, outputs), precision)
        change = numbers((batch, height // 2, width // 2, outputs), precision)
        flop = 2 * math.prod(change.shape[:3]) * math.prod(kernel.shape)
        for name, compute in passes(image, kernel, change).items():
            yield f"{name}, {inputs} to {outputs} channels at {height}x{width}", flop, compute


def products(precision):
    """Yields (name, FLOP, compiled function) of single products of square matrices."""
    for side in PRODUCTS:
        left, right = numbers((side, side), precision), numbers((side, side), precision)
        yield f"{side}x{side}", 2 * side**3, compiled(lambda a, b: a @ b, left, right)


def numbers(shape, precision):
    return keras.ops.cast(keras.random.uniform(shape, -1, 1), "bfloat16" if precision == "bfloat16" else "float32")


def passes(image, kernel, change):
    """{pass: compiled function} of a convolution with stride 2, in the backend's own operations."""
    if keras.backend.backend() == "jax":
        import jax

        def convolve(image, kernel):
            return jax.lax.conv_general_dilated(image, kernel, (2, 2), "SAME",
                                                dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return {
            "forward": compiled(convolve, image, kernel),
            "input gradient": compiled(lambda i, k, c: jax.vjp(convolve, i, k)[1](c)[0], image, kernel, change),
            "weight gradient": compiled(lambda i, k, c: jax.vjp(convolve, i, k)[1](c)[1], image, kernel, change),
        }
    raw = {"strides": (1, 2, 2, 1), "padding": "SAME"}
    return {
        "forward": compiled(lambda i, k: tf.nn.conv2d(i, k, 2, "SAME"), image, kernel),
        "input gradient": compiled(lambda k, c: tf.raw_ops.Conv2DBackpropInput(
            input_sizes=image.shape, filter=k, out_backprop=c, **raw), kernel, change),
        "weight gradient": compiled(lambda i, c: tf.raw_ops.Conv2DBackpropFilter(
            input=i, filter_sizes=kernel.shape, out_backprop=c, **raw), image, change),
    }


def compiled(function, *arguments):
    """A function without arguments that starts the computation and returns one number of the result, not yet read.

    Reading one number waits for a GPU without copying the whole result.
    """
    def first_number(*arguments):
        return keras.ops.reshape(result := function(*arguments), (math.prod(result.shape),))[0]
    if keras.backend.backend() == "jax":
        import jax

        # Whole results, lest the compiler computes one number only.
        whole = jax.jit(lambda *arguments: (result := function(*arguments), result.ravel()[0]))
        return lambda: whole(*arguments)[1]
    compute = tf.function(first_number, autograph=False)
    return lambda: compute(*arguments)


def shortest_time(compute):
    """Seconds of one call: the fastest of some runs."""
    calls = GPU_CALLS if on_gpu() else CPU_CALLS

    def run():
        for _ in range(calls):
            number = compute()
        float(number)
    run()
    return min(seconds(run) for _ in range(REPEATS)) / calls


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def on_gpu():
    if keras.backend.backend() == "jax":
        import jax
        return jax.default_backend() == "gpu"
    return bool(tf.config.list_physical_devices("GPU"))


# ---------------------------------------------------------------------------------------------- load and memory

def busy_seconds():
    """Seconds that the cores of this process were busy since the machine's start, for whomever; nan if unknown."""
    cores = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    try:
        lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    except OSError:
        return math.nan
    ticks = sum(int(field) for name, *fields in lines if name in cores
                for k, field in enumerate(fields[:8]) if k not in (3, 4))       # idle, waiting for a disk
    return ticks / os.sysconf("SC_CLK_TCK")


def group_seconds(group):
    """CPU seconds of all processes in process group `group`."""
    ticks = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:         # ended meanwhile
            continue
        if int(fields[2]) == group:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_high_water():
    """Bytes of memory that this process held at most."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    except (OSError, StopIteration):    # macOS counts bytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def device_memory():
    """Bytes of GPU memory that this process's Keras held at most; None without a GPU."""
    if not on_gpu():
        return None
    if keras.backend.backend() == "jax":
        import jax
        return jax.devices()[0].memory_stats()["peak_bytes_in_use"]
    return tf.config.experimental.get_memory_info("GPU:0")["peak"]


# ---------------------------------------------------------------------------------------------- profile

def profile(function):
    """{operation: seconds} of one call of `function`, which computes with Keras: GPU kernels, or operations of the CPU.

    Operations of several threads add up.
    """
    with tempfile.TemporaryDirectory() as folder:
        if keras.backend.backend() == "jax":
            import jax
            with jax.profiler.trace(folder):
                function()
            file = next(Path(folder).rglob("*.xplane.pb"))
            events = [(plane.name, line.name, event.name, event.duration_ns * 1e-9)
                      for plane in jax.profiler.ProfileData.from_file(str(file)).planes
                      for line in plane.lines for event in line.events]
        else:
            from tensorflow.tsl.profiler.protobuf import xplane_pb2
            with tf.profiler.experimental.Profile(folder):
                function()
            space = xplane_pb2.XSpace.FromString(next(Path(folder).rglob("*.xplane.pb")).read_bytes())
            events = [(plane.name, line.name, plane.event_metadata[event.metadata_id].name, event.duration_ps * 1e-12)
                      for plane in space.planes for line in plane.lines for event in line.events]
    return operations(events)


def operations(events):
    """{operation: seconds} of [(plane, line, event, seconds)] of a profile.

    Of a GPU the kernels, which are in lines called streams; else TensorFlow's operations on the CPU, whose events are
    called «node:operation», or those of XLA, called as in its compiled program.
    """
    on_device = [(name, time) for plane, line, name, time in events if "GPU" in plane and line.startswith("Stream")]
    of_tensorflow = [(name.rpartition(":")[2], time) for plane, line, name, time in events
                     if line.startswith("tf_Compute") and ":" in name and "::" not in name]
    of_xla = [(name.rpartition(".")[0] or name, time) for plane, line, name, time in events
              if "XLA" in line and "::" not in name and not name.startswith("end: ")]
    total = {}
    for name, time_ in on_device or of_tensorflow or of_xla:
        total[name] = total.get(name, 0.0) + time_
    return dict(sorted(total.items(), key=lambda item: -item[1]))


if __name__ == "__main__":
    for several in convolutions("float32"), products("float32"):
        for name, flop, compute in several:
            print(f"{flop / shortest_time(compute) / 1e9:8.0f} GFLOP/s  {name}")
