"""Writing events: a table (Parquet, CSV), the JSON of ActivityNet, or subtitles, a file for each video.

Files are written whole, or not at all. Events come video by video, and only those of some videos are in memory.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import BinaryIO, get_args

import pyarrow.parquet as pq

from vidcnn.choices import EventFormat
from vidcnn.errors import OutputError, UsageError, describe_reason
from vidcnn.events.subtitles import srt_text, vtt_text
from vidcnn.events.table import SCHEMA, Placed, tables_of
from vidcnn.safe_text import cell_text, json_text, one_line
from vidcnn.sources.names import file_name
from vidcnn.storage.atomic import make_directories, write_whole
from vidcnn.storage.uris import is_remote, public_location
from vidcnn.version import __version__

FORMATS: tuple[EventFormat, ...] = get_args(EventFormat)
_SUBTITLES = {"srt": srt_text, "vtt": vtt_text}
_MOST_BYTES = 230
"""Of a name to which something is added, which may have 255 in all."""


def format_of(out: str, given: EventFormat | None) -> EventFormat:
    """Return the format of an output: the one that was given, or that of its name.

    Raises:
        UsageError: It has none, or `out` cannot be written.
    """
    if is_remote(out):
        raise UsageError("events are written to this machine", f"choose another --out than {public_location(out)}")
    suffix = Path(out).suffix.lower().removeprefix(".")
    named = next((name for name in FORMATS if name == suffix), None)
    if given is None and (named is None or named in _SUBTITLES):
        raise UsageError(
            f"the format of --out {one_line(out)} is not known",
            "name a file .parquet, .csv or .json; or give --format srt or --format vtt, and a folder",
        )
    return given or named or "parquet"


def write_events(out: str, kind: EventFormat, videos: Iterable[list[Placed]]) -> int:
    """Write the events of videos.

    Args:
        out: The file; the folder where they are subtitles.
        kind: Its format.
        videos: The events of each video.

    Returns:
        Number of files that were written.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        if kind in _SUBTITLES:
            return _write_subtitles(Path(out), kind, videos)
        os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
        fill = {"parquet": _fill_parquet, "csv": _fill_csv, "json": _fill_json}[kind]
        write_whole(Path(out), lambda sink: fill(sink, chain.from_iterable(videos)))
        return 1
    except OSError as error:
        raise OutputError(f"cannot write {one_line(out)}: {describe_reason(error)}", "choose another --out") from error


def _fill_parquet(sink: BinaryIO, events: Iterator[Placed]) -> None:
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd") as writer:
        for table in tables_of(events):
            writer.write_table(table)


def _fill_csv(sink: BinaryIO, events: Iterator[Placed]) -> None:
    text = io.TextIOWrapper(sink, "utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SCHEMA.names)
    for table in tables_of(events):
        for row in table.to_pylist():
            video, label, *numbers = row.values()
            writer.writerow([cell_text(video), cell_text(label), *(f"{number:.6g}" for number in numbers)])
    text.detach()


def _fill_json(sink: BinaryIO, events: Iterator[Placed]) -> None:
    """Write the form of the challenge's own programs: ``{"results": {VIDEO: [{"label", "score", "segment"}]}}``."""
    sink.write(f'{{"version": {json_text(f"vidcnn {__version__}")}, "results": {{'.encode())
    last: str | None = None
    for placed in events:
        event = placed.event
        before = f"{'' if last is None else '],'}\n{json_text(placed.video)}: [" if placed.video != last else ", "
        one = {"label": placed.label, "score": event.score, "segment": [event.start_seconds, event.end_seconds]}
        sink.write((before + json_text(one)).encode())
        last = placed.video
    sink.write(f'{"" if last is None else "]"}}}, "external_data": {{"used": false, "details": ""}}}}\n'.encode())


def _write_subtitles(folder: Path, kind: str, videos: Iterable[list[Placed]]) -> int:
    text_of: Callable[[list[Placed]], str] = _SUBTITLES[kind]
    num_files = 0
    for events in filter(None, videos):
        path = folder / path_of(events[0].video, f".{kind}")
        make_directories(path.parent)
        write_whole(path, text_of(events).encode())
        num_files += 1
    return num_files


def path_of(video: str, ending: str) -> str:
    """Return the path of a file that is made for a video, under a folder of such files; it never leads out of that.

    Args:
        video: Its name, as tables have it.
        ending: What is added to it, such as ``.srt``: players find ``a.mp4.srt`` beside ``a.mp4``, and where ``a.mkv``
            is there too, each has its own.
    """
    name = file_name(video)
    if is_remote(name):
        name = name.partition("://")[2]
    parts = [part for part in name.split("/") if part not in ("", ".", "..")] or ["video"]
    last = os.fsencode(parts[-1])
    if len(last) > _MOST_BYTES:  # of another name that begins in the same way, the digest differs
        _, dot, suffix = parts[-1].rpartition(".")
        suffix = dot + suffix if len(suffix) < 8 else ""
        parts[-1] = f"{os.fsdecode(last[:_MOST_BYTES])}~{sha256(last).hexdigest()[:8]}{suffix}"
    return "/".join([*parts[:-1], f"{parts[-1]}{ending}"])
