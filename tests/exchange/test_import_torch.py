"""Generators of the paper's PyTorch code: the same pixels; no code in a file is run; one line for each user error."""

import dataclasses
import importlib
import os
import pickle
import resource
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import mutations
from biogans.core import models, trained
from biogans.exchange import import_torch
from biogans.system.errors import InputError

NZ, NGF = 7, 4
LAYOUTS = {     # our architecture: (network of torch_networks, its factors)
    "DCGAN": (lambda t: t.dcgan((24, 40), NZ, NGF), 6),
    "DCGAN-separable": (lambda t: t.dcgan((24, 40), NZ, NGF, part=0.5), 6),
    "DCGAN-starshaped": (lambda t: t.Star((48, 80), NZ, NGF, 6), 6),
    "DCGAN-multichannel": (lambda t: t.dcgan((24, 40), 3 * NZ, 14, 7), 6),
    "DCGAN-separable-multichannel": (lambda t: t.dcgan((24, 40), 3 * NZ, 14, 7, part=0.143), 6),
    "DCGAN-independent": (lambda t: t.Independent((24, 40), NZ, NGF, 3), 3),
    "DCGAN-separable-independent": (lambda t: t.Independent((24, 40), NZ, NGF, 3, part=0.5), 3),
}
AGES = {        # how files are written
    "zip": lambda t, state, path: t.torch.save(state, path),
    "pickles": lambda t, state, path: t.torch.save(state, path, _use_new_zipfile_serialization=False),
    "2017": lambda t, state, path: t.write_as_in_2017(path, state),
}
FACTORS = {6: (), 3: ("-p", "Pom1,Tea1,Tea4")}


@pytest.fixture
def original():
    """The networks in PyTorch."""
    pytest.importorskip("torch", reason="no PyTorch: pip install 'biogans[torch]'")
    return importlib.import_module("torch_networks")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def imported(capsys, *arguments):
    """What the command prints."""
    assert import_torch.main([*map(str, arguments)]) == 0
    return capsys.readouterr().out


def refused(capsys, *arguments):
    """The one line on standard error; nothing was written."""
    before = sorted(os.listdir())
    assert import_torch.main([*map(str, arguments)]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and sorted(os.listdir()) == before
    return line


# ---------------------------------------------------------------------------------------------- the same pixels

@pytest.mark.parametrize("architecture", LAYOUTS)
def test_it_generates_what_pytorch_generates(architecture, original, here, capsys):
    """To 1e-5, with the channels in the order of their names, from the same z."""
    network, number = LAYOUTS[architecture]
    nz = 3 * NZ if "multichannel" in architecture else NZ
    network = original.trained(network(original), nz)
    original.torch.save(network.state_dict(), "netG_iter_50000.pth", _use_new_zipfile_serialization=False)
    printed = imported(capsys, "-i", "netG_iter_50000.pth", "-a", "WGAN-GP", *FACTORS[number])
    (weights,) = (line.split(": ")[1] for line in printed.splitlines() if line.startswith("Output weights"))
    generator = trained.load_generator(weights)
    spec, metadata = generator.spec, generator.metadata
    assert (spec.architecture, metadata.iteration, metadata.weights) == (architecture, 50000, "as trained")
    z = np.random.default_rng(1).standard_normal((5, nz), np.float32)
    expected = original.drawn(network, z)
    assert expected.std() > 0.1
    np.testing.assert_allclose(generator.generate(z), expected, atol=1e-5)
    assert len(spec.channel_names) == expected.shape[-1]


def test_every_architecture_of_the_paper_is_read():
    assert {*LAYOUTS} == {*models.ARCHITECTURES} - {"InfoGAN", "DCGAN-conditional"}


def test_files_of_every_age(original, here, capsys):
    """The zip of today, the pickles of PyTorch 1, and those of 2017, whose arrays have another constructor."""
    network = original.trained(original.dcgan((24, 40), NZ, NGF), NZ)
    z = np.random.default_rng(1).standard_normal((2, NZ), np.float32)
    content = {}
    for age, write in AGES.items():
        write(original, network.state_dict(), here / f"{age}_iter_1.pth")
        content[age] = (here / f"{age}_iter_1.pth").read_bytes()
        imported(capsys, "-i", f"{age}_iter_1.pth", "-a", "GAN", "-c", age)
        generator = trained.load_generator(f"{age}/model.generator.DCGAN.GAN.1.h5")
        np.testing.assert_allclose(generator.generate(z), original.drawn(network, z), atol=1e-5)
    assert content["zip"].startswith(b"PK") and b"_rebuild_tensor_v2" in content["pickles"]
    assert b"_rebuild_tensor\n" in content["2017"] and b"num_batches_tracked" not in content["2017"]


@pytest.mark.parametrize("folder, arguments, algorithm, rates", [
    ("size-48-80_6class_wgangp-star-shaped-adam", (), "WGAN-GP", ("adam", 1e-4)),
    ("size-48-80_6class_wgan-rmsprop", (), "WGAN", ("rmsprop", 5e-5)),
    ("size-48-80_6class_gan-sep-adam", (), "GAN", ("adam", 2e-4)),
    ("size-48-80_6class_gan-sep-adam", ("-a", "wgan"), "WGAN", ("rmsprop", 5e-5))])
def test_the_folders_of_the_paper_name_the_algorithm(here, folder, arguments, algorithm, rates):
    options = import_torch.parser().parse_args(["-i", f"{folder}/netG_iter_9.pth", *arguments])
    settings = import_torch.paper_settings(here / options.input_file, options.gan_algorithm)
    assert (settings.algorithm, settings.optimizer, settings.lrG, settings.average) == (algorithm, *rates, 0)


def test_factors_are_the_papers_or_given(original, capsys):
    star = original.Star((24, 40), NZ, NGF, 6).state_dict()
    original.torch.save(star, "netG_iter_3.pth")
    printed = imported(capsys, "-i", "netG_iter_3.pth", "-a", "GAN")
    assert "Alp14, Arp3, Cki2, Mkh1, Sid2, Tea1 (those of the paper" in printed
    assert "moved the files of an earlier DCGAN-starshaped.GAN.6 to" in imported(
        capsys, "-i", "netG_iter_3.pth", "-a", "GAN", "-p", "A,B,C,D,E,F")
    generator = trained.load_generator("checkpoints/weights.generator.DCGAN-starshaped.GAN.6.h5")
    assert generator.spec.channel_names == ("red", *"ABCDEF")
    assert generator.metadata.imported["file"] == "netG_iter_3.pth"
    assert "generates 6 factors" in refused(capsys, "-i", "netG_iter_3.pth", "-a", "GAN", "-p", "A")


# ---------------------------------------------------------------------------------------------- what is refused

class Code:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch was_run",)


@pytest.mark.parametrize("write", [
    lambda t, path: t.save({"main": Code()}, path),
    lambda t, path: t.save({"main": Code()}, path, _use_new_zipfile_serialization=False),
    lambda t, path: path.write_bytes(pickle.dumps(Code(), protocol=2))])
def test_a_file_with_code_is_refused_and_nothing_is_run(original, here, capsys, write):
    write(original.torch, here / "netG_iter_1.pth")
    assert "contains code to be run (posix.system)" in refused(capsys, "-i", "netG_iter_1.pth", "-a", "GAN")
    assert not (here / "was_run").exists()


def test_a_whole_network_is_refused(original, capsys):
    original.torch.save(original.dcgan((24, 40), NZ, NGF), "netG.pth")
    assert "contains code to be run (torch_networks.Main)" in refused(capsys, "-i", "netG.pth", "-a", "GAN")


@pytest.mark.parametrize("content", [
    b"", b"no network", b"\x80\x02.", b"PK\x03\x04" + bytes(100), b"\x89HDF\r\n\x1a\n" + bytes(99), b"\x80\x02K\x01.",
    bytes(range(256))])
def test_other_files_are_refused(original, here, capsys, content):
    (here / "netG.pth").write_bytes(content)
    assert "netG.pth is not a complete PyTorch weights file" in refused(capsys, "-i", "netG.pth", "-a", "GAN")


@pytest.mark.parametrize("zipped", [True, False])
def test_files_cut_short_are_refused(original, here, capsys, zipped):
    state = original.dcgan((24, 40), NZ, NGF).state_dict()
    original.torch.save(state, "netG.pth", _use_new_zipfile_serialization=zipped)
    whole = (here / "netG.pth").read_bytes()
    for part in (0.01, 0.3, 0.7, 0.99):
        (here / "netG.pth").write_bytes(whole[:int(part * len(whole))])
        assert "is not a complete PyTorch weights file" in refused(capsys, "-i", "netG.pth", "-a", "GAN")


def test_damaged_files_are_read_or_refused_without_a_trace(original, here, recwarn):
    """A changed number is not noticed: files of PyTorch have no digest."""
    contents = []
    for age, write in AGES.items():
        write(original, small(original), here / f"{age}.pth")
        contents.append((here / f"{age}.pth").read_bytes())
    rng, refusals = np.random.default_rng(0), 0
    for k in range(150):
        whole = contents[k % 3]
        damaged = mutations.flip_bits(bytearray(whole[:2500]), rng) + whole[2500:]      # where the pickles are
        (here / "netG.pth").write_bytes(damaged)
        try:
            import_torch.read_state_dict(here / "netG.pth")
        except import_torch.InputError:
            refusals += 1
    assert refusals > 50 and not [warning for warning in recwarn if "pickle" in str(warning.message)]


@pytest.mark.parametrize("change, words", [
    (lambda t: t.critic((24, 40), NGF).state_dict(), "holds a critic, which generates nothing"),
    (lambda t: {f"main.0.{name}": array for name, array in t.critic((24, 40), NGF).state_dict().items()},
     "holds a critic"),
    (lambda t: {"state_dict": small(t)}, "does not hold the named arrays"),
    (lambda t: [t.torch.zeros(2)], "does not hold the named arrays"),
    (lambda t: {}, "does not hold the named arrays"),
    (lambda t: {"main.0.weight": t.torch.eye(3).to_sparse()}, "does not hold the named arrays"),
    (lambda t: {"main.0.weight": t.torch.empty(3, device="meta")}, "does not hold the named arrays"),
    (lambda t: {"main.0.weight": t.nn.Parameter(t.torch.ones(3))}, "holds main.0.weight"),
    (lambda t: {"features.0.weight": t.torch.zeros(3, 3)}, "holds features.0.weight"),
    (lambda t: small(t) | {"main.extra-layers-0.4.conv.weight": t.torch.zeros(4, 4, 3, 3)},
     "holds main.extra-layers-0.4.conv.weight"),
    (lambda t: without(small(t), "batchnorm.running_var"), "has no main.initial.16.batchnorm"),
    (lambda t: without(small(t), "pyramid"), "only generators of the paper's code"),
    (lambda t: without(t.Star((24, 40), NZ, NGF, 6).state_dict(), "main.1.convt_green.1"),
     "has no main.1.convt_green.1"),
    (lambda t: t.dcgan((24, 40), 8, 8, part=0.75).state_dict(), "--red_portion"),
    (lambda t: t.Star((24, 40), NZ, NGF, 3).state_dict(), "generates 3 factors: name them with -p"),
    (lambda t: {"main.initial.7-16.convt.weight": t.torch.zeros(1).expand(10**6, 10**6, 3, 5)}, "claim more bytes"),
    (lambda t: {name: array.reshape(-1) for name, array in small(t).items()},
     "only generators of the paper's code")])
def test_other_networks_are_refused(original, capsys, change, words):
    original.torch.save(change(original), "netG.pth")
    assert words in refused(capsys, "-i", "netG.pth", "-a", "GAN")


def written_by_pytorch(generator, spec):
    """The arrays of a generator of ours under the names, and in the layout, of the paper's code."""
    arrays = {}
    for name, module, _ in import_torch.counterparts(spec):
        kernel, *others = generator.get_layer(name).get_weights()
        if others:
            arrays |= {f"{module}.{kind}": array for kind, array in zip(import_torch.NORMALIZATION, (kernel, *others))}
        elif "projection" in name:
            height, width, _ = spec.halvings
            arrays[f"{module}.weight"] = kernel.reshape(len(kernel), height, width, -1).transpose(0, 3, 1, 2)
        else:
            arrays[f"{module}.weight"] = kernel.transpose(3, 2, 0, 1)
    return arrays


def test_a_huge_network_is_compared_with_the_arrays_before_it_gets_memory():
    """Arrays of 9 MB, whose shapes state a network of 180 GB."""
    spec = models.NetworkSpec("DCGAN", 24, 40, 2, ("A",), nz=NZ, ngf=NGF)
    generator = models.build_generator(spec)
    arrays = written_by_pytorch(generator, spec)
    again = import_torch.rebuild_generator("netG.pth", spec, arrays)
    assert all(map(np.array_equal, generator.get_weights(), again.get_weights()))
    huge = dataclasses.replace(spec, ngf=1 << 14)
    arrays, shape = {}, (NZ, 1, 3, 5)
    for name, module, _ in import_torch.counterparts(huge):
        if "normalization" in name:
            arrays |= {f"{module}.{kind}": np.zeros(1, np.float32) for kind in import_torch.NORMALIZATION}
        else:
            arrays[f"{module}.weight"] = np.zeros(shape, np.float32)
            shape = (1 << 16 if shape[0] == NZ else shape[0] // 2, 2, 4, 4)
    assert import_torch.recognise_network("netG.pth", arrays, ("A",)) == huge
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="has the shape"):
        import_torch.rebuild_generator("netG.pth", huge, arrays)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000        # kilobytes


def small(original):
    return original.dcgan((24, 40), NZ, NGF).state_dict()


def without(state, word):
    return {name: array for name, array in state.items() if word not in name}


def test_errors_of_the_command_line(original, capsys, here):
    assert "missing.pth: no such file" in refused(capsys, "-i", "missing.pth", "-a", "GAN")
    assert "no such file" in refused(capsys, "-i", here, "-a", "GAN")
    original.torch.save(small(original), "netG_iter_5.pth")
    assert "the algorithm that trained it: give -a" in refused(capsys, "-i", "netG_iter_5.pth")


def test_without_pytorch(monkeypatch, capsys, here):
    (here / "netG.pth").write_bytes(b"something")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "has no PyTorch" in refused(capsys, "-i", "netG.pth", "-a", "GAN")


@pytest.mark.parametrize("version, trusted", [("2.5.1", False), ("2.9.1+cpu", False), ("2.10.0", True), ("3.0", True)])
def test_versions_that_can_be_made_to_run_code_are_not_used(monkeypatch, capsys, here, version, trusted):
    """Before 2.10, also when only arrays are requested (CVE-2025-32434, CVE-2026-24747)."""
    def load(*unused, **asked):
        assert trusted and asked["weights_only"]
        raise RuntimeError("not a file of PyTorch's")
    module = SimpleNamespace(__version__=version, __spec__="found", load=load)
    monkeypatch.setitem(sys.modules, "torch", module)
    (here / "netG.pth").write_bytes(b"something")
    words = "is not a complete PyTorch weights file" if trusted else f"PyTorch {version} can be made to run code"
    assert words in refused(capsys, "-i", "netG.pth", "-a", "GAN")


def test_other_commands_name_the_command(here):
    (here / "netG.pth").write_bytes(b"something")
    with pytest.raises(import_torch.InputError, match=r"biogans import_torch -i netG.pth"):
        trained.find("netG.pth")
