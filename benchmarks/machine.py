"""Properties of the machine for benchmarks: names and versions, peak rates, load, memory, profiles."""

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

# Height and width of the input, input and output channels: the hidden layers of the paper's critic.
CONVOLUTIONS = ((24, 40, 64, 128), (12, 20, 128, 256), (6, 10, 256, 512))
PRODUCTS = (1024, 2048, 4096)       # sides of square matrices
REPEATS = 7
GPU_BATCH, CPU_BATCH = 2048, 64     # with 64 images, a GPU would spend most time on starting an operation
GPU_CALLS, CPU_CALLS = 10, 1        # before each wait for the result


# ---------------------------------------------------------------------------------------------- names

def versions(*packages):
    """{package: version}, including Python's."""
    return {"Python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}


# ---------------------------------------------------------------------------------------------- peak rates

def peaks(precision="float32"):
    """{"convolution": (FLOP/s, name), "matrix product": …}: the fastest single operation of each kind.

    The convolutions are those of the paper's critic, forward and both gradients; "bfloat16" uses 16-bit operands.
    """
    return {"convolution": fastest(convolutions(precision)), "matrix product": fastest(products(precision))}


def fastest(operations):
    """(FLOP/s, name) of the fastest of [(name, FLOP, compiled function)]."""
    return max((flop / shortest_time(compute), name) for name, flop, compute in operations)


def convolutions(precision):
    """Yield (name, FLOP, compiled function) of single convolutions, for each shape and pass."""
    batch = GPU_BATCH if on_gpu() else CPU_BATCH
    for height, width, inputs, outputs in CONVOLUTIONS:
        image = numbers((batch, height, width, inputs), precision)
        kernel = numbers((4, 4, inputs, outputs), precision)
        gradient = numbers((batch, height // 2, width // 2, outputs), precision)
        flop = 2 * math.prod(gradient.shape[:3]) * math.prod(kernel.shape)
        for name, compute in passes(image, kernel, gradient).items():
            yield f"{name}, {inputs} to {outputs} channels at {height}x{width}", flop, compute


def products(precision):
    """Yield (name, FLOP, compiled function) of single products of square matrices."""
    for side in PRODUCTS:
        left, right = numbers((side, side), precision), numbers((side, side), precision)
        yield f"{side}x{side}", 2 * side**3, compiled(lambda a, b: a @ b, left, right)


def numbers(shape, precision):
    return keras.ops.cast(keras.random.uniform(shape, -1, 1), "bfloat16" if precision == "bfloat16" else "float32")


def passes(image, kernel, gradient):
    """{pass: compiled function} of a convolution with stride 2, in the backend's own operations.

    gradient   with respect to the output
    """
    if keras.backend.backend() == "jax":
        import jax

        def convolve(image, kernel):
            return jax.lax.conv_general_dilated(image, kernel, (2, 2), "SAME",
                                                dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return {
            "forward": compiled(convolve, image, kernel),
            "input gradient": compiled(lambda i, k, g: jax.vjp(convolve, i, k)[1](g)[0], image, kernel, gradient),
            "weight gradient": compiled(lambda i, k, g: jax.vjp(convolve, i, k)[1](g)[1], image, kernel, gradient),
        }
    raw = {"strides": (1, 2, 2, 1), "padding": "SAME"}
    return {
        "forward": compiled(lambda i, k: tf.nn.conv2d(i, k, 2, "SAME"), image, kernel),
        "input gradient": compiled(lambda k, g: tf.raw_ops.Conv2DBackpropInput(
            input_sizes=image.shape, filter=k, out_backprop=g, **raw), kernel, gradient),
        "weight gradient": compiled(lambda i, g: tf.raw_ops.Conv2DBackpropFilter(
            input=i, filter_sizes=kernel.shape, out_backprop=g, **raw), image, gradient),
    }


def compiled(function, *arguments):
    """A function without arguments that starts the computation and returns one number of the result, unread.

    Reading this number waits for the GPU without copying the whole result.
    """
    def first_number(*arguments):
        return keras.ops.reshape(result := function(*arguments), (math.prod(result.shape),))[0]
    if keras.backend.backend() == "jax":
        import jax

        # Whole results; otherwise the compiler would compute one number only.
        whole = jax.jit(lambda *arguments: (result := function(*arguments), result.ravel()[0]))
        return lambda: whole(*arguments)[1]
    compute = tf.function(first_number, autograph=False)
    return lambda: compute(*arguments)


def shortest_time(compute):
    """Seconds of one call, from the fastest of REPEATS runs."""
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
    """Seconds for which the cores of this process have been busy since boot, with any process; NaN if unknown."""
    cores = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    try:
        lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    except OSError:
        return math.nan
    ticks = sum(int(field) for name, *fields in lines if name in cores
                for k, field in enumerate(fields[:8]) if k not in (3, 4))       # idle, waiting for I/O
    return ticks / os.sysconf("SC_CLK_TCK")


def group_seconds(group):
    """CPU seconds of all processes in process group `group`."""
    ticks = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:         # the process has ended
            continue
        if int(fields[2]) == group:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_high_water():
    """Peak memory of this process, in bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    except (OSError, StopIteration):    # macOS reports bytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def device_memory():
    """Peak GPU memory of Keras in this process, in bytes; None without a GPU."""
    if not on_gpu():
        return None
    if keras.backend.backend() == "jax":
        import jax
        return jax.devices()[0].memory_stats()["peak_bytes_in_use"]
    return tf.config.experimental.get_memory_info("GPU:0")["peak"]


# ---------------------------------------------------------------------------------------------- profile

def profile(function):
    """{operation: seconds} of one call of `function`, which computes with Keras: GPU kernels, or CPU operations.

    The times of several threads add up.
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
    """{operation: seconds} from the events [(plane, line, event, seconds)] of a profile.

    On a GPU these are the kernels, in lines called streams; otherwise TensorFlow's CPU operations, whose events are
    called «node:operation», or the operations of XLA's compiled program.
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
