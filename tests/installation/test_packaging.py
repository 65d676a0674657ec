"""The locks agree with pyproject.toml, and the wheel with the sources."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from configparser import ConfigParser

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from biogans import __version__
from conftest import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TOOLS = {"pytest", "pytest-xdist", "hypothesis", "playwright", "jax", "jaxlib", "onnxruntime", "ruff", "mypy"}
DIGEST = re.compile(r"--hash=sha256:[0-9a-f]{64}")
each_lock = pytest.mark.parametrize("name", sorted(path.name for path in ROOT.glob("requirements*.lock")))


def entries(name):
    """[(requirement, its hashes), …] of a lock."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return [(Requirement(line.split(" --hash=")[0]), DIGEST.findall(line)) for line in lines]


def versions(name):
    """{package: version} of a lock, which has one version for all platforms."""
    found = {}
    for requirement, _ in entries(name):
        package, (pin,) = canonicalize_name(requirement.name), requirement.specifier
        assert pin.operator == "==" and found.setdefault(package, pin.version) == pin.version
    return found


def lacking(requirements, locked):
    """The requirements that the versions of a lock do not meet."""
    wanted = [Requirement(line) for line in requirements]
    return [str(requirement) for requirement in wanted
            if not requirement.specifier.contains(locked.get(canonicalize_name(requirement.name), "0"))]


@each_lock
def test_every_requirement_has_hashes(name):
    assert len(entries(name)) > 10
    assert [str(requirement) for requirement, hashes in entries(name) if not hashes] == []


@each_lock
def test_the_locks_agree(name):
    runtime = versions("requirements.lock")
    assert {package: version for package, version in versions(name).items()
            if runtime.get(package, version) != version} == {}


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-gpu.lock"])
def test_production_has_what_the_package_needs_and_no_tools(name):
    locked = versions(name)
    assert lacking(PYPROJECT["project"]["dependencies"], locked) == []
    assert TOOLS & locked.keys() == set()


def test_the_tensorflow_of_each_processor_and_of_gpus():
    """On PyPI tensorflow-cpu exists for x86_64 only."""
    locked = versions("requirements.lock")
    assert locked["tensorflow"] == locked["tensorflow-cpu"] == versions("requirements-gpu.lock")["tensorflow"]
    for machine, package in (("x86_64", "tensorflow-cpu"), ("aarch64", "tensorflow")):
        installed = [requirement.name for requirement, _ in entries("requirements.lock")
                     if requirement.name.startswith("tensorflow")
                     and (requirement.marker is None or requirement.marker.evaluate({"platform_machine": machine}))]
        assert installed == [package]


@pytest.mark.parametrize("group", PYPROJECT["dependency-groups"])
def test_each_group_of_tools_has_its_lock(group):
    assert lacking(PYPROJECT["dependency-groups"][group], versions(f"requirements-{group}.lock")) == []


def test_the_minimum_version_of_python():
    """pyproject.toml, the locks and the pages agree; test_launch.py tests that of the commands."""
    def stated(pattern, path):
        return {*re.findall(pattern, (ROOT / path).read_text())}

    requirement = PYPROJECT["project"]["requires-python"]
    minimum = requirement.removeprefix(">=")
    assert requirement == f">={minimum}"
    assert PYPROJECT["tool"]["mypy"]["python_version"] == minimum
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{minimum.replace('.', '')}"
    assert stated(r"--python-version ([\d.]+)", "Makefile") == {minimum}
    for page in ("README.md", "docs/administrator.md", "course/INSTRUCTOR.md"):
        assert stated(r"(?:Python|be) ([\d.]+) or later", page) == {minimum}, page


def test_a_release_has_one_version():
    """RELEASING.md lists the places."""
    def stated(pattern, path):
        return re.search(pattern, (ROOT / path).read_text(), re.MULTILINE)[1]

    assert stated(r"^version: (.*)$", "CITATION.cff") == __version__
    assert stated(r"^## (\S+?),", "CHANGELOG.md") == __version__
    assert stated(r"^version = '(.*)'$", f"hpc/BioGANs-{__version__}.eb") == __version__
    assert stated(r'^set ModulesVersion "(.*)"$', "modulefiles/biogans/.version") == __version__
    assert (ROOT / "modulefiles/biogans" / __version__).is_file()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the sources without the network."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    done = subprocess.run([sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index",
                           "--wheel-dir", folder, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    assert path.name == f"biogans-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_has_every_file_of_the_package(wheel):
    """All rooms, and the page of `biogans explore`."""
    sources = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src/biogans").rglob("*")
               if path.is_file() and "__pycache__" not in path.parts}
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == sources
    assert "biogans/core/train.py" in sources and "biogans/latent/page/explore.html" in sources


def test_the_wheel_installs_the_program_biogans(wheel):
    parser = ConfigParser()
    parser.read_string(wheel.read(f"biogans-{__version__}.dist-info/entry_points.txt").decode())
    assert dict(parser["console_scripts"]) == {"biogans": "biogans.commands:main"}


def test_the_easyconfig_of_a_release_has_the_checksum_of_its_archive(tmp_path):
    """`make archive` in a small repository; twice, as everyone can make the same archive from the tag."""
    (tmp_path / "hpc").mkdir()
    name = f"BioGANs-{__version__}.eb"
    shutil.copy(ROOT / "hpc" / name, tmp_path / "hpc")
    shutil.copy(ROOT / "Makefile", tmp_path)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message=all"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    digests = set()
    for _ in range(2):
        subprocess.run(["make", "archive"], cwd=tmp_path, check=True, capture_output=True)
        archive = tmp_path / f"build/release/biogans-{__version__}.tar.gz"
        digests.add(hashlib.sha256(archive.read_bytes()).hexdigest())
        archive.unlink()
    settings = {}
    exec((tmp_path / "build/release" / name).read_text(), {"SYSTEM": {}}, settings)     # easyconfigs are Python
    assert settings["sources"] == ["biogans-%(version)s.tar.gz"] and {*settings["checksums"]} == digests


@pytest.mark.slow
def test_bills_of_materials():
    """`make sbom`: the packages, versions and hashes of the locks, in a format that other tools read."""
    subprocess.run(["make", "sbom", f"PYTHON={sys.executable}"], cwd=ROOT, check=True, capture_output=True)
    for lock in ("requirements", "requirements-gpu"):
        bill = json.loads((ROOT / f"build/sbom/{lock}.cdx.json").read_text())
        assert bill["bomFormat"] == "CycloneDX" and bill["metadata"]["component"]["name"] == "biogans"
        listed = {canonicalize_name(item["name"]): item for item in bill["components"]}
        assert {name: item["version"] for name, item in listed.items()} == versions(f"{lock}.lock")
        for requirement, hashes in entries(f"{lock}.lock"):
            item = listed[canonicalize_name(requirement.name)]
            stated = {entry["content"] for reference in item["externalReferences"] for entry in reference["hashes"]}
            assert stated == {text.rpartition(":")[2] for text in hashes}
