"""One HTML page of clips with their pictures, which needs nothing else: no script, no font, no other file.

It allows itself only its own style, by its hash, and the pictures that are in it. Every text is escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from typing import NamedTuple

from vidcnn.embeddings.clips import Clip
from vidcnn.reporting.similar_text import clip_name
from vidcnn.safe_text import one_line

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.4 system-ui, sans-serif; margin: 1.5rem auto; max-width: 80rem; padding: 0 1rem; }
ul { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); list-style: none;
  padding: 0; }
img, .none { aspect-ratio: 1; background: #8883; border-radius: .3rem; display: block; width: 100%; }
.none { align-items: center; display: flex; justify-content: center; }
p { margin: .2rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
"""


class Group(NamedTuple):
    """Clips under one heading.

    Attributes:
        heading: Of the group.
        clips: Each with its picture (JPEG), or None where there is none.
    """

    heading: str
    clips: Sequence[tuple[Clip, bytes | None]]


def clips_page(title: str, groups: Sequence[Group]) -> str:
    """Return a page of clips.

    Args:
        title: Its heading.
        groups: The clips.
    """
    digest = base64.b64encode(sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
    )
    sections = "".join(map(_section, groups))
    return f"{head}<body>\n<main>\n<h1>{_text(title)}</h1>\n{sections}</main>\n</body>\n</html>\n"


def _section(group: Group) -> str:
    items = "".join(_item(clip, picture) for clip, picture in group.clips)
    return f"<section>\n<h2>{_text(group.heading)}</h2>\n<ul>\n{items}</ul>\n</section>\n"


def _item(clip: Clip, picture: bytes | None) -> str:
    name = _text(clip_name(clip))
    if picture is None:
        shown = '<div class="none">no picture</div>'
    else:
        shown = f'<img alt="{name}" src="data:image/jpeg;base64,{base64.b64encode(picture).decode()}">'
    score = "" if clip.score is None else f" {clip.score:.2f}"
    facts = f"cosine {clip.similarity:.3f}, {clip.start_seconds:.1f} to {clip.end_seconds:.1f} s"
    return f"<li>{shown}<p><strong>{_text(clip.label or '')}{score}</strong></p><p>{facts}</p><p>{name}</p></li>\n"


def _text(text: str) -> str:
    return escape(one_line(text))
