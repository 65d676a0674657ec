"""The options of train.py, and the options that several commands share."""

import os
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from ..io.image_sets import ReadSettings
from ..io.intensities import Intensities
from ..system import arguments
from ..system.arguments import rare
from ..system.palettes import PALETTES, Palette
from . import settings
from .augment import POLICIES
from .gan import ALGORITHMS
from .layers import INITIALIZERS
from .models import ARCHITECTURES
from .settings import FADES, PRECISIONS, PRESETS

Group = Any             # for type hints: a parser of argparse, or a group of its options


def parser() -> arguments.Parser:
    """The command line of train.py."""
    p = arguments.Parser(prog="train.py", help_all=True, usage="train.py -d DATAROOT [options]", epilog=(
        "examples:\n"
        "  train.py -d data                                     the paper's best model: days on a CPU\n"
        "  train.py -d data --preset fast -e 1000 -M 100        a first impression: minutes on a CPU\n"
        "  train.py -d data -p Alp14 -m DCGAN -a GAN -e 2000    one polarity factor, the simplest model\n"
        "  train.py -d data -m InfoGAN -a GAN --preset infogan  meaningful codes, learnt without labels\n"
        "  train.py -d data -w                                  resume the run in the folder checkpoints\n"
        "  srun --nodes=2 --ntasks-per-node=1 train.py -d data  one training on two nodes of a Slurm cluster\n\n"
        "exit status: 0 done; 2 user error; 75 stopped by SIGTERM or SIGUSR1, 130 by Ctrl-C, both after saving"))
    _add_images(p.add_argument_group("images"))
    _add_networks(p.add_argument_group("model"))
    _add_training(p.add_argument_group("training"))
    _add_machine_and_files(p.add_argument_group("machine and files"))
    p.set_defaults(critic_bursts=None)          # no option, but part of what a checkpoint records
    return p


def default_settings(algorithm: str) -> settings.TrainingSettings:
    """The TrainingSettings of an algorithm if no other option is given."""
    return settings.resolve_settings(parser().parse_args(["-d", "data", "-a", algorithm]))


def read_settings(options: Namespace) -> ReadSettings:
    """How the files of a set are read, by the options of train.py."""
    intensities = Intensities(options.range[::2], options.range[1::2]) if options.range else None
    return ReadSettings(options.channels, options.axes, intensities, options.percentiles, bool(options.nan),
                        options.skip_bad_images)


def _add_images(group):
    group.add_argument("-d", "--data", metavar="DATAROOT", required=True,
                       help="folder of images: one folder of PNG or TIFF files per polarity factor, in *_train and "
                            "*_test")
    add_factors(group)
    rare(group.add_argument("--channels", type=arguments.several(arguments.positive_int), default=(), metavar="N,N",
                            help="channels of the files to use, counted from 1, the growth marker first; "
                                 "default: all that are not constant"))
    rare(group.add_argument("--axes", type=arguments.axes, default="", metavar="LETTERS",
                            help="axes of files that state them wrongly or not at all, slowest first, such as "
                                 "CYX or TYX: T time, Z depth, C channel, Y down, X right, S colour"))
    rare(group.add_argument("--range", type=arguments.intensity_range, default=(), metavar="BLACK,WHITE",
                            help="intensities that become 0 and 255: BLACK,WHITE of all channels, or of each after the "
                                 "other; default: from the set, unless it has 8 bits"))
    rare(group.add_argument("--percentiles", type=arguments.percentiles, default=None, metavar="LOW,HIGH",
                            help="percentiles of the pixels of an image from which black and white are found; "
                                 "default=0.1,99.9, and 8 bits stay as they are"))
    rare(group.add_argument("--nan", type=arguments.one_of(("background",)), default=None, metavar="background",
                            help="let pixels that are NaN be background, instead of refusing their image"))
    rare(group.add_argument("--skip_bad_images", action="store_true",
                            help="skip images that can't be read, and count them, instead of stopping"))
    rare(group.add_argument("--cache", metavar="FILE.npy",
                            help="keep the decoded images in this file and read them as needed: for data larger than "
                                 "memory"))
    add_batch_size(group)


def _add_networks(group):
    add_model(group)
    rare(group.add_argument("--init", type=arguments.one_of(INITIALIZERS), default=None, metavar="NAME",
                            help="initial weights: paper (normal, 0.02) | he (variance preserved from layer to layer, "
                                 "images start at the background; learns faster); default=paper"))
    rare(group.add_argument("--noise", action="store_true", default=None,
                            help="let the generator, or its green towers, read noise at every level: z ends with maps "
                                 "of independent numbers, from which it can make texture"))
    rare(group.add_argument("--red_ngf", type=arguments.positive_int, default=None, metavar="N",
                            help="filters of the red tower of separable and star-shaped generators: with more of them "
                                 "outlines have fewer faults; default: half of --ngf, as in the paper"))
    rare(group.add_argument("--start_from", metavar="FILE", default=None,
                            help="begin a new run with the generator in this file, and with new critics; options "
                                 "of the model that are not given are the file's"))
    rare(group.add_argument("--categorical", type=arguments.category_counts, default=None, metavar="K,K",
                            help="InfoGAN: number of categories of each categorical code, 0 for none; default=10"))
    rare(group.add_argument("--continuous", type=arguments.index, default=None, metavar="N",
                            help="InfoGAN: number of continuous codes; default=2"))


def _add_training(group):
    add_algorithm(group)
    group.add_argument("-e", "--epochs", type=arguments.positive_int, default=50000, metavar="N",
                       help="total number of iterations (generator updates); default=50000, as in the paper")
    group.add_argument("--preset", type=arguments.one_of(PRESETS), default="paper", metavar="NAME",
                       help="defaults of options not given: paper | fast (for CPUs) | infogan; default=paper")
    add_learning(group)
    _add_schedule(group)
    rare(group.add_argument("--r1_gamma", type=arguments.positive_float, default=None, metavar="G",
                            help="weight of the gradient penalty of R1 and RpGAN; default: 0.0002 pixels / batch size, "
                                 "0.096 for 48x80 pixels and batches of 8"))
    rare(group.add_argument("--r1_gamma_last", type=arguments.positive_float, default=None, metavar="G",
                            help="let --r1_gamma move to this value as the learning rates fall (--lr_schedule)"))
    rare(group.add_argument("--num_D_iters", type=arguments.positive_int, default=None, metavar="N",
                            help="updates of the discriminator/critic per iteration; default: 1 for GAN, R1 and "
                                 "RpGAN, 5 for WGAN, WGAN-GP and hinge (WGAN: 100 in each of the first 25 iterations "
                                 "and in every 500th, unless this option is given)"))
    rare(group.add_argument("--num_G_iters", type=arguments.positive_int, default=1, metavar="N",
                            help="updates of the generator per iteration; default=1"))
    rare(group.add_argument("--categorical_weight", type=arguments.positive_float, default=1.0, metavar="L",
                            help="InfoGAN: weight of the categorical codes in both losses; default=1"))
    rare(group.add_argument("--continuous_weight", type=arguments.positive_float, default=0.5, metavar="L",
                            help="InfoGAN: weight of the continuous codes in both losses; default=0.5"))
    rare(group.add_argument("--variety", type=arguments.positive_float, default=None, metavar="W",
                            help="separable and star-shaped networks: weight of a term that lets the greens of one red "
                                 "vary as among training cells of similar red; default: none"))
    group.add_argument("--augment", type=arguments.some_of(POLICIES), default=None, metavar="NAME,NAME",
                       help=f"augmentation for hundreds of images or fewer: {', '.join(POLICIES)}; default: none")
    rare(group.add_argument("--augment_target", type=arguments.below_one, default=None, metavar="R",
                            help="augment as much as it takes to keep critic_overfitting at R, for example 0.4: from "
                                 "no image at the start to every image; needs images in *_test"))
    rare(group.add_argument("--no_flips", action="store_true",
                            help="disable random mirroring: for digits and other images with a definite orientation"))
    rare(group.add_argument("--average", type=arguments.below_one, default=None, metavar="DECAY",
                            help="decay of the moving average of the generator's weights, from which samples and "
                                 "weights.generator come; 0 for the current weights; default=0.99"))
    rare(group.add_argument("--average_window", type=arguments.below_one, default=None, metavar="PART",
                            help="average over about this part of the iterations so far, for example 0.05, so that the "
                                 "average follows the training early and is steady late; instead of --average"))
    group.add_argument("-s", "--seed", type=arguments.seed, default=42, metavar="N",
                       help="random seed; default=42, the answer to the ultimate question")


def _add_machine_and_files(group):
    group.add_argument("-g", "--num_gpus", type=arguments.positive_int, default=1, metavar="N",
                       help="GPUs that share each batch; default=1, or the CPU; not under srun with several tasks")
    rare(group.add_argument("--precision", type=arguments.one_of(PRECISIONS), default="float32", metavar="NAME",
                            help="float32 | tf32 (GPUs: products rounded to 10 bits) | bfloat16 (8 bits, weights stay "
                                 "float32); default=float32"))
    add_checkpoints_dir(group)
    group.add_argument("-w", "--use_pretrained_weights", action="store_true",
                       help="resume the stored run; options that are not given are its own")
    group.add_argument("--resume", action="store_true", default=bool(os.environ.get("BG_RESUME")),
                       help="like -w if there is a checkpoint, otherwise start a new run; default in a job that "
                            "train.sbatch requeued")
    group.add_argument("-M", "--monitor_progress", type=arguments.positive_int, default=500, metavar="N",
                       help="iterations between two pictures of samples in images/; default=500")
    rare(group.add_argument("--save_minutes", type=arguments.positive_float, default=10.0, metavar="MIN",
                            help="minutes between two checkpoints; default=10"))
    rare(group.add_argument("--keep", type=arguments.positive_int, default=2, metavar="K",
                            help="number of checkpoints to keep, the newest and those before it, in case one is "
                                 "damaged; default=2"))
    rare(group.add_argument("--keep_every", type=arguments.positive_int, default=None, metavar="N",
                            help="also save after every N iterations, and keep these checkpoints for good"))
    add_verbose(group)


# ---------------------------------------------------------------------------------------------- shared by commands

def add_generator(group: Group) -> None:
    """-i: the file of a generator."""
    group.add_argument("-i", "--input_file", metavar="FILE", required=True,
                       help="weights.generator, model.generator or weights.combined_model file, or hf://user/name on "
                            "the Hugging Face Hub, required")


def add_palette(group: Group) -> None:
    """--palette and --transmitted: the colours of channels, see `palette_of`."""
    group.add_argument("--palette", choices=PALETTES, default="red-green",
                       help="colours of marker and factor; magenta-green suits colour-blind viewers; default=red-green")
    group.add_argument("--transmitted", type=arguments.channel_numbers, default=None, metavar="N,N",
                       help="channels of transmitted light, counted from 1, which are drawn grey, or none; default: "
                            "those with a bright background")


def palette_of(options: Namespace) -> Palette:
    """The Palette that the options of `add_palette` choose."""
    chosen = options.transmitted
    return Palette(options.palette, None if chosen is None else tuple(number - 1 for number in chosen))


def add_factors(group: Group) -> None:
    """-p: polarity factors."""
    group.add_argument("-p", "--polarity_factors", type=arguments.comma_separated, default=(), metavar="A,B",
                       help="polarity factors to use; default: all")


def add_batch_size(group: Group) -> None:
    """-b: images in a batch."""
    group.add_argument("-b", "--batch_size", type=arguments.positive_int, default=None, metavar="N",
                       help="images in a batch, over all GPUs; of each factor if each has a critic; default=64")


def add_model(group: Group, mark: Callable = lambda action: action) -> None:
    """-m and the sizes of the networks; `mark` is applied to -m, for example arguments.rare."""
    mark(group.add_argument("-m", "--network_model", type=arguments.one_of(ARCHITECTURES), default="DCGAN-starshaped",
                            metavar="NAME",
                            help=f"architecture: {' | '.join(ARCHITECTURES)}; default=DCGAN-starshaped"))
    rare(group.add_argument("--ngf", type=arguments.positive_int, default=None, metavar="N",
                            help="generator filters; default=64, or 3.5 times as many (224) for multichannel networks, "
                                 "which generate 7 channels instead of 2"))
    rare(group.add_argument("--ndf", type=arguments.positive_int, default=None, metavar="N",
                            help="discriminator filters; default=64 or, likewise, 224"))
    rare(group.add_argument("-z", "--nz", type=arguments.positive_int, default=None, metavar="N",
                            help="size of the latent vector z, with codes and without noise; default=100 or, likewise, "
                                 "350"))


def add_algorithm(group: Group, mark: Callable = lambda action: action) -> None:
    """-a; `mark` is applied to it, for example arguments.rare."""
    mark(group.add_argument("-a", "--gan_algorithm", type=arguments.one_of(ALGORITHMS), default=None, metavar="NAME",
                            help=f"training algorithm: {' | '.join(ALGORITHMS)}; default=WGAN-GP"))


def _add_schedule(group):
    rare(group.add_argument("--lr_schedule", type=arguments.one_of(FADES), default=None, metavar="NAME",
                            help="constant | linear | cosine: how the learning rates fall to 0 at the end of the run; "
                                 "default=constant"))
    rare(group.add_argument("--lr_hold", type=arguments.below_one, default=None, metavar="PART",
                            help="part of the run during which they stay constant first; default=0.5"))
    rare(group.add_argument("--horizon", type=arguments.positive_int, default=None, metavar="N",
                            help="iteration in which they become 0; default: the last (-e). It is stored with the run: "
                                 "to resume with a longer -e, begin with a horizon beyond it"))


def add_learning(group: Group) -> None:
    """The optimizer, the learning rates, and the constants of WGAN and WGAN-GP."""
    rates = ", ".join(f"{algorithm.defaults.lr_d:g} for {name}" for name, algorithm in ALGORITHMS.items())
    rare(group.add_argument("-o", "--optimizer", type=arguments.one_of(("default", "adam", "rmsprop")), default=None,
                            metavar="NAME", help="default (rmsprop for WGAN, adam for the others) | adam | rmsprop"))
    rare(group.add_argument("--lrD", type=arguments.positive_float, default=None, metavar="LRD",
                            help=f"learning rate of the discriminator/critic; default: {rates} (with their own "
                                 f"optimizers; otherwise 1e-4 for adam, 5e-5 for rmsprop)"))
    rare(group.add_argument("--lrG", type=arguments.positive_float, default=None, metavar="LRG",
                            help="learning rate of the generator; default: 0.0002 (the paper's code used the "
                                 "critic's)"))
    rare(group.add_argument("--wgan_clip_value", type=arguments.positive_float, default=0.01, metavar="C",
                            help="WGAN keeps the critic's weights in [-C, C]; default=0.01"))
    rare(group.add_argument("--wgangp_lambda", type=arguments.positive_float, default=10.0, metavar="L",
                            help="weight of WGAN-GP's gradient penalty; default=10"))


def add_checkpoints_dir(group: Group) -> None:
    """-c: the folder of the weights."""
    group.add_argument("-c", "--checkpoints_dir", default="checkpoints", metavar="FOLDER",
                       help="folder of the weights; default=checkpoints")


def add_verbose(group: Group) -> None:
    """-v."""
    group.add_argument("-v", "--verbose", action="store_true", help="print more")
