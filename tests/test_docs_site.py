"""The docs as a site: it builds without a warning, every page can be found, and the reference has all that there is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

import vidcnn

PROJECT = Path(__file__).parents[1]


class Names(HTMLParser):
    """What a page of the site links to and loads, and which anchors it has."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("link", "script", "img", "iframe"):
            self.loaded += [given[name] for name in ("href", "src") if name in given]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    build = [sys.executable, "-W", "error", "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def pages_of(nav: Any) -> list[str]:
    """Return the pages that a part of the navigation names, in order."""
    if isinstance(nav, str):
        return [nav]
    return [page for part in (nav.values() if isinstance(nav, dict) else nav) for page in pages_of(part)]


def test_every_page_is_in_the_navigation_once() -> None:
    named = pages_of(yaml.safe_load((PROJECT / "mkdocs.yml").read_text())["nav"])
    made = {"index.md", "contributing.md", "changelog.md"}
    assert sorted(named) == sorted(made | {path.name for path in (PROJECT / "docs").glob("*.md")})


def test_every_link_leads_somewhere(site: Path) -> None:
    pages = {page: Names(page) for page in site.rglob("*.html") if page.name != "404.html"}
    for page, names in pages.items():
        for link in names.links:
            target = urlsplit(link)
            if target.scheme:
                assert target.hostname == "squidfunk.github.io", f"{page}: {link}"
                continue
            file = Path(os.path.normpath(page.parent / unquote(target.path))) if target.path else page
            file = file / "index.html" if file.is_dir() else file
            assert file.is_file(), f"{page}: {link}"
            if target.fragment and file in pages:
                assert unquote(target.fragment) in pages[file].anchors, f"{page}: {link}"


def test_a_reader_without_a_network_sees_all_of_it(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert not [name for name in Names(page).loaded if urlsplit(name).netloc], page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?https?:|@import", style.read_text()), style


def test_the_reference_has_every_name(site: Path) -> None:
    anchors = Names(site / "reference" / "index.html").anchors
    assert {f"vidcnn.{name}" for name in vidcnn.__all__} <= anchors


def test_files_beside_the_docs_are_shown(site: Path) -> None:
    shown = (site / "files" / "jobs" / "nightly.yaml" / "index.html").read_text()
    assert "settle" in shown
    assert "files/jobs/nightly.yaml" in (site / "index.html").read_text()
    assert (site / "files" / "Dockerfile" / "index.html").is_file()


def test_lists_and_tables_are_shown_as_such(site: Path) -> None:
    for page in site.rglob("*.html"):
        if "files" in page.relative_to(site).parts:
            continue
        text = re.sub(r"<(pre|code|script|style).*?</\1>", "", page.read_text(), flags=re.DOTALL)
        paragraphs = re.findall(r"<p>(.*?)</p>", text, re.DOTALL)
        assert not [text for text in paragraphs if re.search(r"^\s*(- |\d\. |\|)", text, re.MULTILINE)], page
        assert "```" not in text, page
