from __future__ import annotations

import base64
import hashlib
import html
import json
import re

from hypothesis import given
from hypothesis import strategies as st

from tests.nasty_names import is_harmless, nasty_names
from vidcnn.pages.html import render, safe_values, script_json

TEXTS = [name.decode("utf-8", "surrogateescape") for name in nasty_names()]


def page(**values: object) -> str:
    from vidcnn.pages.counting import Counts

    shown = {
        "best": [], "num_without": 0, "why_without": [], "has_sources": False, "truth": None,
        "name": "x", "version": "1", "written": "", "about": [], "counts": Counts(), "num_listed": 0, "classes": [],
        "num_more_classes": 0, "histogram": [], "histogram_svg": "", "num_bins": 20, "errors": [], "runs": [],
    }  # fmt: skip
    return render("predictions.html", shown | values, {"names": TEXTS}, script="predictions.js").decode()


def test_the_policy_allows_its_own_style_and_script_and_nothing_else() -> None:
    text = page()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    rules = dict(rule.strip().split(" ", 1) for rule in html.unescape(policy).split(";"))
    (style,), (script,) = (re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in ("style", "script"))
    for rule, content in (("style-src", style), ("script-src", script)):
        assert rules[rule] == f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    assert text.count("<style") == 1
    assert text.count("<script") == text.count("</script>") == 2
    assert not re.search(r"<[^>]*\s(on\w+|style)=", re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL))
    assert not re.search(r"(src|href)=\"(?!#|data:)", text)


def test_names_are_text_wherever_they_stand() -> None:
    text = page(name="".join(TEXTS), classes=[{"label": name, "clips": 1, "share": 1, "score": 1} for name in TEXTS])
    assert is_harmless(text)
    assert text.count("<script") == 2
    cells = re.findall(r'<th scope="row" dir="auto">(.*?)</th>', text)
    assert [html.unescape(cell) for cell in cells] == safe_values(TEXTS)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.just("k"), inner)
    )
)
def test_json_in_a_script_is_the_same_json_and_cannot_end_it(value: object) -> None:
    text = script_json(value)
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == safe_values(value)


def test_names_in_the_data_are_safe_to_show() -> None:
    assert is_harmless(script_json(TEXTS))
    assert len(set(safe_values(TEXTS))) >= len(TEXTS) - 2
