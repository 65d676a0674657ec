"""The structure of the package: imports between rooms, sizes, names, type hints. Read from the sources alone."""

import ast
import collections
import contextlib
import functools

import pytest

from conftest import ROOT

SOURCES, TESTS = ROOT / "src" / "biogans", ROOT / "tests"
MAY_IMPORT = {
    "system": set(),
    "io": {"system"},
    "core": {"system", "io"},
    "data": {"system", "io", "core"},
    "video": {"system", "io", "core"},
    "exchange": {"system", "io", "core"},
    "evaluation": {"system", "io", "core", "data", "video", "exchange"},
    "latent": {"system", "io", "core", "data", "video", "exchange", "evaluation"},
    "": {"system", "io", "core", "data", "video", "exchange", "evaluation", "latent"},      # the command line
}
# A copied folder starts the command line of the installation around it; no module of the package imports core.launch.
START_OF_A_COPY = ("core.launch", "commands")
FOREIGN = {
    "_asdict", "_fields", "_replace",                       # named tuples: documented
    "_exit",                                                # os: documented
    "_actions",                                             # argparse
    "_Pickler",                                             # pickle
    "_modules", "_utils", "_rebuild_tensor",                # torch
}


@functools.lru_cache
def parsed(folder):
    """{dotted name below `folder`: parsed module} of all Python files."""
    return {".".join(path.relative_to(folder).with_suffix("").parts): ast.parse(path.read_text())
            for path in sorted(folder.rglob("*.py"))}


def planted(module, line):
    """The modules of the package, one of them with a further line at its end."""
    text = (SOURCES / f"{module.replace('.', '/')}.py").read_text()
    return parsed(SOURCES) | {module: ast.parse(f"{text}\n{line}\n")}


def imports(name, tree, modules):
    """[(imported module of the package, its name here, names taken from it)] of a module, also within functions."""
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
            if ".".join(base) in modules:
                found.append((".".join(base), None, [alias.name for alias in node.names]))
            else:
                inner = [(".".join([*base, alias.name]), alias.asname or alias.name) for alias in node.names]
                found += [(other, alias, []) for other, alias in inner if other in modules]
        elif isinstance(node, ast.Import):
            found += [(alias.name.partition(".")[2], alias.asname, []) for alias in node.names
                      if alias.name.startswith("biogans.") and alias.name.partition(".")[2] in modules]
    return found


def arrows(modules):
    """{module: modules that it imports}."""
    return {name: {other for other, _, _ in imports(name, tree, modules) if (name, other) != START_OF_A_COPY}
            for name, tree in modules.items()}


def forbidden(modules):
    """["importer -> imported"] of all imports between rooms that MAY_IMPORT does not allow."""
    return [f"{name} -> {other}" for name, others in arrows(modules).items() for other in sorted(others)
            if room(other) != room(name) and room(other) not in MAY_IMPORT[room(name)]]


def room(name):
    return name.rpartition(".")[0]


def cyclic(modules):
    """Names of the modules that import themselves through others."""
    reached = arrows(modules)
    for _ in modules:
        for others in reached.values():
            others |= set().union(*(reached[other] for other in list(others)))
    return sorted(name for name, others in reached.items() if name in others)


def taken_private_names(modules):
    """["module: name"] of names with a leading underscore that are taken from another module."""
    found = []
    for name, tree in modules.items():
        here = imports(name, tree, modules)
        found += [f"{name}: {taken}" for _, _, names in here for taken in names if is_private(taken)]
        aliases = {alias for _, alias, _ in here if alias}
        found += [f"{name}: {node.value.id}.{node.attr}" for node in ast.walk(tree) if isinstance(node, ast.Attribute)
                  and isinstance(node.value, ast.Name) and node.value.id in aliases and is_private(node.attr)]
    return found


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def private_names_in_test(tree):
    """Names with a leading underscore that a test uses, except those of `self` and FOREIGN ones.

    A name may be an attribute, an import or an argument of setattr and the like, also in code for another process.
    """
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            found += [] if own else [node.attr]
        elif isinstance(node, ast.ImportFrom):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.Call) and called(node) in ("getattr", "setattr", "hasattr", "delattr"):
            found += [word.value.rpartition(".")[2] for word in node.args if is_text(word)]
        elif is_text(node) and "import " in node.value and "biogans" in node.value:
            with contextlib.suppress(SyntaxError, ValueError):
                found += private_names_in_test(ast.parse(node.value))
    return [name for name in found if is_private(name) and name not in FOREIGN]


def called(node):
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_imports_flow_one_way():
    folders = {path.name for path in SOURCES.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == {*MAY_IMPORT} - {""}
    assert not forbidden(parsed(SOURCES)) and not cyclic(parsed(SOURCES))


@pytest.mark.parametrize("module, line", [
    ("system.files", "from ..core import models"), ("core.gan", "import biogans.evaluation.metrics"),
    ("core.train", "from .. import commands"), ("data.download", "from ..video import videos"),
    ("evaluation.joint", "def f():\n    from ..latent.reconstruct import reconstruct")])
def test_a_planted_import_is_found(module, line):
    (arrow,) = forbidden(planted(module, line))
    assert arrow.startswith(f"{module} -> ")


def test_a_planted_cycle_is_found():
    assert {"core.models", "core.engine"} <= {*cyclic(planted("core.models", "def f():\n    from . import engine"))}


def test_no_module_takes_private_names_of_another():
    assert not taken_private_names(parsed(SOURCES))
    assert taken_private_names(planted("core.train", "from .engine import _mean\nfigures._lattice()")) == [
        "core.train: _mean", "core.train: figures._lattice"]


def test_no_test_takes_private_names():
    found = {name: private_names_in_test(tree) for name, tree in parsed(TESTS).items()}
    assert found.pop("house.test_house")                    # those that are planted below
    assert not {name: names for name, names in found.items() if names}


@pytest.mark.parametrize("code, names", [
    ("engine._mean([1])", ["_mean"]), ("Engine(spec, settings)._devices", ["_devices"]),
    ("from biogans.core.engine import Engine, _mean", ["_mean"]),
    ("monkeypatch.setattr('biogans.core.engine._mean', None)", ["_mean"]), ("getattr(run, '_mean')", ["_mean"]),
    ("CODE = 'from biogans.core import engine; engine._mean([1])'", ["_mean"]),
    ("self._mean = cells._replace(z=1)", []), ("parser._actions", []), ("from biogans import __version__", [])])
def test_private_names_planted_in_a_test_are_found(code, names):
    assert private_names_in_test(ast.parse(code)) == names


def test_sizes():
    """A module has at most 450 lines, and a function at most six arguments besides self."""
    for path in SOURCES.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 450, path
    for module, tree in parsed(SOURCES).items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.Lambda)):
                names = [argument.arg for argument in arguments(node) if argument.arg not in ("self", "cls")]
                assert len(names) <= 6, (module, getattr(node, "name", "lambda"))


def arguments(function):
    return (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)


def test_functions_have_specific_names():
    """At most two modules share the name of a top-level function, except those that every command has."""
    places = collections.defaultdict(list)
    for module, tree in parsed(SOURCES).items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name not in ("main", "parser"):
                places[node.name].append(module)
    assert not {name: found for name, found in places.items() if len(found) > 2}


def has_hints(function):
    return function.returns and all(argument.annotation for argument in arguments(function)
                                    if argument.arg not in ("self", "cls"))


def test_public_functions_of_the_core_have_type_hints():
    """Also methods, at least one of those that override each other; `make types` checks that the hints are right."""
    for module, tree in parsed(SOURCES / "core").items():
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not is_private(node.name)]
        methods = [node for scope in classes for node in scope.body if isinstance(node, ast.FunctionDef)]
        hinted = {method.name for method in methods if has_hints(method)}
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        for node in (*functions, *(method for method in methods if method.name not in hinted)):
            assert is_private(node.name) or has_hints(node), f"{module}.{node.name}"


def test_options_are_never_changed():
    """A parsed command line is only read; nothing is assigned to it."""
    for module, tree in parsed(SOURCES).items():
        for node in ast.walk(tree):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in targets:
                assert not (isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name)
                            and target.value.id == "options"), f"{module}:{node.lineno}"
