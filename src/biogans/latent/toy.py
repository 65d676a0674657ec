"""Write a web page on which a small GAN of points trains live: one file, no server, no network."""

from ..core import trained
from ..system import arguments, launch
from ..system.files import write
from . import pages

SCRIPTS = ("toy_random", "toy_targets", "toy_network", "toy_gan", "toy_view", "toy_charts", "toy")   # in their order


def parser():
    """The command line."""
    p = arguments.Parser(prog="biogans toy", description=__doc__, epilog=(
        "The page shows real and generated points, the critic's score, the slopes that the generated points follow,\n"
        "and curves of the losses and of the fit. GAN, WGAN, WGAN-GP and R1 train on a ring of eight modes, two\n"
        "moons, one Gaussian, or points that you draw. It needs nothing but a browser, on a computer or a phone.\n\n"
        "examples:\n"
        "  biogans toy                     images/toy.html: copy it to your computer and open it\n"
        "  biogans toy -o gan.html"))
    p.add_argument("-o", "--output", metavar="FILE.html", default=trained.IMAGES / "toy.html",
                   help="the page; default=images/toy.html")
    return p


def toy(options):
    """Write the page as the parsed `options` say. Raises InputError for a user error."""
    launch.announce()
    path = pages.page_path(options.output)
    write(path, toy_page())
    print(f"Output page to file: {path}", flush=True)


def toy_page():
    """The page: the bytes of one HTML file."""
    return pages.assemble_page("toy", "Watch a GAN learn", SCRIPTS)


def main(arguments=None):
    return launch.run(toy, parser().parse_args(arguments))
