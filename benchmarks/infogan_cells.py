"""Compare trained InfoGANs by image quality and by how closely a code follows the DNA of cells.

    benchmarks/infogan_cells.py -d ifc --channels 1,2 runs/*/checkpoints/weights.generator.InfoGAN.*.h5

The kernel distance compares features of all held-out images and of as many generated ones, times 1000 (mean ±
standard deviation over ten sets of generated images); the features are those of a classifier of the class folders. A
row of training images gives the scale. The correlation is the largest rank correlation, over the continuous codes, of
Q's answers for held-out images with the light of channel 2; the spread is the standard deviation of these answers.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from biogans.core import checkpoint, codes, dataloader
from biogans.evaluation import clusters, evaluate, features, scoring

REPEATS = 10


def distance(classifier, real, draw):
    """Mean and standard deviation over REPEATS sets of 1000 times the kernel distance; draw(k) returns uint8 images."""
    seen = features.extract(classifier, real)[0]
    values = [1000 * metrics.kernel_distance(seen, features.extract(classifier, draw(k))[0]) for k in range(REPEATS)]
    return np.mean(values), np.std(values, ddof=1)


def best_code(path, spec, held_out):
    """(name, correlation, spread of the answers) of the continuous code that follows the light of channel 2 best."""
    answers = codes.read_codes(checkpoint.load_recognizer(path), features.scaled(held_out.pixels), spec.codes)
    light = clusters.measured(held_out.pixels)["light 2"]
    found = [(code.name, clusters.rank_correlation(answers[code.name], light), answers[code.name].std())
             for code in spec.codes if not code.is_categorical]
    return max(found, key=lambda row: abs(row[1]), default=("none", 0.0, 0.0))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", "--data", required=True, help="data folder with *_train and *_test, required")
    parser.add_argument("--channels", default="1,2", help="channels of the images; default=1,2")
    parser.add_argument("-o", "--output", type=Path, default=Path("evaluation"),
                        help="folder of the classifier; default=evaluation")
    parser.add_argument("files", nargs="*", help="weights.generator files of InfoGANs, beside their recognizers")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    channels = tuple(int(channel) for channel in options.channels.split(","))
    training, held_out = (dataloader.load(options.data, split=split, channels=channels) for split in ("train", "test"))
    classifier, _ = evaluate.find_classifier(options.output, training, held_out)

    number = len(held_out.pixels)
    others = [np.random.default_rng(k).permutation(len(training.pixels))[:number] for k in range(REPEATS)]
    mean, deviation = distance(classifier, held_out.pixels, lambda k: training.pixels[others[k]])
    print(f"{'kernel distance':>18}  code  correlation  spread\n"
          f"{mean:10.0f} ±{deviation:5.0f}  {'':25}  training images")
    component = clusters.principal_components(training.pixels, held_out.pixels)[:, 0]
    light = clusters.measured(held_out.pixels)["light 2"]
    print(f"{'':18}  {'':4}  {clusters.rank_correlation(component, light):+11.2f}  {'':6}  first principal component")
    for path in options.files:
        generator, spec, facts = checkpoint.load_generator(path)
        subject = scoring.Generated(generator, spec)
        mean, deviation = distance(classifier, held_out.pixels,
                                   lambda k: subject.cells(number, np.random.default_rng(k)))
        name, correlation, spread = best_code(path, spec, held_out)
        print(f"{mean:10.0f} ±{deviation:5.0f}  {name:>4}  {correlation:+11.2f}  {spread:6.2f}  "
              f"{path}, {facts['iteration']} iterations", flush=True)


if __name__ == "__main__":
    main()
