"""Make data folders of public or simulated images."""

from pathlib import Path

from ..system import arguments, launch
from ..system.errors import InputError
from ..system.files import write
from . import data_folder, labelled_images, lin_archive, yeast
from .download import fetch
from .public_data import PUBLIC

FACTORS = tuple(yeast.FACTORS)                      # the six of the paper
SOURCES = ("lin-48-80", "lin-96-160", "ifc", "mnist", "digits", "round")


def parser():
    """The command line."""
    p = arguments.Parser(prog="biogans get_data", description=__doc__ + "\n\n"
                         "The images are written as train.py reads them, FOLDER/<name>_train/<class>/*.png and\n"
                         "FOLDER/<name>_test/…; the seed decides which ones are held out for testing (LIN is already\n"
                         "split). Downloads are kept in a cache, and an interrupted one resumes when the command is\n"
                         "repeated. The licence and the citation are shown before the download and kept in\n"
                         "FOLDER/SOURCE.txt.",
                         epilog="examples:\n"
                         "  biogans get_data lin-48-80 -o lin       the cells of the paper: 438 MB\n"
                         "  biogans get_data lin-48-80 --from LIN_Normalized_WT_size-48-80.zip -o lin\n"
                         "  biogans get_data ifc -o ifc             Jurkat cells (Blasi et al. 2016): 61 MB\n"
                         "  biogans get_data mnist -o mnist         70,000 digits: 12 MB\n"
                         "  biogans get_data digits -o digits       1,797 digits of 16x16 pixels: no download\n"
                         "  biogans get_data round -o round         simulated round cells of known age\n"
                         "then: train.py -d lin, or train.py -d ifc -m InfoGAN -a GAN --preset infogan --no_flips")
    p.add_argument("what", choices=SOURCES, metavar="WHAT",
                   help="lin-48-80 | lin-96-160 | ifc | mnist | digits (of scikit-learn, enlarged twice) | "
                        "round (simulated)")
    p.add_argument("-o", "--output", metavar="FOLDER", required=True, help="data folder to make, required")
    p.add_argument("--from", dest="source", metavar="PATH",
                   help="the LIN archive, or the folder of the files of mnist or ifc, instead of a download")
    p.add_argument("--url", metavar="URL", help="URL of a folder with copies of these files, to download from instead")
    p.add_argument("--cache", metavar="FOLDER", help="folder that keeps downloads; default: ~/.cache/biogans")
    p.add_argument("-p", "--polarity_factors", type=arguments.comma_separated, default=FACTORS, metavar="A,B",
                   help="factors of LIN, or all; default: those of the paper, " + ",".join(FACTORS))
    p.add_argument("--test", type=float, default=0.1, metavar="FRACTION",
                   help="fraction of the images of each class to hold out for testing; default=0.1")
    p.add_argument("-n", "--number", type=arguments.at_least_two, default=4000, metavar="N",
                   help="number of simulated cells; default=4000")
    p.add_argument("-s", "--seed", type=arguments.seed, default=42, metavar="N",
                   help="random seed for the choice of test images and for simulated cells; default=42")
    return p


def get_data(options):
    """Write the data folder that the parsed options ask for. Raises InputError for a user's mistake."""
    if not 0 < options.test < 1:
        raise InputError(f"--test {options.test}: give a fraction between 0 and 1")
    output, public = Path(options.output), PUBLIC.get(options.what)
    data_folder.require_new(output)
    if public is None and (options.source or options.url):
        raise InputError(f"--from, --url: {options.what} needs no files: leave this option out")
    if options.source and not Path(options.source).exists():
        raise InputError(f"{options.source}: no such file or folder: give downloaded files with --from, or leave it "
                         f"out")
    source = None
    if public:
        print(public.about, flush=True)
        source = Path(options.source or fetch(options.what, options.cache, options.url))
    if options.what.startswith("lin"):
        archive = source / next(iter(public.files)) if source.is_dir() else source
        lin_archive.extract(archive, output, options.polarity_factors)
    else:
        labelled = labelled_from(source, options)
        held_out = data_folder.choose_held_out(labelled.labels, options.test, options.seed)
        data_folder.write_labelled(output, labelled, held_out)
    if public:
        write(output / "SOURCE.txt", f"{public.about}\n".encode())


def labelled_from(source, options):
    """LabelledImages of options.what, read from the file or folder `source` if they are not included or simulated."""
    if options.what == "digits":
        return labelled_images.load_digits()
    if options.what == "round":
        return labelled_images.simulate_round_cells(options.number, options.seed)
    read = {"ifc": labelled_images.read_cytometer, "mnist": labelled_images.read_mnist}
    return read[options.what](source)


def main(arguments=None):
    """Run the command; return its exit status."""
    return launch.run(get_data, parser().parse_args(arguments))
