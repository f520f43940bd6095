"""A hook of MkDocs: what docs link to outside of docs/ becomes a page, so that one link serves repository and site.

README.md is the home page. A file that some page links to is shown whole, and a folder as a list of its files, which
are shown as well. Links are written as the repository needs them, and changed on the way.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent
AT_THE_TOP = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages that lie beside docs/, and where the site has them."""

_FOLDER = "files"
"""Where the site shows files of the repository."""
_LINK = re.compile(r"\[([^][]*)\]\((?!\w+:|#)([^)#\s]+)([^)\s]*)\)")
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".sh": "bash", ".json": "json", "": "docker"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    for source, page in AT_THE_TOP.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    shown: set[str] = set()
    waiting = [source for file in files.documentation_pages() for source in _shown_by(_source_of(file.src_uri))]
    while waiting:
        source = waiting.pop()
        if source in shown:
            continue
        shown.add(source)
        waiting += _entries(source)
        made = File.generated(config, _page_of(source), content=_page(source), inclusion=InclusionLevel.NOT_IN_NAV)
        files.append(made)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Have the links of a page lead to pages of the site."""
    if page.file.src_uri.startswith(f"{_FOLDER}/"):
        return markdown
    source = _source_of(page.file.src_uri)

    def site_link(match: re.Match[str]) -> str:
        text, link, anchor = match.groups()
        target = _target(source, link)
        if target is None:
            return match[0]
        return f"[{_title(target) if text == link else text}]({_relative(_page_of(target), page.file.src_uri)}{anchor})"

    return _LINK.sub(site_link, markdown)


def _source_of(page: str) -> str:
    """Return where the repository has a page of the site."""
    return next((source for source, at in AT_THE_TOP.items() if at == page), f"docs/{page}")


def _page_of(source: str) -> str:
    """Return where the site has a file or a folder of the repository."""
    if source in AT_THE_TOP:
        return AT_THE_TOP[source]
    if source.startswith("docs/"):
        return source.removeprefix("docs/")
    return f"{_FOLDER}/{source}/index.md" if (ROOT / source).is_dir() else f"{_FOLDER}/{source}.md"


def _target(source: str, link: str) -> str | None:
    """Return what a link of a file of the repository leads to; None where there is nothing, which MkDocs then tells."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    return target if not target.startswith("..") and (ROOT / target).exists() else None


def _title(source: str) -> str:
    """Return what the site calls a page: its heading, and of files that are shown their path."""
    is_page = source in AT_THE_TOP or source.startswith("docs/")
    return (ROOT / source).read_text().split("\n", 1)[0].removeprefix("# ") if is_page else source


def _shown_by(source: str) -> Iterator[str]:
    """Yield the files and folders of the repository that a page links to, and that are no pages themselves."""
    for _, link, _ in _LINK.findall((ROOT / source).read_text()):
        target = _target(source, link)
        if target is not None and target not in AT_THE_TOP and not target.startswith("docs/"):
            yield target


def _entries(source: str) -> list[str]:
    """Return the files in a folder, and in those below it."""
    folder = ROOT / source
    if not folder.is_dir():
        return []
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix in _LANGUAGES)
    return sorted(path.relative_to(ROOT).as_posix() for path in files if not path.name.startswith("__"))


def _page(source: str) -> str:
    """Return the page that shows a file or a folder."""
    if (ROOT / source).is_dir():
        here = _page_of(source)
        items = [f"- [{path}]({_relative(_page_of(path), here)}){_first_line(path)}" for path in _entries(source)]
        return "\n".join([f"# {source}/", "", *items, ""])
    text = (ROOT / source).read_text()
    return f"# {source}\n\n```{_LANGUAGES[(ROOT / source).suffix]}\n{text.rstrip()}\n```\n"


def _first_line(source: str) -> str:
    """Return what a program or a job says of itself in its first line."""
    lines = (ROOT / source).read_text().splitlines()
    if source.endswith(".py"):
        return f": {lines[0].strip(chr(34))}"
    told = next((line for line in lines if line.startswith("#") and "yaml-language-server" not in line), "")
    return f": {told.lstrip('# ')}" if source.endswith(".yaml") and told else ""


def _relative(page: str, start: str) -> str:
    return posixpath.relpath(page, posixpath.dirname(start) or ".")
