"""`module load biogans` with environment-modules and with Lmod, whichever are installed."""

import os
import re
import shutil

import pytest

from conftest import ROOT
from module_shell import LOAD_LINE, SHOW, VERSION, shown


@pytest.fixture
def prefix(tmp_path):
    """A function that creates an installation elsewhere, from the parts of the checkout that the module needs."""
    def install(name):
        home = tmp_path / name
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "cell*")
        for part in ("bin", "src", "modulefiles", "data", "data_48-80"):
            shutil.copytree(ROOT / part, home / part, ignore=ignored)
        (home / ".venv").mkdir()
        (home / ".venv/installed").touch()
        return home
    return install


def test_load(module):
    done = module(f"module load biogans; {SHOW}")
    assert (done.returncode, done.stdout, done.stderr) == (0, shown(ROOT), LOAD_LINE)


def test_what_users_type(module):
    """The session in the user's guide: list the commands and sources, copy the sources and the sample data."""
    done = module("module load biogans; ls $BG_BIN; ls $BG_SRC; cp $BG_SRC/* . && echo copied; ls models.py; "
                  "cp -r $BG_DATA_48-80/* .; ls -d */; cp -r $BG_DATA\\_48-80/* .; cp -r ${BG_DATA}_48-80/* .; "
                  "ls $BG_DATA; ls -d data/*/; "
                  "echo images: $(ls images)")
    names = done.stdout.split()
    assert done.returncode == 0 and done.stderr == LOAD_LINE
    assert {"train.py", "predict.py", "visualize.py", "models.py", "options.py", "dataloader.py"} <= set(names)
    assert [name for name in names if name.endswith("/")] == [
        "checkpoints/", "data/", "images/",
        "data/LIN_Normalized_WT_size-48-80_test/", "data/LIN_Normalized_WT_size-48-80_train/"]
    assert "copied" in names and names.count("models.py") == 2 and done.stdout.endswith("images:\n")


def test_an_edited_copy_drives_every_command(module):
    """With BG_SRC, the module's own variable, pointing at the copy; from another folder."""
    done = module("module load biogans; mkdir copy elsewhere; cp $BG_SRC/* copy; echo 'print(\"my networks\")' >> "
                  "copy/models.py; export BG_SRC=$PWD/copy; cd elsewhere; train.py -h | head -n 1; "
                  "biogans evaluate -h | head -n 1; biogans explore -h | head -n 1; "
                  "python ../copy/predict.py -h | head -n 1")
    assert done.stdout == 4 * "my networks\n", done.stderr


@pytest.mark.parametrize("command", ["train.py", "predict.py", "visualize.py"])
def test_commands_are_on_path(module, command):
    done = module(f"module load biogans; command -v {command}; {command} -h")
    assert done.returncode == 0 and done.stdout.startswith(f"{ROOT}/bin/{command}\nusage: {command}"), done.stderr


def test_completion(module):
    """The Tab key completes options until the module is unloaded."""
    done = module("module load biogans; complete -p train.py; module unload biogans; complete -p train.py")
    assert done.stdout == """complete -o default -C '"$BG_BIN/biogans" complete' train.py\n""", done.stderr


def test_unload_restores(module):
    done = module('before=$PATH; module load biogans; module unload biogans; [ "$PATH" = "$before" ] && echo same; env')
    assert done.returncode == 0 and done.stdout.startswith("same\n")
    assert not re.search("^BG_", done.stdout, re.MULTILINE)
    assert done.stderr == LOAD_LINE     # once, not on unload


def test_the_version():
    """The modulefile's name and the default equal the version of the sources."""
    assert f'__version__ = "{VERSION}"' in (ROOT / "src/biogans/__init__.py").read_text()
    assert f'"{VERSION}"' in (ROOT / "modulefiles/biogans/.version").read_text()
    assert (ROOT / "modulefiles/biogans" / VERSION).is_file()


def test_the_default_version(module, prefix):
    """With a later version beside it, `module load biogans` still loads the version named in .version."""
    home = prefix("apps")
    shutil.copy(home / "modulefiles/biogans" / VERSION, home / "modulefiles/biogans/9.0.0")
    assert module("module load biogans", home).stderr == LOAD_LINE
    assert module("module load biogans/9.0.0", home).stderr == "[+] Loading biogans 9.0.0\n"


def test_whatis(module):
    done = module("module whatis biogans")
    for key in ("Name: BioGANs", f"Version: {VERSION}", "Category: ", "Description: ", "URL: https://"):
        assert key in done.stdout + done.stderr


def test_help_gives_the_first_commands(module):
    done = module("module help biogans")
    for words in ("cp -r $BG_DATA_48-80/* .", "train.py -d data", "predict.py -i ", "visualize.py -i ", "BG_SRC"):
        assert words in done.stdout + done.stderr
    assert "Loading" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["apps", "a folder with spaces"])
def test_a_moved_prefix(module, prefix, name):
    """Copied, then moved: the module finds its new location, and its commands run from there."""
    if " " in name and module.name == "Lmod":
        pytest.skip("Lmod itself can't read a .version file in a folder with spaces")
    home = prefix("first")
    home = home.rename(home.with_name(name))
    done = module(f'module load biogans; {SHOW}; ls "$BG_BIN/train.py"; cp -r "${{BG_DATA}}"_48-80/* .; train.py -h',
                  home)
    assert done.returncode == 0 and done.stderr == LOAD_LINE
    assert done.stdout.startswith(f"{shown(home)}{home}/bin/train.py\nusage: train.py")


def test_links_to_the_modulefile(module, prefix, tmp_path):
    """A site's module tree may contain a link to the folder or to the file."""
    home = prefix("apps")
    (tmp_path / "folder").mkdir()
    os.symlink(home / "modulefiles/biogans", tmp_path / "folder/biogans")
    (tmp_path / "file/biogans").mkdir(parents=True)
    os.symlink(home / "modulefiles/biogans" / VERSION, tmp_path / "file/biogans" / VERSION)
    for use in ("folder", "file"):
        done = module(f"module load biogans; {SHOW}", use=tmp_path / use)
        assert (done.stdout, done.stderr) == (shown(home), LOAD_LINE)


def test_a_copied_modulefile_reports_what_to_edit(module, tmp_path):
    """Away from its prefix it loads nothing and reports why, instead of setting paths that do not exist."""
    shutil.copytree(ROOT / "modulefiles", tmp_path / "site/modulefiles")
    done = module('module load biogans || echo "failed: $BG_HOME"', use=tmp_path / "site/modulefiles")
    assert done.stdout == "failed: \n" and LOAD_LINE not in done.stderr
    assert "set home in" in " ".join(done.stderr.split())


def test_an_incomplete_installation_is_refused(module, prefix):
    home = prefix("apps")
    (home / ".venv/installed").unlink()
    done = module('module load biogans || echo "failed: $BG_HOME"', home)
    assert done.stdout == "failed: \n" and LOAD_LINE not in done.stderr
    words = f"the installation in {home} is not complete: repeat make install"
    assert words in (" ".join(done.stderr.split()) if module.name == "Lmod" else done.stderr.splitlines()[0])
    assert "while executing" not in done.stderr
