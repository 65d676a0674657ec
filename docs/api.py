"""The docstrings of src/biogans/core for its pages on the site: an extension of mkdocstrings in mkdocs.yml."""

import html
import re

import griffe

FIELD = re.compile(r"(?P<name>\w+(, \w+)*)  +(?P<text>\S.*)")


class Docstrings(griffe.Extension):
    """Turn the plain text of docstrings into Markdown."""

    def on_object(self, *, obj, **_):
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(text):
    """Convert a docstring: aligned columns of names and meanings become tables, everything else is left as it is."""
    return "\n\n".join(_table(block) or _prose(block) for block in re.split(r"\n\s*\n", text))


def _table(block):
    """The table of a block whose lines all have a name and its meaning, or continue a meaning; else None."""
    rows = []
    for line in block.splitlines():
        field = FIELD.fullmatch(line)
        if field:
            rows.append([field["name"], field["text"]])
        elif rows and line.startswith("  "):
            rows[-1][1] += " " + line.strip()
        else:
            return None
    lines = [f"| `{name}` | {_prose(text).replace('|', chr(92) + '|')} |" for name, text in rows]
    return "\n".join(["| | |", "|---|---|", *lines])


def _prose(block):
    """Text outside `code` and indented examples without a meaning for Markdown or HTML."""
    parts = re.split(r"(`[^`]*`|^    .*$)", block, flags=re.MULTILINE)
    parts[::2] = [re.sub(r"([*_\[\]])", r"\\\1", html.escape(part, quote=False)) for part in parts[::2]]
    return "".join(parts)
