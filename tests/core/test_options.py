"""Command lines: defaults and their values for each algorithm, invalid values, and a quick --help."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, strategies as st

from biogans import commands
from biogans.core import dataloader, layers, models, options, predict
from biogans.core.gan import ALGORITHMS
from biogans.core.settings import (
    average_decay,
    fade,
    preset_value,
    resolve_network,
    resolve_settings,
    resolve_sizes,
    with_variances,
)
from biogans.system import arguments
from biogans.system.errors import InputError
from conftest import typed

PROGRAMS = [*(f"{name}.py" for name in commands.GROUPS["train and generate"]),
            *(name for name in commands.COMMANDS if name not in commands.GROUPS["train and generate"])]


def parsed(*arguments):
    return options.parser().parse_args(["-d", "data", *map(str, arguments)])


def training(*arguments):
    return resolve_settings(parsed(*arguments))


def refusal(capsys, parser, *arguments):
    """The one line on standard error for a command line that must be refused."""
    with pytest.raises(SystemExit) as end:
        parser.parse_args(list(map(str, arguments)))
    printed = capsys.readouterr()
    assert end.value.code == 2 and not printed.out and printed.err.count("\n") == 1
    return printed.err


# ---------------------------------------------------------------------------------------------- defaults

def test_fixed_defaults():
    given = vars(parsed())
    assert given | {
        "data": "data", "checkpoints_dir": "checkpoints", "polarity_factors": (), "network_model": "DCGAN-starshaped",
        "num_gpus": 1, "seed": 42, "num_G_iters": 1, "wgan_clip_value": 0.01, "wgangp_lambda": 10,
        "use_pretrained_weights": False, "verbose": False, "precision": "float32", "cache": None, "epochs": 50000,
        "skip_bad_images": False, "channels": (), "preset": "paper"} == given
    assert resolve_sizes(parsed(), 1) == {"nz": 100, "ngf": 64, "ndf": 64}


def test_networks_of_seven_channels_are_wider():
    """By 3.5 as in the paper. The factor applies to the sizes of a preset, but not to given ones."""
    assert resolve_sizes(parsed(), 7 / 2) == {"nz": 350, "ngf": 224, "ndf": 224}
    assert resolve_sizes(parsed("--preset", "fast", "-z", "100"), 7 / 2) == {"nz": 100, "ngf": 56, "ndf": 56}


@pytest.mark.parametrize("algorithm, optimizer, beta_1, beta_2, lr_d, updates", [
    ("GAN", "adam", 0.5, 0.999, 2e-4, 1), ("WGAN", "rmsprop", None, None, 5e-5, 5),
    ("WGAN-GP", "adam", 0, 0.9, 1e-4, 5), ("hinge", "adam", 0, 0.9, 2e-4, 5), ("R1", "adam", 0, 0.99, 1e-4, 1)])
def test_defaults_of_the_algorithms(algorithm, optimizer, beta_1, beta_2, lr_d, updates):
    settings = training("-a", algorithm)
    assert (settings.algorithm, settings.optimizer) == (algorithm, optimizer)
    assert (settings.lrD, settings.num_D_iters) == (lr_d, updates)
    assert (settings.lrG, settings.batch_size, settings.num_G_iters, settings.seed) == (2e-4, 64, 1, 42)
    assert beta_1 is None or (settings.beta_1, settings.beta_2) == (beta_1, beta_2)
    assert training("-a", algorithm, "-o", "default") == settings


def test_the_default_algorithm():
    assert training() == training("-a", "WGAN-GP")


@pytest.mark.parametrize("algorithm, optimizer, lr_d", [("GAN", "rmsprop", 5e-5), ("WGAN", "adam", 1e-4),
                                                        ("WGAN-GP", "rmsprop", 5e-5), ("GAN", "adam", 2e-4)])
def test_learning_rate_of_another_optimizer(algorithm, optimizer, lr_d):
    settings = training("-a", algorithm, "-o", optimizer)
    assert (settings.optimizer, settings.lrD) == (optimizer, lr_d)


@pytest.mark.parametrize("iteration, updates", [(0, 100), (24, 100), (25, 5), (499, 5), (500, 100), (501, 5),
                                                (1000, 100)])
def test_updates_of_the_critic_in_an_iteration(iteration, updates):
    """The schedule of the authors' code is WGAN's default; a given number of updates holds in every iteration."""
    settings = training("-a", "WGAN")
    assert ALGORITHMS["WGAN"](settings).critic_updates(iteration) == updates
    assert ALGORITHMS["WGAN-GP"](settings).critic_updates(iteration) == 5
    assert ALGORITHMS["WGAN"](training("-a", "WGAN", "--num_D_iters", 7)).critic_updates(iteration) == 7


def test_critics_with_batch_normalisation():
    """All but those with a gradient penalty."""
    assert {name: algorithm.defaults.critic_batch_norm for name, algorithm in ALGORITHMS.items()} == {
        "GAN": True, "WGAN": True, "WGAN-GP": False, "hinge": True, "R1": False, "RpGAN": False}


def test_given_options_override_the_fast_preset():
    fast = training("--preset", "fast")
    assert (fast.batch_size, fast.num_D_iters, fast.lrD, fast.lrG) == (8, 2, 1e-3, 1e-3)
    names = {"ngf": 16, "ndf": 16, "init": "he"}
    assert {name: preset_value(parsed("--preset", "fast"), name, None) for name in names} == names
    given = parsed("--preset", "fast", "-b", 32, "--num_D_iters", 4, "--lrD", 3e-4, "--lrG", 4e-4, "--ngf", 8,
                   "--init", "paper")
    settings = resolve_settings(given)
    assert (settings.batch_size, settings.num_D_iters, settings.lrD, settings.lrG) == (32, 4, 3e-4, 4e-4)
    assert preset_value(given, "ngf", 64) == 8 and preset_value(given, "init", "paper") == "paper"


@pytest.mark.parametrize("option, value, name", [
    ("-b", 32, "batch_size"), ("--lrD", 0.1, "lrD"), ("--lrG", 0.1, "lrG"), ("--num_D_iters", 3, "num_D_iters"),
    ("--num_G_iters", 2, "num_G_iters"), ("--wgan_clip_value", 0.5, "wgan_clip_value"),
    ("--wgangp_lambda", 1.5, "wgangp_lambda"), ("--r1_gamma", 2.5, "r1_gamma"), ("-s", 0, "seed"),
    ("--average", 0, "average"), ("--average_window", 0.05, "average_window"), ("--lr_hold", 0.25, "lr_hold"),
    ("--lr_schedule", "cosine", "lr_schedule"),
    ("--precision", "tf32", "precision")])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_given_options_become_settings(algorithm, option, value, name):
    assert getattr(training("-a", algorithm, option, value), name) == value


# ---------------------------------------------------------------------------------------------- spellings

def test_short_and_long_options_are_the_same():
    pairs = {"-a": ("--gan_algorithm", "GAN"), "-b": ("--batch_size", 7), "-c": ("--checkpoints_dir", "x"),
             "-e": ("--epochs", 7), "-g": ("--num_gpus", 2), "-m": ("--network_model", "DCGAN"),
             "-M": ("--monitor_progress", 7),
             "-o": ("--optimizer", "adam"), "-p": ("--polarity_factors", "A,B"), "-s": ("--seed", 7), "-z": ("--nz", 7)}
    for short, (long, value) in pairs.items():
        assert parsed(short, value) == parsed(long, value) != parsed()
    assert parsed("-w", "-v") == parsed("--use_pretrained_weights", "--verbose") != parsed()
    assert options.parser().parse_args(["--data", "x"]).data == "x"


@pytest.mark.parametrize("change", [str.lower, str.upper, str.title])
@pytest.mark.parametrize("option, names", [("-a", ALGORITHMS), ("-m", models.ARCHITECTURES),
                                           ("-o", ("default", "adam", "rmsprop")), ("--preset", options.PRESETS),
                                           ("--precision", options.PRECISIONS),
                                           ("--init", layers.INITIALIZERS)])
def test_choices_in_any_case(option, names, change):
    for name in names:
        assert parsed(option, change(name)) == parsed(option, name)


def test_lists():
    assert parsed("-p", "Alp14, Tea1,").polarity_factors == ("Alp14", "Tea1")
    assert parsed("--augment", "Cutout, affine,affine").augment == ("affine", "cutout")     # in the registry's order
    assert parsed("-p", "").polarity_factors == () and parsed("--channels", "2,1").channels == (2, 1)


# ---------------------------------------------------------------------------------------------- invalid values

def test_the_schedule_of_the_learning_rates():
    """Constant for half of the run by default; then along a straight line or half a cosine, to 0 at its end."""
    constant, linear, cosine, no_hold = (training("-e", 1000, *words) for words in (
        (), ("--lr_schedule", "linear"), ("--lr_schedule", "cosine"), ("--lr_schedule", "cosine", "--lr_hold", 0)))
    at = (0, 499, 500, 750, 999, 1000, 5000)
    assert [fade(constant, k) for k in at] == [1] * 7
    assert [fade(linear, k) for k in at] == pytest.approx([1, 1, 1, 0.5, 0.002, 0, 0])
    assert [fade(cosine, k) for k in at] == pytest.approx([1, 1, 1, 0.5, 9.8696e-6, 0, 0], abs=1e-9)
    assert [fade(no_hold, k) for k in (0, 250, 500)] == pytest.approx([1, 0.853553, 0.5], rel=1e-5)


def test_no_iteration_without_learning():
    """The horizon is the end of the run unless a longer one is given; a run beyond it is refused with the remedy."""
    assert training("-e", 1000).horizon == 0
    assert training("-e", 1000, "--lr_schedule", "linear").horizon == 1000
    assert training("-e", 1000, "--lr_schedule", "linear", "--horizon", 4000).horizon == 4000
    with pytest.raises(InputError, match="-e 5000: .* after 4000 iterations .*--start_from"):
        training("-e", 5000, "--lr_schedule", "linear", "--horizon", 4000)


@pytest.mark.parametrize("words", [("--horizon", 100), ("--r1_gamma_last", 0.1)])
def test_options_of_a_schedule_need_one(words):
    with pytest.raises(InputError, match="belong to a schedule: add --lr_schedule"):
        training(*words)
    assert training("-a", "R1", "--lr_schedule", "linear", "-e", 50, *words).horizon in (50, 100)


def test_noise_for_a_network_with_codes_is_refused():
    images = dataloader.Images(np.zeros((4, 16, 24, 2), np.uint8), np.zeros(4, int), ("Tea1",))
    assert resolve_network(parsed("-m", "DCGAN", "--noise"), images).noise
    with pytest.raises(InputError, match="InfoGAN has no noise maps"):
        resolve_network(parsed("-m", "InfoGAN", "--noise"), images)


def test_the_window_of_the_average():
    """A constant decay of 0.99 averages 100 iterations; a window of 5 % averages 50 of 1,000 and 500 of 10,000."""
    constant, window = training(), training("--average_window", 0.05)
    assert [average_decay(constant, k) for k in (0, 5000)] == pytest.approx([0.1, 0.99])
    assert [1 / (1 - average_decay(window, k)) for k in (999, 9999)] == pytest.approx([51, 501])
    assert average_decay(training("--average", 0), 100) == 0


def test_one_kind_of_average():
    with pytest.raises(InputError, match="--average_window takes the place of --average"):
        training("--average", 0.9, "--average_window", 0.1)
    assert training("--average_window", 0.1).averages and training().averages and not training("--average", 0).averages


def test_variety_is_for_networks_that_separate_red():
    assert training("--variety", 2).variety == 2 and training().variety == 0
    with pytest.raises(InputError, match="DCGAN generates red and green together"):
        training("-m", "DCGAN", "--variety", 2)


def test_the_variety_of_neighbours_in_red():
    """Of cells in pairs of nearly equal red, whose greens differ by noise of standard deviation 0.1: 0.8 of 0.01."""
    rng = np.random.default_rng(0)
    red = np.repeat(rng.uniform(0.2, 1, (50, 16, 16, 1)), 2, axis=0) + rng.normal(0, 0.01, (100, 16, 16, 1))
    green = 0.5 + rng.normal(0, 0.1, (100, 16, 16, 1))
    pixels = np.clip(np.concatenate([red, green], axis=-1) * 255, 0, 255).astype(np.uint8)[rng.permutation(100)]
    images = dataloader.Images(pixels, np.zeros(100, int), ("Tea1",))
    spec = models.NetworkSpec("DCGAN-separable", 16, 16, 2, ("Tea1",))
    settings = with_variances(training("-m", "DCGAN-separable", "--variety", 1), spec, images)
    assert settings.green_variance == pytest.approx([0.008], rel=0.05)
    assert with_variances(training(), spec, images).green_variance == ()
    constant = dataloader.Images(np.full_like(pixels, 128), np.zeros(100, int), ("Tea1",))
    with pytest.raises(InputError, match="the greens of a factor do not vary"):
        with_variances(training("-m", "DCGAN-separable", "--variety", 1), spec, constant)


INVALID = [(option, value) for option, values in {
    "-b": (-1, 0, "nan", 1.5, "x", 10**20, ""), "-z": (0, -5, "nan"), "-e": (0, -1, "1e3"), "-g": (0, -1), "-M": (0,),
    "--ngf": (0,), "--ndf": (-3,), "--num_D_iters": (0,), "--num_G_iters": (0,), "-s": (-1, 2**31, "x"),
    "--lrD": (0, -1e-4, "nan", "inf", "x"), "--lrG": ("nan", "-inf"), "--wgan_clip_value": (0, -1, "nan"),
    "--wgangp_lambda": (-1, "nan"), "--r1_gamma": (0, "nan"), "--average": (1, -0.1, "nan"),
    "--average_window": (1, -0.1), "--lr_hold": (1, "nan"), "--horizon": (0, 1.5), "--lr_schedule": ("step",),
    "--channels": ("0,1", "a", "1.5"), "-a": ("WGANGP", ""), "-m": ("DCGAN-star",), "-o": ("sgd",),
    "--preset": ("slow",), "--save_minutes": (0, "nan"),
    "--keep": (0, -1, "x"), "--augment": ("rotation", "x,affine"), "--keep_every": (0, "nan"),
}.items() for value in values]


@pytest.mark.parametrize("option, value", INVALID)
def test_invalid_values_are_refused_in_one_line(capsys, option, value):
    line = refusal(capsys, options.parser(), "-d", "data", option, value)
    assert line.startswith("train.py: ") and option in line and "-h explains" in line
    assert str(value).split(",")[0] in line or str(value).startswith("-")


@pytest.mark.parametrize("option, value", [("-b", 0), ("-n", 0), ("-n", "nan"), ("-s", -1), ("-z", 0), ("-a", "x"),
                                           ("-m", "x")])
def test_invalid_values_of_predict(capsys, option, value):
    line = refusal(capsys, predict.parser(), "-i", "file", option, value)
    assert line.startswith("predict.py: ") and option in line and str(value) in line


def test_abbreviated_and_missing_options(capsys):
    assert "--epoch" in refusal(capsys, options.parser(), "-d", "data", "--epoch", 3)
    assert "-d" in refusal(capsys, options.parser())
    assert "-i" in refusal(capsys, predict.parser())


@given(st.floats() | st.integers())
def test_every_number_is_accepted_or_refused(number):
    """A learning rate is any positive finite number; all others raise SystemExit(2)."""
    try:
        accepted = parsed(f"--lrD={number}").lrD
    except SystemExit as end:
        assert end.code == 2 and not 0 < float(number) < float("inf")
    else:
        assert accepted == float(number) > 0


WORDS = st.sampled_from(["-d", "-a", "-m", "-b", "-e", "-w", "-p", "-g", "-z", "-s", "-c", "--keep", "--keep_every",
                         "--lrD", "--average", "--channels", "--preset", "-i", "-n", "--save_minutes", "data", "WGAN",
                         "0", "1", "-1", "1e3", "nan", "", "--", "-x", "\0", "é"]) | st.text(max_size=8)


@given(st.lists(WORDS, max_size=8), st.sampled_from([options.parser, predict.parser]))
def test_any_command_line_is_accepted_or_refused_in_one_line(words, parser):
    words = [word for word in words if word not in ("-h", "--help")]
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            given = parser().parse_args(words)
    except SystemExit as end:
        assert end.code == 2 and printed.getvalue().count("\n") == 1
    else:
        assert not printed.getvalue()
        if parser is options.parser:
            settings = resolve_settings(given)
            assert settings.lrD > 0 and settings.batch_size > 0 and settings.algorithm in ALGORITHMS
            assert given.keep >= 1 and (given.keep_every is None or given.keep_every >= 1)


def test_checkpoints_to_keep():
    assert (parsed().keep, parsed().keep_every) == (2, None)
    assert parsed("--keep", 5, "--keep-every", 1000) == parsed("--keep", 5, "--keep_every", 1000)


def test_options_of_predict_are_none_unless_given():
    """None does not contradict the file."""
    options = vars(predict.parser().parse_args(["-i", "file"]))
    assert options.pop("given") == {"input_file"}
    assert {name: value for name, value in options.items() if value not in (None, False, ())} == {
        "input_file": "file", "number": 1, "format": "h5", "checkpoints_dir": "checkpoints"}


def test_the_names_of_given_options():
    """Also if the given value is the default, and whatever the spelling; defaults are as without this record."""
    given = parsed("--batch-size", "64", "-w", "--seed=42").given
    assert given == {"data", "batch_size", "use_pretrained_weights", "seed"}
    assert parsed().given == {"data"} and parsed().epochs == 50000 and parsed().critic_bursts is None


# ---------------------------------------------------------------------------------------------- --help

LONG_OPTIONS = {
    "train.py": "gan_algorithm batch_size checkpoints_dir data epochs num_gpus lrD lrG network_model monitor_progress "
                "num_D_iters num_G_iters ngf ndf optimizer polarity_factors seed use_pretrained_weights nz "
                "wgan_clip_value wgangp_lambda verbose help",
    "predict.py": "input_file z batch_size checkpoints_dir data debug evaluate lrD lrG network_model ndf ngf optimizer "
                  "polarity_factors seed verbose use_pretrained_weights wgan_clip_value wgangp_lambda nz help",
    "visualize.py": "input_file output verbose help",
    "simulate": "output full seed help",
    "reconstruct": "input_file data number order restarts iterations seed polarity_factors help",
    "interpolate": "input_file seeds stack cells data cycle number seed frames fps open scale output help",
    "explore": "input_file output checkpoints_dir serve port help",
    "evaluate": "input_file data polarity_factors pairs codes usefulness joint name critic fast splits split seed "
                "output combine report checkpoints_dir help",
    "collect": "data output seed palette transmitted help",
    "traverse": "input_file code number steps reach training seed help",
    "pseudotime": "input_file data along channel code seed help",
    "get_data": "from url cache polarity_factors output test number seed help",
    "preprocess": "input output settings channels axes z every without threshold binary size crops least focus test "
                     "seed jobs overwrite help",
    "cells": "input output teach filter channels find threshold smallest size face help",
    "simulate_videos": "output number frames size seed help",
    "diversity": "input_file data number seed output checkpoints_dir help",
    "same_red": "input_file data number reds polarity_factors seed output palette transmitted checkpoints_dir help",
    "compare": "data network_models gan_algorithms minutes seeds output jobs help",
    "card": "input_file evaluation notes output checkpoints_dir help",
    "saliency": "input_file data polarity_factors channel number seed output checkpoints_dir help",
    "export": "input_file format output checkpoints_dir name author github license help",
    "import_torch": "input_file gan_algorithm polarity_factors checkpoints_dir help",
    "label": "input_file data number draws iterations format seed polarity_factors palette transmitted checkpoints_dir "
             "help",
    "atlas": "input_file data seed output help", "toy": "output help",
}
LETTERS = {"train.py": "abcdegmMopswzvh", "predict.py": "ibcdDemopsvwzh", "visualize.py": "ivh", "simulate": "oh",
           "reconstruct": "idnpsbch", "interpolate": "idnpsoch", "collect": "dosh", "evaluate": "idpsoch",
           "explore": "ioch", "traverse": "insch", "pseudotime": "idsch", "get_data": "onpsh",
           "preprocess": "iosjh", "cells": "iosh", "simulate_videos": "onsh",
           "diversity": "idnsoch", "same_red": "idnpsoch", "compare": "dmasoh", "card": "ioch", "saliency": "idpnsoch",
           "export": "ifoch",
           "import_torch": "iapch", "label": "idnspch", "atlas": "idsoh", "toy": "oh"}


@pytest.mark.parametrize("command", PROGRAMS)
def test_help_is_complete(run, command):
    """It has at least these options."""
    done = run(command, "--help_all" if command in ("train.py", "predict.py") else "-h")
    assert done.returncode == 0 and not done.stderr
    documented = set(re.findall(r"--?[A-Za-z][\w-]*", done.stdout))
    assert {f"--{name}" for name in LONG_OPTIONS[command].split()} <= documented
    assert {f"-{letter}" for letter in LETTERS[command]} <= documented
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_help_fits_a_screen(run):
    """-h shows the options that most runs use, examples, and --help_all, which shows all options."""
    wide = {"env": os.environ | {"COLUMNS": "100"}}
    short, whole = run("train.py", "-h", **wide).stdout, run("train.py", "--help_all", **wide).stdout
    assert len(short.splitlines()) <= 50 and "examples:" in short and "--help_all" in short
    assert "--wgan_clip_value" not in short and len(whole.splitlines()) > 80
    shown = set(re.findall(r"^  (?:-\w[^,]*, )?(--\w+)", short, re.MULTILINE))
    assert 14 <= len(shown) <= 18 and shown < set(re.findall(r"--\w+", whole))
    assert "--lrD" not in run("predict.py", "-h").stdout            # it could only contradict the file


@pytest.mark.parametrize("command", PROGRAMS)
def test_options_are_spelled_with_underscores(command):
    p = commands.load(command.removesuffix(".py")).parser()
    names = [name for action in p._actions for name in action.option_strings if name.startswith("--")]
    assert not [name for name in names if "-" in name[2:]]


def test_hyphens_are_accepted():
    assert parsed("--batch-size", 3, "--num-D-iters=2") == parsed("--batch_size", 3, "--num_D_iters=2")
    p = arguments.Parser(prog="x")
    p.add_argument("--a_b", nargs="*")
    p.add_argument("rest", nargs="*")
    given = p.parse_args(["--a-b", "c-d", "--", "--a-b"])
    assert given.a_b == ["c-d"] and given.rest == ["--a-b"]         # values, and what follows --, stay as they are


IMPORTS = """
import json, runpy, sys
found = []
for words in json.loads(sys.argv[1]):
    before, sys.argv = set(sys.modules), words
    try:
        runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        found.append([end.code, sorted(set(sys.modules) - before)])
with open(words[-1], "w") as file:
    json.dump(found, file)
"""


@pytest.fixture(scope="module")
def imports(tmp_path_factory):
    """{(command, word): (its exit status, what it imported that those before it had not)}, in one process."""
    file = tmp_path_factory.mktemp("imports") / "found.json"
    cases = [(command, word) for command in PROGRAMS for word in ("-h", "--no-such-option")]
    words = [[*map(str, typed(command)[1:]), word, str(file)] for command, word in cases]
    subprocess.run([sys.executable, "-c", IMPORTS, json.dumps(words)], capture_output=True, check=True)
    return dict(zip(cases, json.loads(file.read_text()), strict=True))


@pytest.mark.parametrize("command", PROGRAMS)
def test_help_and_mistakes_import_no_large_library(imports, command):
    large = re.compile(r"(keras|tensorflow|matplotlib|scipy|h5py|imageio|skimage|sklearn)\b")
    for word, expected in (("-h", 0), ("--no-such-option", 2)):
        status, imported = imports[command, word]
        assert status == expected and not [name for name in imported if large.match(name)]
    assert {"biogans.system.launch", "biogans.system.errors"} <= {*imports[PROGRAMS[0], "-h"][1]}


def test_help_names_the_defaults_of_the_paper(run):
    text = " ".join(run("train.py", "--help_all").stdout.split())
    for words in ("default=WGAN-GP", "default=64", "default=checkpoints", "default=DCGAN-starshaped", "default=42",
                  "default=100", "default=0.01", "default=10", "default: 0.0002",
                  "0.0002 for GAN, 5e-05 for WGAN, 0.0001 for WGAN-GP"):
        assert words in text


def test_the_fast_preset_of_a_plain_gan_keeps_the_papers_rate_of_the_discriminator():
    """A discriminator that learns five times as fast as the paper's would win at once."""
    fast = training("--preset", "fast", "-a", "GAN")
    assert (fast.batch_size, fast.num_D_iters, fast.lrD, fast.lrG) == (8, 1, 2e-4, 1e-3)
    assert fast.augment == ("affine",)
    assert preset_value(parsed("--preset", "fast", "-a", "gan"), "init", "paper") == "he"
