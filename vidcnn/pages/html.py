"""From a template, its style, its script and its data to one HTML file that opens from a disk and fetches nothing.

The content security policy names the hashes of the one style and the one script, so nothing that gets into a page by
way of a name or a label is ever run, and images are only those in the file. Texts are escaped for HTML by the template,
and what changes the direction of writing or cannot be seen is escaped so that it is seen (`vidcnn.safe_text`).

See Content Security Policy Level 3, W3C.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from vidcnn.safe_text import one_line

_FOLDER = Path(__file__).parent
_UNSAFE_IN_SCRIPT = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def render(template: str, values: dict[str, Any], data: Any, *, script: str | None) -> bytes:
    """Make a page.

    Args:
        template: Name of a template of this package.
        values: What it shows; every text is escaped.
        data: JSON values for the script, the texts in them not yet safe to show.
        script: Name of the script of this package; None: the page has none, and runs none.
    """
    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    code = "" if script is None else (_FOLDER / script).read_text(encoding="utf-8")
    allowed = "'none'" if script is None else f"'{_digest(code)}'"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src '{_digest(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    text = environment.get_template(template).render(
        values, policy=policy, style=Markup(style), script=Markup(code), data=Markup(script_json(data))
    )
    return text.encode("utf-8", "backslashreplace")


def script_json(value: Any) -> str:
    """Return JSON that stands in a script element as it is, all texts in it safe to show."""
    text = json.dumps(safe_values(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return _UNSAFE_IN_SCRIPT.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def safe_values(value: Any) -> Any:
    """Return JSON values in which every text can be shown, keys of objects apart."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, dict):
        return {name: safe_values(one) for name, one in value.items()}
    return [safe_values(one) for one in value] if isinstance(value, list | tuple) else value


def _shown(value: Any) -> Any:
    return one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
