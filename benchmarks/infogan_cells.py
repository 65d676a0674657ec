"""Compare trained InfoGANs by image quality and by how closely a code follows the DNA of cells.

    benchmarks/infogan_cells.py -d ifc --channels 1,2 runs/*/checkpoints/weights.generator.InfoGAN.*.h5

The kernel distance compares features of all held-out images and of as many generated ones, times 1000 (mean ±
standard deviation over ten sets of generated images); the features are those of a classifier of the class folders. A
row of training images gives the scale. The correlation is the largest rank correlation, over the continuous codes, of
Q's answers for held-out images with the light of channel 2; the spread is the standard deviation of these answers.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from biogans.core import codes, dataloader, trained
from biogans.core.monitor import kernel_distance
from biogans.evaluation import clusters, evaluate, features
from biogans.system import arguments, launch
from biogans.system.pixels import to_signed

REPEATS = 10


def distance(network, real, sets):
    """Mean and standard deviation of 1000 times the kernel distance of `real` images to several `sets`, all uint8."""
    seen = features.extract(network, real)[0]
    values = [1000 * kernel_distance(seen, features.extract(network, images)[0]) for images in sets]
    return np.mean(values), np.std(values, ddof=1)


def best_code(generator, held_out):
    """(name, correlation, spread of the answers) of the continuous code that follows the light of channel 2 best."""
    recognizer = trained.load_recognizer(generator.path)
    answers = codes.read_codes(recognizer, to_signed(held_out.pixels), generator.spec.codes)
    light = clusters.measured(held_out.pixels)["light 2"]
    found = [(code.name, clusters.rank_correlation(answers[code.name], light), answers[code.name].std())
             for code in generator.spec.codes if not code.is_categorical]
    return max(found, key=lambda row: abs(row[1]), default=("none", 0.0, 0.0))


def compare(options):
    """Print the table row by row. Raises InputError."""
    options.output.mkdir(parents=True, exist_ok=True)
    training, held_out = (dataloader.load(options.data, split=split, channels=options.channels)
                          for split in ("train", "test"))
    network = evaluate.find_classifier(options.output, training, held_out).network

    number = len(held_out.pixels)
    orders = (np.random.default_rng(k).permutation(len(training.pixels)) for k in range(REPEATS))
    mean, deviation = distance(network, held_out.pixels, (training.pixels[order[:number]] for order in orders))
    print(f"{'kernel distance':>18}  code  correlation  spread\n"
          f"{mean:10.0f} ±{deviation:5.0f}  {'':25}  training images")
    component = clusters.principal_components(training.pixels, held_out.pixels)[:, 0]
    light = clusters.measured(held_out.pixels)["light 2"]
    print(f"{'':18}  {'':4}  {clusters.rank_correlation(component, light):+11.2f}  {'':6}  first principal component")
    for path in options.files:
        generator = trained.load_generator(path)
        sets = (generator.cells(number, np.random.default_rng(k)) for k in range(REPEATS))
        mean, deviation = distance(network, held_out.pixels, sets)
        name, correlation, spread = best_code(generator, held_out)
        print(f"{mean:10.0f} ±{deviation:5.0f}  {name:>4}  {correlation:+11.2f}  {spread:6.2f}  "
              f"{path}, {generator.metadata.iteration} iterations", flush=True)


def parser():
    result = arguments.Parser(prog="infogan_cells.py", description=__doc__)
    result.add_argument("-d", "--data", required=True, metavar="DATAROOT",
                        help="data folder with *_train and *_test, required")
    result.add_argument("--channels", type=arguments.several(arguments.positive_int), default=(1, 2), metavar="N,N",
                        help="channels of the images; default=1,2")
    result.add_argument("-o", "--output", type=Path, default=Path("evaluation"), metavar="FOLDER",
                        help="folder of the classifier; default=evaluation")
    result.add_argument("files", nargs="*", metavar="FILE",
                        help="weights.generator files of InfoGANs, beside their recognizers")
    return result


def main(arguments=None):
    return launch.run(compare, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
