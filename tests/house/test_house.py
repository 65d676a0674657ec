"""The plan of the house: which room may import which, and what every module keeps to. Read from the sources alone."""

import ast
import collections
import shutil

import pytest

from conftest import ROOT

SOURCES = ROOT / "src" / "biogans"
MAY_IMPORT = {
    "system": set(),
    "core": {"system"},
    "data": {"system", "core"},
    "video": {"system", "core"},
    "exchange": {"system", "core"},
    "evaluation": {"system", "core", "data", "video", "exchange"},
    "latent": {"system", "core", "data", "video", "exchange", "evaluation"},
    "": {"system", "core", "data", "video", "exchange", "evaluation", "latent"},        # the command line
}
# A copied folder starts the command line of the installation around it; no module of the package imports launch.
WAY_IN = ("core.launch", "commands")


def modules(sources):
    """{dotted name below biogans: parsed module} of all Python files."""
    return {".".join(path.relative_to(sources).with_suffix("").parts): ast.parse(path.read_text())
            for path in sorted(sources.rglob("*.py"))}


def imports(name, tree, known):
    """[(dotted name of an imported module of ours, name it has here, names taken from it)], also those within functions."""
    package = name.split(".")[:-1]
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                base = package[:len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            elif (node.module or "").split(".")[0] == "biogans":
                base = node.module.split(".")[1:]
            else:
                continue
            if ".".join(base) in known:
                found.append((".".join(base), None, [alias.name for alias in node.names]))
            else:
                found += [(".".join([*base, alias.name]), alias.asname or alias.name, []) for alias in node.names
                          if ".".join([*base, alias.name]) in known]
        elif isinstance(node, ast.Import):
            found += [(alias.name.partition(".")[2], alias.asname, []) for alias in node.names
                      if alias.name.startswith("biogans.") and alias.name.partition(".")[2] in known]
    return found


def forbidden_arrows(sources):
    """["importer -> imported"] between rooms, against the plan."""
    known = modules(sources)
    return [f"{name} -> {other}" for name, tree in known.items() for other, _, _ in imports(name, tree, known)
            if (name, other) != WAY_IN and room(other) != room(name) and room(other) not in MAY_IMPORT[room(name)]]


def room(name):
    return name.rpartition(".")[0]


def circles(sources):
    """Names of modules that import themselves, over others; also by imports within functions."""
    known = modules(sources)
    arrows = {name: {other for other, _, _ in imports(name, tree, known) if (name, other) != WAY_IN}
              for name, tree in known.items()}
    reached = {name: set(others) for name, others in arrows.items()}
    for _ in arrows:
        for name, others in reached.items():
            others |= set().union(*(reached[other] for other in list(others)))
    return sorted(name for name, others in reached.items() if name in others)


def private_names_of_others(sources):
    """["module: name"] of names with a leading underscore that are taken from another module."""
    known, found = modules(sources), []
    for name, tree in known.items():
        here = imports(name, tree, known)
        found += [f"{name}: {taken}" for _, _, names in here for taken in names if is_private(taken)]
        aliases = {alias for _, alias, _ in here if alias}
        found += [f"{name}: {node.value.id}.{node.attr}" for node in ast.walk(tree) if isinstance(node, ast.Attribute)
                  and isinstance(node.value, ast.Name) and node.value.id in aliases and is_private(node.attr)]
    return found


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


@pytest.fixture
def copy(tmp_path):
    """A copy of the sources, in which something can be planted."""
    shutil.copytree(SOURCES, tmp_path / "biogans", ignore=shutil.ignore_patterns("__pycache__", "page"))
    return tmp_path / "biogans"


def test_imports_flow_one_way():
    assert {path.name for path in SOURCES.iterdir() if path.is_dir() and path.name != "__pycache__"} == {*MAY_IMPORT} - {""}
    assert not forbidden_arrows(SOURCES) and not circles(SOURCES)


@pytest.mark.parametrize("module, line", [
    ("system/files.py", "from ..core import models"), ("core/gan.py", "import biogans.evaluation.metrics"),
    ("core/train.py", "from .. import commands"), ("data/download.py", "from ..video import videos"),
    ("evaluation/joint.py", "def f():\n    from ..latent.reconstruct import reconstruct")])
def test_a_planted_import_is_found(copy, module, line):
    assert not forbidden_arrows(copy)
    with open(copy / module, "a") as file:
        file.write(f"\n{line}\n")
    arrows = forbidden_arrows(copy)
    assert len(arrows) == 1 and arrows[0].startswith(module.removesuffix(".py").replace("/", ".") + " -> ")


def test_a_planted_circle_is_found(copy):
    with open(copy / "core/models.py", "a") as file:
        file.write("\ndef f():\n    from . import engine\n")
    assert {"core.models", "core.engine"} <= {*circles(copy)}


def test_no_module_takes_private_names_of_another(copy):
    assert not private_names_of_others(SOURCES)
    with open(copy / "core/train.py", "a") as file:
        file.write("\nfrom .engine import _mean\nfigures._lattice()\n")
    assert private_names_of_others(copy) == ["core.train: _mean", "core.train: figures._lattice"]


def test_sizes():
    """No module has more than 450 lines; no function takes more than six arguments besides self."""
    for path in SOURCES.rglob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) <= 450, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.Lambda)):
                names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                assert len([name for name in names if name not in ("self", "cls")]) <= 6, (path, getattr(node, "name", ""))


def test_function_names_are_telling():
    """No top-level name stands in more than two modules, besides those that every command has."""
    places = collections.defaultdict(list)
    for name, tree in modules(SOURCES).items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name not in ("main", "parser"):
                places[node.name].append(name)
    assert not {name: found for name, found in places.items() if len(found) > 2}


def has_hints(function):
    arguments = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    return function.returns and all(argument.annotation for argument in arguments if argument.arg not in ("self", "cls"))


def test_public_functions_of_the_core_have_type_hints():
    """Methods too, once for all that override each other; `make types` checks that the hints are right."""
    for name, tree in modules(SOURCES / "core").items():
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not is_private(node.name)]
        methods = [node for scope in classes for node in scope.body if isinstance(node, ast.FunctionDef)]
        hinted = {method.name for method in methods if has_hints(method)}
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        for node in (*functions, *(method for method in methods if method.name not in hinted)):
            assert is_private(node.name) or has_hints(node), f"{name}.{node.name}"


def test_options_are_never_changed():
    """A parsed command line is read, and nothing is assigned to it."""
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in targets:
                assert not (isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name)
                            and target.value.id == "options"), f"{path}:{node.lineno}"
