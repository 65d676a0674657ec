"""The command lines of train.py and predict.py, and what a given set of options amounts to."""

import argparse
import dataclasses
import sys
import textwrap

from .augment import POLICIES
from .gan import ALGORITHMS
from .models import ARCHITECTURES, INITIALIZERS

# Cells with recognisable factors within minutes on a few CPU cores; the evidence is in docs/training.md.
FAST = {"ngf": 16, "ndf": 16, "batch_size": 8, "num_D_iters": 2, "lrD": 1e-3, "lrG": 1e-3, "init": "he"}
# At those rates the discriminator of a plain GAN wins at once, and the generator learns nothing from it.
FAST_GAN = {"ngf": 32, "ndf": 32, "batch_size": 32}
# Codes that mean something, on small images, within minutes on a CPU core; the evidence is in docs/infogan.md.
INFOGAN = {"ngf": 32, "ndf": 32, "lrG": 1e-3, "average": 0.998, "augment": ("affine",)}
PRESETS = {"paper": {}, "fast": FAST, "infogan": INFOGAN}
PRECISIONS = ("float32", "tf32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Training:
    """The settings that, with the networks and the images, determine a run; stored with its checkpoint.

    lrD, lrG                  learning rates of discriminator/critic and generator
    beta_1, beta_2            of Adam
    num_D_iters, num_G_iters  updates of each network in one iteration
    average                   decay of the moving average of the generator's weights, 0 for none
    flips                     whether images are seen mirrored, too
    categorical_weight, continuous_weight   InfoGAN: lambda of each kind of code
    augment                   names in augment.POLICIES
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
    # What has a default here came later: older checkpoints were trained so.
    augment: tuple = ()
    r1_gamma: float = 10.0
    flips: bool = True
    categorical_weight: float = 1.0
    continuous_weight: float = 0.5


class Help(argparse.RawDescriptionHelpFormatter):
    """Help in which a name such as DCGAN-starshaped stays in one piece."""

    def _split_lines(self, text, width):
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def __init__(self, **arguments):
        super().__init__(formatter_class=Help, allow_abbrev=False, **arguments)

    def error(self, message):
        sys.exit(print(f"{self.prog}: {' '.join(message.split())} ({self.prog} -h explains every option)",
                       file=sys.stderr) or 2)


def train_parser():
    parser = Parser(prog="train.py", description="Train a GAN on two-channel images of cells.", epilog=(
        "examples:\n"
        "  train.py -d data                                     the paper's best model; days on a CPU, hours on a GPU\n"
        "  train.py -d data --preset fast -e 1000 -M 100        something to look at within minutes on a CPU\n"
        "  train.py -d data -p Alp14 -m DCGAN -a GAN -e 2000    one polarity factor, the simplest model\n"
        "  train.py -d data -m InfoGAN -a GAN --preset infogan  codes that mean something, found without labels\n"
        "  train.py -d data -e 4000 -w                          go on from the checkpoint of the same options\n"
        "  srun --nodes=2 --ntasks-per-node=1 train.py -d data  one training on two nodes of a Slurm cluster\n\n"
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

    model.add_argument("--categorical", type=_categories, default=None, metavar="K,K",
                       help="InfoGAN: numbers of categories of the categorical codes, 0 for none; default=10")
    model.add_argument("--continuous", type=_index, default=None, metavar="N",
                       help="InfoGAN: number of continuous codes; default=2")

    learning = parser.add_argument_group("how it learns")
    learning.add_argument("-e", "--epochs", type=_positive_int, default=50000, metavar="N",
                          help="number of iterations to train for, in total; one iteration is one step of training: "
                               "--num_D_iters updates of the critic, then --num_G_iters of the generator; "
                               "default=50000, as in the paper")
    _add_algorithm(learning)
    _add_learning(learning)
    learning.add_argument("--r1_gamma", type=_positive_float, default=10.0, metavar="G",
                          help="weight of R1's gradient penalty; default=10")
    learning.add_argument("--num_D_iters", type=_positive_int, default=None, metavar="N",
                          help="updates of the discriminator/critic in one iteration; default: 1 for GAN and R1, 5 for "
                               "WGAN, WGAN-GP and hinge (WGAN: 100 in each of the first 25 iterations and in every 500th)")
    learning.add_argument("--num_G_iters", type=_positive_int, default=1, metavar="N",
                          help="updates of the generator in one iteration; default=1")
    learning.add_argument("--categorical_weight", type=_positive_float, default=1.0, metavar="L",
                          help="InfoGAN: weight of the categorical codes in both losses; default=1")
    learning.add_argument("--continuous_weight", type=_positive_float, default=0.5, metavar="L",
                          help="InfoGAN: weight of the continuous codes; default=0.5")
    learning.add_argument("--no_flips", "--no-flips", action="store_true",
                          help="do not show images mirrored, too: for digits and whatever has a right way round")
    learning.add_argument("--average", type=_decay, default=None, metavar="DECAY",
                          help="decay of the moving average of the generator's weights, from which images are drawn and "
                               "which weights.generator holds; 0 for the last weights; default=0.99")
    learning.add_argument("--augment", type=_some_of(POLICIES), default=None, metavar="NAME,NAME",
                          help=f"differentiable augmentation of what the critic is shown, real and generated, for few "
                               f"images (hundreds or fewer): {', '.join(POLICIES)}; default: none beside mirror images")
    learning.add_argument("--preset", type=_one_of(PRESETS), default="paper", metavar="NAME",
                          help=f"defaults for the options not given: paper | fast ({_in_words(FAST)}; for GAN "
                               f"{_in_words(FAST_GAN)}) | infogan ({_in_words(INFOGAN)}); default=paper")
    learning.add_argument("-s", "--seed", type=_seed, default=42, metavar="N",
                          help="random seed; default=42, the answer to the ultimate question")

    machine = parser.add_argument_group("the machine")
    machine.add_argument("-g", "--num_gpus", type=_positive_int, default=1, metavar="N",
                         help="number of GPUs; each takes an equal part of every batch; default=1 "
                              "(the CPU where there is no GPU). Under srun with several tasks leave it out: each task "
                              "has one GPU, and a part of every batch")
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
    files.add_argument("--keep", type=_positive_int, default=2, metavar="K",
                       help="number of checkpoints to keep, the newest and those before it, in case one is damaged; "
                            "default=2")
    files.add_argument("--keep_every", "--keep-every", type=_positive_int, default=None, metavar="N",
                       help="save after each N iterations too, and keep these checkpoints for good")
    _add_verbose(files)
    return parser


def predict_parser():
    parser = Parser(prog="predict.py", description="Draw new cells with a trained generator.", epilog=(
        "Architecture, algorithm, sizes and factors come from the input file; an option that contradicts it is an\n"
        "error. A drawing that was killed goes on when the command is repeated.\n\n"
        "examples:\n"
        "  predict.py -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5\n"
        "  predict.py -i checkpoints/model.generator.DCGAN-separable.GAN.1.h5 -n 16 -s 1\n"
        "  predict.py -i checkpoints/weights.generator.InfoGAN.GAN.0.h5 -n 16 --code c0=3,u1=-0.5\n"
        "  predict.py -i checkpoints/weights.generator.DCGAN.WGAN-GP.1.h5 -n 30000 --format png\n"
        "  predict.py -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5 -e -d data"))
    output = parser.add_argument_group("what to draw")
    _add_generator(output)
    output.add_argument("-n", "--number", type=_positive_int, default=1, metavar="N",
                        help="number of cells; default=1")
    cells = output.add_mutually_exclusive_group()
    cells.add_argument("-s", "--seed", type=_seed, default=None, metavar="N",
                       help="random seed, for the same cells again; by default every run draws fresh ones")
    cells.add_argument("--z", metavar="FILE.json", help="draw the cell whose numbers z the page of biogans explore saved, or "
                                                        "a list of lists of such numbers")
    output.add_argument("--code", metavar="NAME=VALUE,…",
                        help="codes of an InfoGAN, such as c0=3,u1=-0.5; those not given are drawn at random, or as in "
                             "the file of --z")
    output.add_argument("--format", choices=("h5", "png", "tiff"), default="h5",
                        help="h5 (a stack for visualize.py) | png (a data folder for train.py, a folder of images for each "
                             "factor) | tiff (one OME-TIFF, for Fiji); default=h5")
    _add_factors(output)
    _add_batch_size(output)
    evaluation = parser.add_argument_group("evaluation")
    evaluation.add_argument("-e", "--evaluate", action="store_true",
                            help="compare generated images with the real ones given with -d: two-sample test in its "
                                 "fast mode, some minutes (biogans evaluate has the full one)")
    evaluation.add_argument("-d", "--data", metavar="DATAROOT",
                            help="folder of real images: *_test, and *_train beside it")
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


def reconstruct_parser():
    description = "Look for real cells among those that a generator can draw."
    parser = Parser(prog="biogans reconstruct", description=description, epilog=(
        "For each of some held-out images the latent z is sought whose image differs least from it (squared error,\n"
        "by L-BFGS from several random starts). A generator that has learnt the cells comes nearer to unseen ones\n"
        "than the nearest image of the training does, with a z as likely as a random one. A star shape is compared\n"
        "in red and in the one factor that the image shows, and draws all others too: what they would look like in\n"
        "this real cell.\n\n"
        "images/reconstructed7.joint.….h5      the reconstructions: a stack as of predict.py, with z, errors, targets\n"
        "images/reconstruction.….png           real, nearest neighbour, reconstructions: of each factor the best, the\n"
        "                                      middle and the worst\n"
        "images/reconstruction_factors.….png   the same real cells with all factors (star shape)\n\n"
        "examples:\n"
        "  biogans reconstruct -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5 -d data\n"
        "  biogans reconstruct -i checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5 -d data -n 12 -p Alp14,Tea1\n"
        "  visualize.py -i images/reconstructed7.joint.DCGAN-starshaped.WGAN-GP.h5 --first 3"))
    files = parser.add_argument_group("what to reconstruct")
    _add_generator(files)
    files.add_argument("-d", "--data", metavar="DATAROOT", required=True,
                       help="folder of real images, required: those of its *_test part are reconstructed, those of its "
                            "*_train part are the neighbours")
    files.add_argument("-n", "--number", type=_positive_int, default=64, metavar="N",
                       help="number of images, chosen at random, as many of each factor; default=64")
    _add_factors(files)
    search = parser.add_argument_group("how to search")
    search.add_argument("--order", type=_one_of(("joint", "red-first", "both")), default="both", metavar="NAME",
                        help="joint (all of z, for all channels) | red-first (the red half of z for red, then the "
                             "green half for green) | both; default=both where red and green are drawn apart")
    search.add_argument("--restarts", type=_positive_int, default=5, metavar="N",
                        help="random starts for each image, of which the best counts; default=5")
    search.add_argument("--iterations", type=_positive_int, default=100, metavar="N",
                        help="iterations of L-BFGS from each start, at most; default=100")
    search.add_argument("-s", "--seed", type=_seed, default=42, metavar="N",
                        help="random seed of the choice of images and of the starts; default=42")
    search.add_argument("-b", "--batch_size", type=_positive_int, default=None, metavar="N",
                        help="searches that go on at the same time; default=64")
    other = parser.add_argument_group("files")
    _add_checkpoints_dir(other)
    _add_palette(other)
    return parser


def interpolate_parser():
    description = "Make a movie of a cell that turns into others, with all factors."
    parser = Parser(prog="biogans interpolate", description=description, epilog=(
        "Between two cells z goes along a sphere, where random z lie, and every factor is drawn on the way. --cycle\n"
        "learns from cells drawn at random in which direction of z they get longer, and moves one cell along it: it\n"
        "grows, at one tip and then at both, and makes a septum; the movie then starts again with a short cell, its\n"
        "daughter.\n\n"
        "images/interpolation7.….gif, .mp4    the movie: red, each factor merged with it, all factors in one panel\n"
        "images/interpolation7.….png          a strip of its frames\n"
        "images/interpolation7.….h5           the key frames: a stack as of predict.py, with z\n\n"
        "examples, where FILE is checkpoints/weights.generator.DCGAN-starshaped.WGAN-GP.6.h5:\n"
        "  biogans interpolate -i FILE --cycle                       the cell cycle\n"
        "  biogans interpolate -i FILE -n 6                          six cells at random\n"
        "  biogans interpolate -i FILE --seeds 3,17,5                the cells that predict.py draws with -s 3, 17 and 5\n"
        "  biogans interpolate -i FILE -d data -n 3                  between real cells (reconstructed held-out images)\n"
        "  biogans interpolate -i FILE --stack images/reconstructed7.joint.DCGAN-starshaped.WGAN-GP.h5 --cells 0,12,40"))
    group = parser.add_argument_group("the generator")
    _add_generator(group)
    _add_factors(group)
    keys = parser.add_argument_group("key frames: one of these, or random cells")
    choice = keys.add_mutually_exclusive_group()
    choice.add_argument("--seeds", type=_seeds, default=(), metavar="N,N", help="cells that predict.py -s draws")
    choice.add_argument("--stack", metavar="FILE.h5", help="cells of a stack that predict.py or biogans reconstruct wrote")
    choice.add_argument("-d", "--data", metavar="DATAROOT",
                        help="reconstructions of images of the *_test part of this folder, chosen at random")
    choice.add_argument("--cycle", action="store_true", help="one cell that grows, measured in the red channel")
    keys.add_argument("--cells", type=_indices, default=(), metavar="N,N",
                      help="which cells of the stack, counted from 0; default: all")
    keys.add_argument("-n", "--number", type=_at_least_two, default=None, metavar="N",
                      help="number of key frames, where they are chosen at random or with --cycle; default=4, and 8 "
                           "with --cycle")
    keys.add_argument("-s", "--seed", type=_seed, default=None, metavar="N",
                      help="random seed, for the same movie again; by default every run makes a fresh one")
    movie = parser.add_argument_group("the movie")
    movie.add_argument("--frames", type=_positive_int, default=16, metavar="N",
                       help="frames from one key frame to the next; default=16")
    movie.add_argument("--fps", type=_positive_float, default=16.0, metavar="N", help="frames per second; default=16")
    movie.add_argument("--open", action="store_true",
                       help="end with the last key frame; by default the movie goes back to the first one (but not "
                            "with --cycle: a long cell becomes a short one by division)")
    movie.add_argument("--scale", type=_positive_int, default=None, metavar="N",
                       help="enlarge every pixel N times, smoothly; default: panels about 240 wide")
    _add_palette(movie)
    files = parser.add_argument_group("files")
    files.add_argument("-o", "--output", metavar="NAME",
                       help="path of the files without .gif, .mp4, .png, .h5; default: images/interpolation7.…")
    _add_checkpoints_dir(files)
    return parser


def _add_generator(group):
    group.add_argument("-i", "--input_file", metavar="FILE", required=True,
                       help="weights.generator, model.generator or weights.combined_model file, required")


def _add_palette(group):
    group.add_argument("--palette", choices=("red-green", "magenta-green"), default="red-green",
                       help="colours of marker and factor; magenta-green suits colour-blind eyes; default=red-green")


def _add_factors(group):
    group.add_argument("-p", "--polarity_factors", type=_names, default=(), metavar="A,B",
                       help="comma-separated names of polarity factors to use; all if empty")


def _add_batch_size(group):
    group.add_argument("-b", "--batch_size", type=_positive_int, default=None, metavar="N",
                       help="images in a batch (over all GPUs and tasks together; of each factor where each has a critic); "
                            "default=64")


def _add_model(group):
    group.add_argument("-m", "--network_model", type=_one_of(ARCHITECTURES), default="DCGAN-starshaped", metavar="NAME",
                       help=f"architecture: {' | '.join(ARCHITECTURES)}; default=DCGAN-starshaped. Separable: red is "
                            "drawn without a look at green; starshaped: all factors in one cell; multichannel: the same, "
                            "trained on cells that borrow greens from others of similar red; independent: a network and "
                            "a cell for each factor")
    group.add_argument("--ngf", type=_positive_int, default=None, metavar="N",
                       help="generator filters; default=64, or 3.5 times as many, 224, where multichannel networks draw "
                            "7 channels, not 2")
    group.add_argument("--ndf", type=_positive_int, default=None, metavar="N",
                       help="discriminator filters; default=64, likewise 224")
    group.add_argument("-z", "--nz", type=_positive_int, default=None, metavar="N",
                       help="size of the latent z vector, codes included; default=100, likewise 350")


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
        average=preset(options, "average", 0.99), seed=options.seed, precision=options.precision,
        r1_gamma=options.r1_gamma, augment=preset(options, "augment", ()), flips=not options.no_flips,
        categorical_weight=options.categorical_weight, continuous_weight=options.continuous_weight)


def preset(options, name, default):
    """The value of option `name`: given, else the preset's, else `default`."""
    chosen = FAST_GAN if (options.preset, options.gan_algorithm) == ("fast", "GAN") else PRESETS[options.preset]
    given = getattr(options, name)
    return chosen.get(name, default) if given is None else given


def sizes(options, wider):
    """{nz, ngf, ndf} of the networks: as given, else `wider` times the preset's or the default."""
    return {name: getattr(options, name) or round(wider * preset(options, name, default))
            for name, default in (("nz", 100), ("ngf", 64), ("ndf", 64))}


def _in_words(settings):
    return ", ".join(f"{name} {','.join(value) if isinstance(value, tuple) else value}" for name, value in settings.items())


def _one_of(names):
    """An argparse type: one of `names`, whatever its case."""
    def choose(text):
        for name in names:
            if name.lower() == text.lower():
                return name
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(names)}")
    choose.names = tuple(names)         # for completion
    return choose


def _some_of(names):
    """An argparse type: several of `names` with commas between, whatever their case; as a tuple in their order."""
    def choose(text):
        chosen = {_one_of(names)(name) for name in _names(text)}
        return tuple(name for name in names if name in chosen)
    choose.names = tuple(names)
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
_index = _number(int, lambda value: 0 <= value < 2**31, "a whole number from 0 on")
_at_least_two = _number(int, lambda value: 2 <= value < 2**31, "a whole number above 1")
_positive_float = _number(float, lambda value: 0 < value < float("inf"), "a number above 0")
_decay = _number(float, lambda value: 0 <= value < 1, "a number from 0 up to, but not including, 1")


def _names(text):
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _numbers(text):
    return tuple(_positive_int(number) for number in _names(text))


def _categories(text):
    """Numbers of categories; () of "0"."""
    return () if text.strip() == "0" else tuple(_at_least_two(number) for number in _names(text))


def _seeds(text):
    return tuple(_seed(number) for number in _names(text))


def _indices(text):
    return tuple(_index(number) for number in _names(text))
