"""The hooks of MkDocs for mkdocs.yml.

Links between pages, and from pages to sources, follow the repository, so that the pages can be read there. The site
has further pages: the README and its neighbours, a page for each command, made from its parser, and a page for each
module of the core, made from docstrings (api.py). Linked files outside of docs are copied to files/, and formulas
become MathML, which browsers show without a script. The page of `biogans toy` is part of the site: where the
repository links to its source, the site links to the page itself.

The environment variable EDITION chooses for whom the site is: student (the default), or instructor, whose site has the
folder course/solutions too.
"""

import html
import os
import re
from pathlib import Path, PurePosixPath

from mkdocs.exceptions import ConfigurationError
from mkdocs.structure.files import File

from biogans import commands
from biogans.latent import toy

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md", "docs/README.md": "contents.md", "CONTRIBUTING.md": "CONTRIBUTING.md",
         "CHANGELOG.md": "CHANGELOG.md", "RELEASING.md": "RELEASING.md", "course/README.md": "course/index.md",
         "course/INSTRUCTOR.md": "course/INSTRUCTOR.md", "course/RUBRIC.md": "course/RUBRIC.md"}
EDITIONS = ("student", "instructor")
EDITION = os.environ.get("EDITION") or EDITIONS[0]
SOLUTIONS = "course/solutions"
CARDS = {str(path.relative_to(ROOT)): f"cards/{path.relative_to(ROOT / 'data_48-80/checkpoints')}"
         for path in sorted((ROOT / "data_48-80/checkpoints").rglob("card.*.md"))}
PAGES |= CARDS
SOLVED = {f"{SOLUTIONS}/{path.name}": f"{SOLUTIONS}/{path.name.replace('README', 'index')}"
          for path in sorted((ROOT / SOLUTIONS).glob("*.md"))}
if EDITION == "instructor":
    PAGES |= SOLVED
CORE = sorted(path.stem for path in (ROOT / "src/biogans/core").glob("[!_]*.py"))
TOY = "src/biogans/latent/page/toy.html"
SOURCES = {page: source for source, page in PAGES.items()}
CODE_OR_LINK = re.compile(r"(?P<code>^```.*?^```|`[^`\n]*`)|\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)]*)?\)",
                          re.DOTALL | re.MULTILINE)
FORMULA = re.compile(r'class="arithmatex">\\(?P<kind>[(\[])(?P<latex>.*?)\\[)\]]<', re.DOTALL)


def on_config(config):
    if EDITION not in EDITIONS:
        raise ConfigurationError(f"EDITION={EDITION}: it is one of {', '.join(EDITIONS)}")
    notebooks = sorted(path.name for path in (ROOT / "docs/course").glob("*.md"))
    solved = [{"Solutions": sorted(SOLVED.values(), key=lambda page: not page.endswith("index.md"))}]
    pages = {"Trained models": list(CARDS.values()),
             "Commands": [{name: f"commands/{name}.md"} for name in commands.COMMANDS],
             "Python": [{name: f"api/{name}.md"} for name in CORE],
             "Course": ["course/index.md", *(f"course/{name}" for name in notebooks),
                        *(solved if EDITION == "instructor" else [])]}
    for entry in config.nav:
        entry.update({title: pages[title] for title in entry.keys() & pages.keys()})
    config.nav = [entry for entry in config.nav if [] not in entry.values()]
    return config


def on_files(files, config):
    for slides in sorted((ROOT / "docs/course").glob("*.html")):
        files.append(File.generated(config, _page_of(f"docs/course/{slides.name}"), abs_src_path=str(slides)))
    files.append(File.generated(config, _page_of(TOY), content=toy.toy_page()))
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    for name in commands.COMMANDS:
        parser = commands.load(name).parser()
        files.append(File.generated(config, f"commands/{name}.md", content=_reference(parser.prog, parser)))
    for name in CORE:
        files.append(File.generated(config, f"api/{name}.md", content=f"::: biogans.core.{name}\n"))
    linked = {_source_of(target, page.src_uri) for page in files.documentation_pages()
              for target in _targets(page.content_string)}
    for source in sorted(filter(None, linked)):
        if _page_of(source).startswith("files/") and (ROOT / source).is_file():
            files.append(File.generated(config, _page_of(source), abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown, page, config, files):
    name = page.file.src_uri.removeprefix("course/")
    if EDITION == "instructor" and f"{SOLUTIONS}/{name}" in SOLVED:
        markdown = markdown.replace(f"({name.replace('.md', '.html')})",
                                    f"({name.replace('.md', '.html')}) · [solutions](../../{SOLUTIONS}/{name})", 1)

    def rewritten(match):
        source = match["target"] and _source_of(match["target"], page.file.src_uri)
        if not source:
            return match[0]
        here = PurePosixPath(page.file.src_uri).parent
        return f"]({os.path.relpath(_page_of(source), here)}{match['anchor'] or ''})"
    return CODE_OR_LINK.sub(rewritten, markdown)


def on_page_content(content, page, config, files):
    from latex2mathml.converter import convert
    return FORMULA.sub(lambda match: 'class="arithmatex">' + convert(
        html.unescape(match["latex"]), display="inline" if match["kind"] == "(" else "block") + "<", content)


def _targets(markdown):
    return [match["target"] for match in CODE_OR_LINK.finditer(markdown) if match["target"]]


def _source_of(target, page):
    """The file or folder of the repository that a link on a page means; None for an address."""
    if re.match(r"\w+:", target):
        return None
    source = SOURCES.get(page, f"docs/{page}")
    return os.path.normpath(PurePosixPath(source).parent / target)


def _page_of(source):
    """The page on the site for a file of the repository, or for a folder: the page that describes it."""
    if source in PAGES:
        return PAGES[source]
    if source == TOY:
        return "toy_page.html"
    if (ROOT / source).is_dir():
        return PAGES.get(f"{source}/README.md", "course/index.md" if "course" in source else "index.md")
    if re.fullmatch(r"docs/course/\w+\.html", source):          # beside the page of the same name
        return source.removeprefix("docs/").replace(".html", "_slides.html")
    is_page = source.startswith("docs/") and not source.endswith(".py")
    return source.removeprefix("docs/") if is_page else f"files/{source}"


def _reference(name, parser):
    """The page of a command: its help as a document."""
    parts = [f"# {name}", f"```text\n{parser.format_usage().strip()}\n```", _prose(parser.description or "")]
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.dest != "help"]
        if actions:
            rows = "".join(f"| {_names(action)} | {_cell(_help(action, parser))} |\n" for action in actions)
            parts.append(f"## {(group.title or 'options').capitalize()}\n\n{_prose(group.description or '')}\n\n"
                         f"| option | |\n|---|---|\n{rows}")
    if parser.epilog:
        parts.append(f"## More\n\n```text\n{parser.epilog.strip()}\n```")
    return "\n\n".join(parts) + "\n"


def _names(action):
    value = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
    names = ", ".join(action.option_strings)
    return f"`{names} {value}`".replace(" `", "`") if names else f"`{value}`"


def _help(action, parser):
    return parser._get_formatter()._expand_help(action) if action.help else ""


def _prose(text):
    return re.sub(r"([*_\[\]])", r"\\\1", html.escape(text, quote=False))


def _cell(text):
    return _prose(" ".join(text.split())).replace("|", r"\|")
