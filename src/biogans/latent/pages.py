"""Web pages that are one file: no server, no network access."""

import base64
import string
from pathlib import Path

from ..system.errors import InputError

PARTS = Path(__file__).parent / "page"


def assemble_page(name, title, scripts, allowed=(), **values):
    """One HTML file (bytes) from the parts NAME.html, NAME.css and the scripts, and from those that all pages share.

    title     HTML text
    scripts   names of the JavaScript files after page.js, in their order
    allowed   further sources of scripts for the Content-Security-Policy, which forbids requests to any network
    values    HTML texts of the placeholders in NAME.html
    """
    def read(file):
        return (PARTS / file).read_text(encoding="utf-8")

    return string.Template(read("page.html")).substitute(
        title=title, scripts=" ".join(["'unsafe-inline'", *allowed]),
        style=read("page.css") + read(f"{name}.css"), body=string.Template(read(f"{name}.html")).substitute(values),
        script="\n".join(read(f"{script}.js") for script in ("page", *scripts))).encode()


def data_element(name, content):
    """A script element that contains the bytes `content`, in base64, with the id `name`."""
    return f'<script type="application/octet-stream" id="{name}">{base64.b64encode(content).decode()}</script>'


def page_path(path):
    """The Path of a page to write. Raises InputError for a name that browsers would not open as a page."""
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"-o {path}: browsers recognise a page by its ending: give a name that ends in .html")
    return path
