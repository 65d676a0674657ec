"""Train InfoGANs on digits from several seeds, choose the best without labels, and measure its accuracy.

Each seed is trained by a separate process on one core. The selected seed is the one whose answers for real images are
most decisive (`codes.decisiveness`); labels are used only for the table.

    make infogan-digits MNIST=FOLDER        MNIST's idx files; without them, scikit-learn's smaller digits
"""

import concurrent.futures
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
from biogans.system import arguments, launch
from biogans.system.errors import InputError

MODEL = "checkpoints/weights.generator.InfoGAN.GAN.0.h5"
ITERATIONS = 4000


def command(name, *arguments, cwd, core=None):
    """Run a biogans command in the folder `cwd`, on one `core` if given; return its output. Raises InputError."""
    threads = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    environment = os.environ | ({} if core is None else dict.fromkeys(threads, "1"))
    done = subprocess.run([sys.executable, ROOT / "bin/biogans", name, *map(str, arguments)], cwd=cwd, env=environment,
                          preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise InputError(f"{name} {' '.join(map(str, arguments))} failed in {cwd}: {done.stdout[-2000:]}")
    return done.stdout


def one_seed(data, folder, seed, iterations, core):
    """Train and evaluate one seed; return the rows of its categorical code and of k-means."""
    folder.mkdir()
    start = time.monotonic()
    command("train", "-d", data, "-m", "InfoGAN", "-a", "GAN", "--preset", "infogan", "--no_flips", "-z", 74,
            "-s", seed, "-e", iterations, "-M", max(1, iterations // 40), cwd=folder, core=core)
    seconds = time.monotonic() - start
    command("evaluate", "-i", MODEL, "-d", data, "--codes", "--name", "codes", cwd=folder, core=core)
    rows = json.loads((folder / "evaluation/codes.codes.json").read_text())["rows"]
    return {"seed": seed, "seconds": seconds} | rows[0], next(row for row in rows if row["name"] == "k-means, 10")


def train_all(options):
    """Train all seeds, print the table, and draw traversals of the best seed. Raises InputError."""
    output = options.output.resolve()
    if output.exists():
        raise InputError(f"{output} already exists: remove it, or choose another folder with -o")
    output.mkdir(parents=True)
    source = ("mnist", "--from", Path(options.mnist).resolve()) if options.mnist else ("digits",)
    print(command("get_data", *source, "-o", "data", cwd=output).splitlines()[-1], flush=True)
    start, cores = time.monotonic(), sorted(os.sched_getaffinity(0))
    with concurrent.futures.ThreadPoolExecutor(len(cores)) as pool:
        jobs = [pool.submit(one_seed, output / "data", output / f"seed{seed}", seed, options.iterations,
                            cores[k % len(cores)]) for k, seed in enumerate(options.seeds)]
        rows, baselines = zip(*(job.result() for job in jobs), strict=True)
    print("seed  seconds  decisiveness (bits)  accuracy  mutual information")
    for row in rows:
        print(f"{row['seed']:4}  {row['seconds']:7.0f}  {row['decisiveness']:19.3f}  {row['accuracy']:8.3f}"
              f"  {row['mutual information']:18.3f}")
    print(f"{'k-means':34}  {baselines[0]['accuracy']:8.3f}  {baselines[0]['mutual information']:18.3f}")
    best = max(rows, key=lambda row: row["decisiveness"])
    print(f"chosen without labels: seed {best['seed']}, accuracy {best['accuracy']:.3f}; lowest of all seeds "
          f"{min(row['accuracy'] for row in rows):.3f}; {time.monotonic() - start:.0f} s on {len(cores)} core(s)")
    chosen = output / f"seed{best['seed']}"
    command("traverse", "-i", MODEL, cwd=chosen)
    command("traverse", "-i", MODEL, "--training", cwd=chosen)
    print(f"traversals and a movie of the training: {chosen / 'images'}")


def parser():
    result = arguments.Parser(prog="infogan_digits.py", description=__doc__)
    result.add_argument("--mnist", metavar="FOLDER", help="folder of MNIST's idx files")
    result.add_argument("-o", "--output", type=Path, default=Path("infogan-digits"), metavar="FOLDER",
                        help="a new folder; default=infogan-digits")
    result.add_argument("--seeds", type=arguments.seed, nargs="+", default=[1, 2, 3, 4], metavar="N",
                        help="default=1 2 3 4")
    result.add_argument("-e", "--iterations", type=arguments.positive_int, default=ITERATIONS, metavar="N",
                        help=f"of each seed; default={ITERATIONS}")
    return result


def main(arguments=None):
    return launch.run(train_all, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
