from __future__ import annotations

import base64
import re
from hashlib import sha256
from html.parser import HTMLParser

from vidcnn.embeddings.clips import Clip
from vidcnn.reporting.similar_page import Group, clips_page

NASTY = Clip('"><script>alert(1)</script>\x1b\u202e.mp4', 0, 0.0, 1.0, "<img src=x onerror=alert(1)>&amp;", 0.5, 0.25)
GOOD = Clip("cam1/a.mp4", 3, 6.0, 8.0, "run", 0.875, 1.0)
PICTURE = b"\xff\xd8 a picture"


class Elements(HTMLParser):
    """All elements of a page, with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page() -> str:
    return clips_page(
        "Clips like <b>", [Group("The clip", [(GOOD, PICTURE)]), Group("<i>", [(NASTY, PICTURE), (GOOD, None)])]
    )


def test_a_page_shows_each_clip_with_its_picture_or_says_that_there_is_none() -> None:
    elements = Elements(page())
    images = [attributes for tag, attributes in elements.found if tag == "img"]
    assert [image["src"] for image in images] == ["data:image/jpeg;base64," + base64.b64encode(PICTURE).decode()] * 2
    assert images[0]["alt"] == "cam1/a.mp4#3"
    for text in ("Clips like <b>", "run 0.88", "cosine 1.000, 6.0 to 8.0 s", "no picture", "cam1/a.mp4#3"):
        assert text in elements.text


def test_names_and_labels_stay_text() -> None:
    elements = Elements(page())
    tags = {tag for tag, _ in elements.found}
    assert tags == {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "section", "ul", "li", "div",
                    "img", "p", "strong"}  # fmt: skip
    assert not any(name.startswith("on") for _, attributes in elements.found for name in attributes)
    assert "<script>alert(1)</script>" in elements.text
    assert "<img src=x onerror=alert(1)>&amp;" in elements.text
    assert not {"\x1b", "\u202e"} & set(page())


def test_a_page_may_load_its_own_style_and_pictures_and_nothing_else() -> None:
    text = page()
    (policy,) = [
        str(attributes["content"])
        for tag, attributes in Elements(text).found
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(sha256(style[1].encode()).digest()).decode()
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert not re.search(r"""(?:src|href)="(?!data:)""", text)
