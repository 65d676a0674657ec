"""docs/claims.md: its numbers, the options that it names, and the tests that it cites.

test_docs.py checks the links and the commands of this page, as of every other one.
"""

import argparse
import ast
import functools
import itertools
import os
import re
from typing import NamedTuple

import pytest

from biogans import commands
from conftest import ROOT
from test_docs import Refused, checked, command_of, parse, simple_commands

TEXT = (ROOT / "docs/claims.md").read_text()
DOCUMENTS = "PSIM"                      # the first letter of a row's number
HEADER, RULE = "| no. | claim | where it is met | test | difference, and why |", "|---|---|---|---|---|"


class Row(NamedTuple):
    """The cells of a row of the page's tables."""

    number: str
    claim: str
    place: str
    test: str
    difference: str


def rows(text):
    """The rows of all tables, in order. Raises TypeError for one with other than five cells."""
    lines = [line for line in text.splitlines() if line.startswith("|") and line not in (HEADER, RULE)]
    return [Row(*(cell.strip() for cell in line.strip("|").split("|"))) for line in lines]


def problems(text):
    """[what is wrong with a row, …] of a page."""
    found = misnumbered(rows(text))
    for row in rows(text):
        reasons = [*wrong_place(row.place), *wrong_test(row.test), *([] if row.claim else ["no claim"])]
        found += [f"{row.number}: {reason}" for reason in reasons]
    return found


def misnumbered(table):
    """Each document's rows are numbered from 1 on, in the order of the page, and the documents follow one another."""
    numbers = [row.number for row in table]
    expected = [f"{letter}{k}" for letter in DOCUMENTS
                for k in range(1, 1 + sum(number.startswith(letter) for number in numbers))]
    wrong = [number for number, right in itertools.zip_longest(numbers, expected) if number != right]
    return [f"{wrong[0]}: out of order, or after a gap"] if wrong else []


def wrong_place(cell):
    """Reasons why a place is none: nothing named, or a command or an option that no parser accepts."""
    spans, found, command = re.findall(r"`([^`]+)`", cell), [], "train"
    for span in spans:
        try:
            checked(span, False)
            for words in simple_commands(span):
                name, _, rest = command_of([os.path.basename(word) for word in words])
                command = name or command
                if name or words[0].startswith("-"):
                    check_options(command, words[rest:])
        except (Refused, argparse.ArgumentError, AssertionError) as refusal:
            found.append(f"{span}: {refusal}")
    return found if spans or "](" in cell else ["no place"]


def check_options(command, words):
    """Raise Refused if a command lacks one of the options, or refuses its value."""
    if command not in commands.COMMANDS:
        raise Refused(f"no command {command}")
    known = {name for action in commands.load(command).parser()._actions for name in action.option_strings}
    unknown = [word for word in words if re.match("--?[A-Za-z]", word) and word not in known]
    if unknown:
        raise Refused(f"{command} has no {', '.join(unknown)}")
    try:
        parse(command, words)
    except Refused as refusal:
        if not re.search("are required|expected one argument", str(refusal)):
            raise


def wrong_test(cell):
    """Reasons why a cell cites no test, unless it is a dash with a reason of at least four words."""
    if cell.startswith("—"):
        return [] if len(cell.split()) > 4 else ["neither a test nor a reason"]
    found = [] if cell else ["neither a test nor a reason"]
    for cited in filter(None, cell.split(", ")):
        match = re.fullmatch(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", cited)
        if not match:
            found.append(f"{cited} is no test")
        elif not match[2]:
            found.append(f"{cited} lacks the name of a test")
        elif match[2] not in names_of_tests(match[1]):
            found.append(f"{cited} does not exist")
    return found


@functools.lru_cache
def names_of_tests(path):
    """Names of the tests in a file; none if it does not exist."""
    tree = ast.parse((ROOT / path).read_text() if (ROOT / path).is_file() else "")
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_claim_has_a_place_and_a_test_or_a_reason():
    found = problems(TEXT)
    assert not found, "\n".join(found)
    assert {row.number[0] for row in rows(TEXT)} == {*DOCUMENTS}


@pytest.mark.parametrize("place, problem", [
    ("", "no place"), ("somewhere", "no place"), ("`train.py -d data --no_such`", "--no_such"),
    ("`--no_such`", "train has no --no_such"), ("`-a GAAN`", "GAAN"), ("`predict.py -h`, `-M 5`", "predict has no -M"),
    ("`biogans evalaute`", "no command evalaute"), ("`make coffee`", "no such target")])
def test_a_wrong_place_is_found(place, problem):
    (reason,) = wrong_place(place)
    assert problem in reason


@pytest.mark.parametrize("place", ["[page](x.md)", "`-a WGAN`", "`--lrD`", "`predict.py -h`, `--seed 3`", "`make nine`",
                                   "`ls $BG_BIN`"])
def test_a_right_place_is_accepted(place):
    assert not wrong_place(place)


@pytest.mark.parametrize("cell, problem", [
    ("", "neither"), ("—", "neither"), ("— no", "neither"), ("`tests/core/test_gan.py`", "lacks the name"),
    ("`tests/core/test_gan.py::test_nothing`", "does not exist"), ("`tests/core/none.py::test_x`", "does not exist"),
    ("`tests/core/test_gan.py::noise`", "does not exist"), ("later", "is no test")])
def test_a_wrong_test_is_found(cell, problem):
    (reason,) = wrong_test(cell)
    assert problem in reason


def test_gaps_in_the_numbers_are_found():
    row = "| {} | claim | [page](x.md) | — for a reason of words | |".format
    page = "\n".join([HEADER, RULE, *map(row, ("P1", "P2", "S1", "I1", "M1"))])
    assert not problems(page)
    for wrong in (("P1", "P3", "S1"), ("P1", "P1"), ("S1", "P1"), ("P1", "X1"), ("P2",)):
        assert problems("\n".join(map(row, wrong))), wrong
    with pytest.raises(TypeError):
        rows("| P1 | claim | [page](x.md) | — for a reason of words |")
