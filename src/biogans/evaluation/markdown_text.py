"""Markdown of texts that files state: they show as they are, and never become HTML, links or layout."""

import re

MEANINGFUL = re.compile(r"[\\`*\[\]~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
TAG = re.compile(r"<(?=[A-Za-z/!?])(?!https?://[^\s<>]*>)")
LINK = re.compile(r"\](\(\s*<?)([^)\s>]*)|^(\s*)\[([^\]]+\]:\s*<?)(\S*)", re.MULTILINE)
SAFE = re.compile(r"https?://|mailto:|[^:&\\]*$", re.IGNORECASE)       # of where a link leads


def plain(text):
    """A text in one line that shows its own characters."""
    line = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return MEANINGFUL.sub(r"\\\g<0>", line)


def code(text):
    """A text as code within a line."""
    return f"`{' '.join(str(text).split()).replace('`', chr(39))}`"


def block(*lines):
    """Lines of a block of code, of which no content can end it."""
    content = "\n".join(map(str, lines)).replace("```", "'''").splitlines()
    return ["```", *content, "```"]


def row(cells):
    """A row of a table; its cells are Markdown."""
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"


def without_html(text):
    """Markdown that others wrote, without HTML, and with links to pages, addresses and files beside it alone."""
    def link(found):
        there, title = (found[2], found[1]) if found[1] else (found[5], found[4])
        if SAFE.match(there):
            return found[0]
        return f"]\\{title}{there}" if found[1] else f"{found[3]}\\[{title}{there}"

    return LINK.sub(link, TAG.sub("&lt;", text))
