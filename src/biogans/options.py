"""The command lines of train.py and predict.py, and what a given set of options amounts to."""

import argparse
import dataclasses
import sys

from .gan import ALGORITHMS
from .models import ARCHITECTURES, INITIALIZERS

# Cells with recognisable factors within minutes on a few CPU cores; the evidence is in docs/training.md.
FAST = {"ngf": 16, "ndf": 16, "batch_size": 8, "num_D_iters": 2, "lrD": 1e-3, "lrG": 1e-3, "init": "he"}
# At those rates the discriminator of a plain GAN wins at once, and the generator learns nothing from it.
FAST_GAN = {"ngf": 32, "ndf": 32, "batch_size": 32}
PRESETS = {"paper": {}, "fast": FAST}
PRECISIONS = ("float32", "tf32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Training:
    """The settings that, with the networks and the images, determine a run; stored with its checkpoint.

    lrD, lrG                  learning rates of discriminator/critic and generator
    beta_1, beta_2            of Adam
    num_D_iters, num_G_iters  updates of each network in one iteration
    average                   decay of the moving average of the generator's weights, 0 for none
    """

    algorithm: str
    optimizer: str
    lrD: float
    lrG: float
    beta_1: float
    beta_2: float
    batch_size: int
    num_D_iters: int
    num_G_iters: int
    wgan_clip_value: float
    wgangp_lambda: float
    average: float
    seed: int
    precision: str


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def __init__(self, **arguments):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **arguments)

    def error(self, message):
        sys.exit(print(f"{self.prog}: {' '.join(message.split())} ({self.prog} -h explains every option)",
                       file=sys.stderr) or 2)


def train_parser():
    parser = Parser(prog="train.py", description="Train a GAN on two-channel images of cells.", epilog=(
        "examples:\n"
        "  train.py -d data                                     the paper's best model; days on a CPU, hours on a GPU\n"
        "  train.py -d data --preset fast -e 1000 -M 100        something to look at within minutes on a CPU\n"
        "  train.py -d data -p Alp14 -m DCGAN -a GAN -e 2000    one polarity factor, the simplest model\n"
        "  train.py -d data -e 4000 -w                          go on from the checkpoint of the same options\n\n"
        "exit status: 0 done, 2 a mistake in the options or files, 75 stopped by SIGTERM or SIGUSR1 and 130 by Ctrl-C,\n"
        "both after saving: repeat the command with -w to go on"))
    data = parser.add_argument_group("the images")
    data.add_argument("-d", "--data", metavar="DATAROOT", required=True,
                      help="folder of the images, required: one folder of PNG or TIFF files per polarity factor, or the "
                           "folder that holds *_train and *_test, or the folder of one factor")
    _add_factors(data)
    data.add_argument("--channels", type=_numbers, default=(), metavar="N,N",
                      help="channels of the files to use, counted from 1, the growth marker first; "
                           "default: all that are not constant")
    data.add_argument("--skip-bad-images", "--skip_bad_images", action="store_true",
                      help="leave out images that can't be read, and count them, instead of stopping")
    data.add_argument("--cache", metavar="FILE.npy",
                      help="keep the decoded images in this file and read them as needed: for data larger than memory")
    _add_batch_size(data)

    model = parser.add_argument_group("the model")
    _add_model(model)
    model.add_argument("--init", type=_one_of(INITIALIZERS), default=None, metavar="NAME",
                       help="initial weights: paper (normal, 0.02) | he (variance kept from layer to layer, images start "
                            "at the background; learns faster); default=paper")

    learning = parser.add_argument_group("how it learns")
    learning.add_argument("-e", "--epochs", type=_positive_int, default=50000, metavar="N",
                          help="number of iterations to train for, in total; one iteration is one step of training: "
                               "--num_D_iters updates of the critic, then --num_G_iters of the generator; "
                               "default=50000, as in the paper")
    _add_algorithm(learning)
    _add_learning(learning)
    learning.add_argument("--num_D_iters", type=_positive_int, default=None, metavar="N",
                          help="updates of the discriminator/critic in one iteration; default: 1 for GAN, 5 for WGAN and "
                               "WGAN-GP (WGAN: 100 in each of the first 25 iterations and in every 500th)")
    learning.add_argument("--num_G_iters", type=_positive_int, default=1, metavar="N",
                          help="updates of the generator in one iteration; default=1")
    learning.add_argument("--average", type=_decay, default=0.99, metavar="DECAY",
                          help="decay of the moving average of the generator's weights, from which images are drawn and "
                               "which weights.generator holds; 0 for the last weights; default=0.99")
    learning.add_argument("--preset", type=_one_of(PRESETS), default="paper", metavar="NAME",
                          help=f"defaults for the options not given: paper | fast ({_in_words(FAST)}; for GAN "
                               f"{_in_words(FAST_GAN)}); default=paper")
    learning.add_argument("-s", "--seed", type=_seed, default=42, metavar="N",
                          help="random seed; default=42, the answer to the ultimate question")

    machine = parser.add_argument_group("the machine")
    machine.add_argument("-g", "--num_gpus", type=_positive_int, default=1, metavar="N",
                         help="number of GPUs; each takes an equal part of every batch; default=1 "
                              "(the CPU where there is no GPU)")
    machine.add_argument("--precision", type=_one_of(PRECISIONS), default="float32", metavar="NAME",
                         help="float32 | tf32 (GPUs: faster, products rounded to 10 bits) | bfloat16 (faster, 8 bits, "
                              "weights stay float32); default=float32")

    files = parser.add_argument_group("files and progress")
    _add_checkpoints_dir(files)
    files.add_argument("-w", "--use_pretrained_weights", action="store_true",
                       help="go on from the stored checkpoint, up to -e iterations, as if there had been no interruption")
    files.add_argument("--resume", action="store_true",
                       help="-w if there is a checkpoint of this run, else begin: for batch jobs that are queued again")
    files.add_argument("-M", "--monitor_progress", type=_positive_int, default=500, metavar="N",
                       help="store a picture of generated images after each N iterations, in images/; default=500")
    files.add_argument("--save_minutes", type=_positive_float, default=10.0, metavar="MIN",
                       help="minutes between two checkpoints; default=10")
    _add_verbose(files)
    return parser


def predict_parser():
    parser = Parser(prog="predict.py", description="Draw new cells with a trained generator.", epilog=(
        "Architecture, algorithm, sizes and factors come from the input file; an option that contradicts it is an\n"
        "error.\n\n"
        "examples:\n"
        "  predict.py -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5\n"
        "  predict.py -i checkpoints/model.generator.DCGAN-separable.GAN.1.h5 -n 16 -s 1\n"
        "  predict.py -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5 -e -d data"))
    output = parser.add_argument_group("what to draw")
    output.add_argument("-i", "--input_file", metavar="FILE", required=True,
                        help="weights.generator, model.generator or weights.combined_model file, required")
    output.add_argument("-n", "--number", type=_positive_int, default=1, metavar="N",
                        help="number of cells; default=1")
    output.add_argument("-s", "--seed", type=_seed, default=None, metavar="N",
                        help="random seed, for the same cells again; by default every run draws fresh ones")
    _add_factors(output)
    _add_batch_size(output)
    evaluation = parser.add_argument_group("evaluation")
    evaluation.add_argument("-e", "--evaluate", action="store_true",
                            help="compare generated images with the real ones given with -d: sliced Wasserstein "
                                 "distance, beside that of real images among themselves")
    evaluation.add_argument("-d", "--data", metavar="DATAROOT", help="folder of real images; its *_test part is used")
    expected = parser.add_argument_group("what the file is expected to hold (an error if it does not)")
    _add_model(expected)
    _add_algorithm(expected)
    _add_learning(expected)
    other = parser.add_argument_group("files and progress")
    _add_checkpoints_dir(other)
    other.add_argument("-w", "--use_pretrained_weights", action="store_true",
                       help="accepted for symmetry with train.py: the stored weights are always used")
    other.add_argument("-D", "--debug", action="store_true", help="output debugging info")
    _add_verbose(other)
    parser.set_defaults(**dict.fromkeys(("network_model", "nz", "ngf", "ndf", "wgan_clip_value", "wgangp_lambda", "lrG"),
                                        None))
    return parser


def _add_factors(group):
    group.add_argument("-p", "--polarity_factors", type=_names, default=(), metavar="A,B",
                       help="comma-separated names of polarity factors to use; all if empty")


def _add_batch_size(group):
    group.add_argument("-b", "--batch_size", type=_positive_int, default=None, metavar="N",
                       help="images in a batch (over all GPUs together; of each factor for DCGAN-starshaped); default=64")


def _add_model(group):
    group.add_argument("-m", "--network_model", type=_one_of(ARCHITECTURES), default="DCGAN-starshaped", metavar="NAME",
                       help=f"architecture: {' | '.join(ARCHITECTURES)}; default=DCGAN-starshaped")
    group.add_argument("--ngf", type=_positive_int, default=None, metavar="N", help="generator filters; default=64")
    group.add_argument("--ndf", type=_positive_int, default=None, metavar="N", help="discriminator filters; default=64")
    group.add_argument("-z", "--nz", type=_positive_int, default=100, metavar="N",
                       help="size of the latent z vector; default=100")


def _add_algorithm(group):
    group.add_argument("-a", "--gan_algorithm", type=_one_of(ALGORITHMS), default=None, metavar="NAME",
                       help=f"training algorithm: {' | '.join(ALGORITHMS)}; default=WGAN-GP")


def _add_learning(group):
    rates = ", ".join(f"{algorithm.defaults.lr_d:g} for {name}" for name, algorithm in ALGORITHMS.items())
    group.add_argument("-o", "--optimizer", type=_one_of(("default", "adam", "rmsprop")), default=None, metavar="NAME",
                       help="default (rmsprop for WGAN, adam for the others) | adam | rmsprop")
    group.add_argument("--lrD", type=_positive_float, default=None, metavar="LRD",
                       help=f"learning rate for discriminator/critic; default: {rates} (with their own optimizers; "
                            f"otherwise 1e-4 for adam, 5e-5 for rmsprop)")
    group.add_argument("--lrG", type=_positive_float, default=None, metavar="LRG",
                       help="learning rate for the generator; default: 0.0002 (the paper's code took that of the critic)")
    group.add_argument("--wgan_clip_value", type=_positive_float, default=0.01, metavar="C",
                       help="WGAN keeps the critic's weights in [-C, C]; default=0.01")
    group.add_argument("--wgangp_lambda", type=_positive_float, default=10.0, metavar="L",
                       help="weight of WGAN-GP's gradient penalty; default=10")


def _add_checkpoints_dir(group):
    group.add_argument("-c", "--checkpoints_dir", default="checkpoints", metavar="FOLDER",
                       help="folder of the weights; default=checkpoints")


def _add_verbose(group):
    group.add_argument("-v", "--verbose", action="store_true", help="increase the verbosity level of output")


def training(options):
    """The Training that the options of train.py amount to: what was given, else the preset, else the algorithm."""
    algorithm = options.gan_algorithm or "WGAN-GP"
    defaults = ALGORITHMS[algorithm].defaults
    optimizer = defaults.optimizer if options.optimizer in (None, "default") else options.optimizer
    lr_d = defaults.lr_d if optimizer == defaults.optimizer else {"adam": 1e-4, "rmsprop": 5e-5}[optimizer]
    return Training(
        algorithm=algorithm, optimizer=optimizer, beta_1=defaults.beta_1, beta_2=defaults.beta_2,
        lrD=preset(options, "lrD", lr_d), lrG=preset(options, "lrG", 2e-4),
        batch_size=preset(options, "batch_size", 64),
        num_D_iters=preset(options, "num_D_iters", defaults.critic_updates), num_G_iters=options.num_G_iters,
        wgan_clip_value=options.wgan_clip_value, wgangp_lambda=options.wgangp_lambda,
        average=options.average, seed=options.seed, precision=options.precision)


def preset(options, name, default):
    """The value of option `name`: given, else the preset's, else `default`."""
    chosen = FAST_GAN if (options.preset, options.gan_algorithm) == ("fast", "GAN") else PRESETS[options.preset]
    given = getattr(options, name)
    return chosen.get(name, default) if given is None else given


def _in_words(settings):
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _one_of(names):
    """An argparse type: one of `names`, whatever its case."""
    def choose(text):
        for name in names:
            if name.lower() == text.lower():
                return name
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(names)}")
    choose.names = tuple(names)         # for completion
    return choose


def _number(kind, accept, meaning):
    def convert(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not accept(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {meaning}")
        return value
    return convert


_positive_int = _number(int, lambda value: 0 < value < 2**31, "a whole number above 0")
_seed = _number(int, lambda value: 0 <= value < 2**31, "a whole number from 0 to 2147483647")
_positive_float = _number(float, lambda value: 0 < value < float("inf"), "a number above 0")
_decay = _number(float, lambda value: 0 <= value < 1, "a number from 0 up to, but not including, 1")


def _names(text):
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _numbers(text):
    return tuple(_positive_int(number) for number in _names(text))

