"""Commands do not depend on the shell that starts them: variables, settings of other programs, streams, names."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import ROOT

CORE = ROOT / "src" / "biogans" / "core"
OWN_PYTHON = (ROOT / ".venv" / "bin" / "python").exists()
NO_HOME = {"HOME": "/proc/none", "TMPDIR": "/nonexistent"}
ESCAPE, SHOWN = "a\x1b[31mred\x9b0m", r"a\x1b[31mred\x9b0m"
PREPARED = "from biogans.system import surroundings; surroundings.prepare_process(); "


def start(words, folder, shell="", **environment):
    """Run a command in `folder` as a shell starts it; `shell` follows the words, such as ">&-"."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    plain = {name: value for name, value in os.environ.items()
             if name == "PYTHONDONTWRITEBYTECODE" or not name.startswith(("PYTHON", "LC_", "LANG"))}
    return subprocess.run(["bash", "-c", f'"$@" {shell}', "bash", *map(str, words)], cwd=folder, text=True,
                          capture_output=True, timeout=120, encoding="utf-8", errors="backslashreplace",
                          env=plain | {"PATH": path, "DISPLAY": "", "WAYLAND_DISPLAY": ""} | environment)


def python(code, folder, *options, **environment):
    """Run code that imports the package."""
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); {PREPARED}{code}"
    return start([sys.executable, *options, "-c", code], folder, **environment)


@pytest.fixture
def cell(tmp_path):
    """An image file, two levels below the test's folder."""
    path = tmp_path / "images of é" / "Zellen µ" / "é.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 24, 3), np.uint8)).save(path)
    return path


@pytest.fixture
def other_module(tmp_path):
    """A folder of another module's libraries, which do not even import."""
    folder = tmp_path / "other module"
    folder.mkdir()
    for name in ("numpy", "PIL", "keras", "h5py", "matplotlib"):
        (folder / f"{name}.py").write_text("raise SystemError('of another module')\n")
    return folder


@pytest.fixture(params=["bin", "copy", "pip"])
def visualize(request, tmp_path):
    """The words that start visualize.py: of the module, of a copy of the core, and as pip installs the program."""
    if request.param == "bin":
        return [ROOT / "bin/visualize.py"]
    if request.param == "copy":
        shutil.copytree(CORE, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))
        return ["env", f"BG_HOME={ROOT}", "python3", tmp_path / "copy/visualize.py"]
    shutil.copytree(CORE.parent, tmp_path / "lib/biogans", ignore=shutil.ignore_patterns("__pycache__", "page"))
    (tmp_path / "biogans").write_text(f"import sys\nsys.path.append({str(tmp_path / 'lib')!r})\n"
                                      "from biogans.commands import main\nsys.exit(main())\n")
    return [sys.executable, tmp_path / "biogans", "visualize"]


def assert_quiet(done, status=0):
    assert (done.returncode, done.stderr) == (status, ""), done


# ---------------------------------------------------------------------------------------------- variables of Python

def test_python_of_another_module(visualize, cell, other_module, tmp_path):
    """PYTHONPATH of a module with other libraries, ~/.local with such, and switches that change how Python runs."""
    version = "python{}.{}".format(*sys.version_info)
    local = tmp_path / "home/.local/lib" / version
    local.mkdir(parents=True)
    (local / "site-packages").symlink_to(other_module)
    done = start([*visualize, "-i", cell, "-o", "a.png"], tmp_path, PYTHONPATH=f"{other_module}:", PYTHONOPTIMIZE="2",
                 PYTHONWARNINGS="error", PYTHONSAFEPATH="1", PYTHONSTARTUP="/nonexistent", HOME=str(tmp_path / "home"))
    assert_quiet(done)
    assert done.stdout == "Output picture to file: a.png\n"


@pytest.mark.skipif(not OWN_PYTHON, reason="this installation has no environment of its own")
@pytest.mark.parametrize("script", ["train.py -h", "predict.py -h", "visualize.py -h", "biogans evaluate -h"])
def test_variables_that_no_python_survives(script, other_module, tmp_path):
    """The scripts start the installation's Python without them."""
    for name in ("pathlib", "typing", "enum", "re"):
        (other_module / f"{name}.py").write_text("raise SystemError('of Python 2')\n")
    name, *words = script.split()
    done = start([ROOT / "bin" / name, *words], tmp_path, PYTHONHOME="/nonexistent", PYTHONPATH=str(other_module),
                 PYTHONHASHSEED="x", PYTHONIOENCODING="x", PYTHONVERBOSE="1", PYTHONINSPECT="1")
    assert_quiet(done)
    assert done.stdout.startswith("usage: ")


def test_a_broken_home_of_python_without_an_own_environment(tmp_path):
    """The scripts then take the python3 of PATH."""
    for part in ("bin", "src"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__", "page"))
    done = start([tmp_path / "bin/biogans", "version"], tmp_path, PYTHONHOME="/nonexistent")
    assert_quiet(done)


def test_all_scripts_start_python_alike():
    heads = {(ROOT / "bin" / name).read_text().rpartition("commands;")[0]
             for name in ("train.py", "predict.py", "visualize.py", "biogans")}
    assert len(heads) == 1


def test_another_python_starts_the_package_as_a_program(tmp_path):
    done = start(["python3", "-OO", "-m", "biogans", "evaluate", "-h"], tmp_path, PYTHONPATH=str(ROOT / "src"))
    assert_quiet(done)
    assert done.stdout.startswith("usage: biogans evaluate")


def test_libraries_that_only_pythonpath_has(tmp_path):
    """They keep their place: a module may provide TensorFlow that way."""
    (tmp_path / "module").mkdir()
    for name in ("keras", "numpy"):
        (tmp_path / f"module/{name}.py").touch()
    code = "import numpy; print(numpy.__file__)"
    bare = f"{sys.base_prefix}/bin/python3"
    if start([bare, "-I", "-c", "import keras"], tmp_path).returncode == 0:
        pytest.skip("this Python itself has Keras")
    done = start([bare, "-c", f"import sys; sys.path.append({str(ROOT / 'src')!r}); {PREPARED}{code}"], tmp_path,
                 PYTHONPATH=str(tmp_path / "module"))
    assert done.stdout == f"{tmp_path}/module/numpy.py\n", done.stderr


def test_child_processes_search_libraries_in_the_same_order(tmp_path, other_module):
    child = ("import subprocess; sys.exit(subprocess.run([sys.executable, '-c', "
             "'import numpy; print(numpy.__version__)']).returncode)")
    for options in ([], ["-I"]):
        done = python(child, tmp_path, *options, PYTHONPATH=str(other_module))
        assert_quiet(done)
        assert done.stdout == f"{np.__version__}\n"


# ---------------------------------------------------------------------------------------------- settings of libraries

def test_pictures_ignore_settings_of_matplotlib(visualize, cell, tmp_path):
    """Nonsense in the current folder, letters that no UTF-8 has in others; and no home folder is needed."""
    (tmp_path / "mine").write_bytes(b"\xe9")
    (tmp_path / "matplotlib").mkdir()
    shutil.copy(tmp_path / "mine", tmp_path / "matplotlib/matplotlibrc")
    assert_quiet(start([*visualize, "-i", cell, "-o", "a.png"], tmp_path))
    (tmp_path / "matplotlibrc").write_text("nonsense: 1\nfigure.dpi: seven\nfont.size: 30\n")
    assert_quiet(start([*visualize, "-i", cell, "-o", "b.png"], tmp_path, MPLBACKEND="nonsense", MATPLOTLIBRC="mine",
                       XDG_CONFIG_HOME=str(tmp_path), **NO_HOME))
    assert Image.open(tmp_path / "a.png").tobytes() == Image.open(tmp_path / "b.png").tobytes()


def test_a_known_backend_of_matplotlib_is_used(tmp_path):
    for name, used in (("svg", "svg"), ("nonsense", "None")):
        done = python("import matplotlib; print(matplotlib.get_backend(auto_select=False))", tmp_path, MPLBACKEND=name)
        assert done.stdout == f"{used}\n", done.stderr


def test_networks_ignore_settings_of_keras(tmp_path):
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras/keras.json").write_text('{"floatx": "nonsense", "image_data_format": "channels_first"}')
    done = python("from biogans.system.lazy import keras; print(keras.config.floatx(), keras.config.backend())",
                  tmp_path, HOME=str(tmp_path), KERAS_BACKEND="", KERAS_MAX_EPOCHS="x")
    assert_quiet(done)
    assert done.stdout == "float32 tensorflow\n"


# ---------------------------------------------------------------------------------------------- languages and names

PLUGINS = """
import ctypes, glob, os, h5py
library, = glob.glob(os.path.dirname(h5py.__file__) + ".libs/libhdf5-*.so*")
state = ctypes.c_uint(99)
assert ctypes.CDLL(library).H5PLget_loading_state(ctypes.byref(state)) == 0
print(state.value)
"""


def test_hdf5_loads_no_plugins(tmp_path):
    """A file names the filters of its arrays, so it would choose what is loaded from another module's folder."""
    done = python(f"exec({PLUGINS!r})", tmp_path, HDF5_PLUGIN_PATH=str(tmp_path))
    assert done.stdout == "0\n", done.stderr


@pytest.mark.parametrize("locale", [{}, {"LANG": "xx_XX", "PYTHONIOENCODING": "ascii"},
                                    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_letters_outside_of_ascii(locale, visualize, cell, tmp_path):
    """In names and texts, whatever language is set."""
    done = start([*visualize, "-v", "-i", cell.relative_to(tmp_path), "-o", "é µ.png"], tmp_path, **locale)
    assert_quiet(done)
    assert done.stdout.endswith(("Output picture to file: é µ.png\n", "Output picture to file: \\xe9 \\xb5.png\n"))
    assert (tmp_path / "é µ.png").is_file()


def test_a_language_with_another_encoding(visualize, cell, tmp_path):
    made = shutil.which("localedef") and subprocess.run(
        ["localedef", "-f", "ISO-8859-1", "-i", "de_DE", tmp_path / "de_DE.ISO-8859-1"], capture_output=True)
    if not (tmp_path / "de_DE.ISO-8859-1").exists():
        pytest.skip(f"no locale can be made here: {made}")
    done = start([*visualize, "-i", cell, "-o", "é µ.png"], tmp_path, LOCPATH=str(tmp_path), LC_ALL="de_DE.ISO-8859-1")
    assert_quiet(done)
    assert done.stdout == "Output picture to file: é µ.png\n"


def test_control_characters_in_names_are_shown_as_text(visualize, cell, tmp_path):
    folder = tmp_path / ESCAPE
    cell.parent.rename(folder)
    done = start([*visualize, "-i", folder / cell.name, "-o", f"{ESCAPE}.png"], tmp_path)
    assert_quiet(done)
    assert done.stdout == f"Output picture to file: {SHOWN}.png\n"
    done = start([*visualize, "-i", f"{ESCAPE}.h5"], tmp_path)
    assert done.returncode == 2 and f": {SHOWN}.h5: no such file" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [
    ["train.py", "-d", ESCAPE], ["train.py", "-d", "x", f"--{ESCAPE}"], ["biogans", ESCAPE]])
def test_control_characters_in_mistakes_are_shown_as_text(words, tmp_path):
    done = start([ROOT / "bin" / words[0], *words[1:]], tmp_path)
    assert done.returncode == 2 and SHOWN in done.stderr and done.stderr.count("\n") == 1
    assert not {"\x1b", "\x9b"} & {*done.stdout + done.stderr}


def test_names_that_are_not_utf8(visualize, cell, tmp_path):
    name = os.fsencode(tmp_path) + b"/n\xff\x9bm.png"
    os.rename(cell, name)
    done = start([*visualize, "-i", os.fsdecode(name), "-o", "a.png"], tmp_path)
    assert_quiet(done)
    done = start([*visualize, "-i", "n\udcff\udc9b"], tmp_path)
    assert r"n\udcff\udc9b: no such file" in done.stderr and done.stderr.count("\n") == 1


def test_progress_bars_still_move(tmp_path):
    done = python(r"print('a\rb\x1b[A\x1b[2J', file=sys.stderr); print('a\rb\tc')", tmp_path)
    assert (done.stderr, done.stdout) == ("a\nb\x1b[A\\x1b[2J\n", "a\\x0db\tc\n")     # text mode reads \r as a line


# ---------------------------------------------------------------------------------------------- streams and folders

def test_closed_streams(visualize, cell, tmp_path):
    """Nothing that is printed gets into a file."""
    assert_quiet(start([*visualize, "-i", cell, "-o", "a.png"], tmp_path))
    for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
        done = start([*visualize, "-i", cell, "-o", "b.png"], tmp_path, closed)
        assert_quiet(done)
        assert Image.open(tmp_path / "b.png").tobytes() == Image.open(tmp_path / "a.png").tobytes()


@pytest.mark.parametrize("words", ["biogans", "biogans version", "train.py -h"])
def test_closed_output_of_short_commands(words, tmp_path):
    name, *rest = words.split()
    assert_quiet(start([ROOT / "bin" / name, *rest], tmp_path, ">&- <&-"))


def test_output_to_a_full_disk_is_one_line(tmp_path):
    done = start([ROOT / "bin/biogans"], tmp_path, "> /dev/full")
    assert done.returncode == 2 and "make room" in done.stderr and done.stderr.count("\n") == 1


def test_a_folder_that_takes_no_files(visualize, cell, tmp_path):
    """Output may go elsewhere; /proc takes no files from anybody."""
    done = start([*visualize, "-i", cell, "-o", tmp_path / "a.png"], "/proc", **NO_HOME)
    assert_quiet(done)
    assert (tmp_path / "a.png").is_file()


def test_a_removed_folder_is_one_line(cell, tmp_path):
    (tmp_path / "gone").mkdir()
    done = start(["bash", "-c", 'cd gone; rmdir ../gone; "$@"', "bash", sys.executable, ROOT / "bin/visualize.py",
                  "-i", cell], tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "has been removed: cd" in done.stderr
