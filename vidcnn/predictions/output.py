"""Write a predictions table so that it is right at any moment: commit, resume, publish.

In go the rows of finished segments, in any order and perhaps twice; out comes the table at ``--out`` with the
rows of each segment exactly once. `Output.add` buffers, `Output.commit` writes what is buffered as one part
file, written aside and renamed. What is done is read from the files themselves: each carries the ledger of
the segments whose rows it holds, so there is no second record that could disagree::

    add -> buffer --commit--> part-*.parquet            a dataset: this is the output
                                    |
                                 publish --> X.parquet  a single file: parts stay hidden until merged

Only the newest version of a video stays. Rows of another version or plan leave the part files before the
first new rows are written; in a single file, old rows stay to be read until the new file takes its place.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from vidcnn.errors import SettingsDifferError
from vidcnn.predictions import ledger as ledgers
from vidcnn.predictions.buffer import Buffer, commit_is_due
from vidcnn.predictions.files import (
    merged_rows,
    metadata,
    read_columns,
    read_footer,
    read_rows,
    sort_rows,
    write_file,
)
from vidcnn.predictions.ledger import Entry, Ledger, SegmentKey, VideoKey, video_text
from vidcnn.predictions.places import OutputStorage, open_storage
from vidcnn.predictions.rows import Summary, summarize

__all__ = ["Output", "SegmentKey", "VideoKey"]

_NUM_READERS = 8


class Output:
    """A predictions table being written; the only writer of its files. Use it as a context manager.

    Leaving the context gives the lock back; it commits nothing.
    """

    def __init__(self, storage: OutputStorage, *, schema: pa.Schema, run_id: str) -> None:
        self._storage = storage
        self._settings: Mapping[str, Any] | None = None
        self._recorded: list[dict[str, Any]] = []
        self._schema = schema
        self._run_id = run_id
        self._published: Ledger = {}
        self._parts: Ledger = {}
        self._conflicts: set[str] = set()
        self._buffer = Buffer()
        self._started = self._last_commit = time.monotonic()

    @classmethod
    def open(
        cls, out: str, *, schema: pa.Schema, settings: Mapping[str, Any] | None = None, run_id: str | None = None
    ) -> Output:
        """Take hold of an output and read what is committed.

        Args:
            out: ``X.parquet`` for a single file, any other name for a dataset directory; a path or a URI.
            schema: What `vidcnn.predictions.rows.prediction_schema` returned.
            settings: For `use_settings`, where they are known before the output is open.
            run_id: Name of this run, for the files' metadata; made up where it is None.

        Raises:
            SettingsDifferError: The output was written with other settings.
            OutputBusyError: Another run holds the output.
            OutputError: The output cannot be written, is damaged, or is not vidcnn's.
        """
        return cls.in_storage(open_storage(out), schema=schema, settings=settings, run_id=run_id)

    @classmethod
    def in_storage(
        cls,
        storage: OutputStorage,
        *,
        schema: pa.Schema,
        settings: Mapping[str, Any] | None = None,
        run_id: str | None = None,
    ) -> Output:
        """Read what is committed in an output that is held already; it is given back with this one, or on failure.

        Args:
            storage: What `vidcnn.predictions.places.open_storage` returned.
            schema: As for `open`.
            settings: As for `open`.
            run_id: As for `open`.

        Raises:
            SettingsDifferError: The output was written with other settings.
            OutputError: It is damaged, or is not vidcnn's.
        """
        try:
            output = cls(storage, schema=schema, run_id=run_id or uuid.uuid4().hex)
            output._read_committed()
            if settings is not None:
                output.use_settings(settings)
        except BaseException:
            storage.close()
            raise
        return output

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the lock back. What is buffered is lost."""
        self._storage.close()

    @property
    def recorded_settings(self) -> dict[str, Any] | None:
        """The settings that the output was written with; None for a new one."""
        return self._recorded[0] if self._recorded else None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is committed, by this run or an earlier one."""
        return not (self._published or self._parts)

    def discard(self) -> None:
        """Forget what is buffered and not committed."""
        self._buffer = Buffer()

    def use_settings(self, settings: Mapping[str, Any]) -> None:
        """Say what the rows of this run depend on; it must happen before the first commit.

        Args:
            settings: JSON values by name: model, weights, clips, preprocessing.

        Raises:
            SettingsDifferError: The output was written with other settings.
        """
        for recorded in self._recorded:
            self._check_settings(recorded, settings)
        self._settings = settings
        self._drop(self._conflicts)  # only two runs at once, which no lock kept apart, leave any
        self._conflicts = set()

    def is_done(self, video: VideoKey) -> bool:
        """Tell whether every segment of this version of a video is committed."""
        held = self._committed(video_text(video.name))
        return held is not None and held.is_of(video) and held.is_complete

    def done_segments(self, video: VideoKey, count: int) -> frozenset[int]:
        """Return the indexes of the committed segments of this version of a video.

        Args:
            video: The version.
            count: Segments of its plan; what was committed under a plan of another number is not done.
        """
        held = self._committed(video_text(video.name))
        if held is None or not held.is_of(video) or held.num_segments != count:
            return frozenset()
        return ledgers.segment_indexes(held.segments)

    def partly_done(self, video: VideoKey) -> tuple[int, frozenset[int]] | None:
        """Return what is committed of this version of a video: segments of its plan, and indexes of those done."""
        held = self._committed(video_text(video.name))
        if held is None or not held.is_of(video):
            return None
        return held.num_segments, ledgers.segment_indexes(held.segments)

    def add(self, segment: SegmentKey, rows: pa.Table) -> bool:
        """Buffer the rows of a finished segment; the next `commit` writes them.

        A segment of another version, or of a plan of another number of segments, replaces all that the output
        holds of the video.

        Args:
            segment: Which segment.
            rows: All its rows, predictions and errors: at least one, all of this video.

        Returns:
            False if the segment is committed or buffered already; its rows are then ignored.

        Raises:
            ValueError: The rows have other columns, are none, or are of another video.
        """
        name = video_text(segment.video.name)
        if not rows.schema.equals(self._schema):
            raise ValueError(f"rows have the columns {rows.schema.names} but must have {self._schema.names}")
        if not rows.num_rows or not pc.all(pc.equal(rows["video"], name), skip_nulls=False).as_py():
            raise ValueError(f"rows ({rows.num_rows}) must be one or more, and all of {name!r}")
        entry = ledgers.entry_of(segment, rows.num_rows)
        self._buffer.keep_only(name, entry)
        for held in (self._buffer.ledger.get(name), self._committed(name)):
            if held is not None and held.is_same_plan(entry) and held.segments & entry.segments:
                return False
        self._buffer.add(name, entry, rows)
        return True

    def should_commit(self, now: float) -> bool:
        """Tell whether it is time to commit: enough is buffered, or it has waited long enough.

        Args:
            now: What `time.monotonic` says, in seconds.
        """
        return commit_is_due(
            num_rows=self._buffer.num_rows,
            size_bytes=self._buffer.size_bytes,
            since_commit_seconds=now - self._last_commit,
            elapsed_seconds=now - self._started,
        )

    def commit(self) -> None:
        """Write everything buffered as one part file.

        Raises:
            OutputError: It cannot be written. What was buffered still is.
        """
        self._last_commit = time.monotonic()
        pending = self._buffer.ledger
        if not pending:
            return
        # Old rows go before new ones come: no reader sees both, and a kill in between loses only work.
        self._drop([
            name for name, entry in pending.items()
            if name in self._parts and not self._parts[name].is_same_plan(entry)
        ])  # fmt: skip
        path = self._storage.part_path(f"part-{ledgers.digest(pending)}.parquet")
        written = {name: entry._replace(files=(path,)) for name, entry in pending.items()}
        self._write(path, written, [sort_rows(self._buffer.rows())])
        conflicts = ledgers.include(self._parts, written)
        assert not conflicts
        self._buffer = Buffer()

    def publish(self) -> None:
        """End the run: commit, and merge what is new into the single file, in place of the old one.

        Its rows are sorted by video and clip, and its bytes depend on neither the order nor the grouping in
        which segments were committed.

        Raises:
            OutputError: It cannot be written.
        """
        self.commit()
        final = self._storage.final_path
        if final is None or not self._parts:
            return
        table = self._table()
        self._write(final, table, merged_rows(self._storage.open, table, self._schema))
        self._published = {name: entry._replace(files=(final,)) for name, entry in table.items()}
        self._parts = {}
        for path in self._storage.list_parts():
            self._storage.delete(path)

    def summary(self) -> Summary:
        """Count the rows that are committed, by reading them.

        Raises:
            OutputError: A file is damaged.
        """
        table = self._table()
        final = self._storage.final_path
        replaced = [name for name in self._published if final not in table[name].files]
        tables = (
            piece
            for path in [*self._storage.list_parts(), *([final] if final and self._published else [])]
            for piece in read_columns(
                self._storage.open,
                path,
                ["video", "clip", "error", "error_kind"],
                without=replaced if path == final else [],
            )
        )
        return summarize(tables, num_videos=len(table))

    def _table(self) -> Ledger:
        """Return what is committed in all: what the parts hold takes precedence over the single file."""
        return ledgers.overlay(self._published, self._parts)

    def _committed(self, name: str) -> Entry | None:
        if name in self._conflicts:
            return None
        published = self._published.get(name)
        parts = self._parts.get(name)
        if published is None or parts is None:
            return parts or published
        return ledgers.overlay({name: published}, {name: parts})[name]

    def _read_committed(self) -> None:
        parts = self._storage.list_parts()
        final = [self._storage.final_path] if self._storage.final_path and self._storage.has_final() else []
        with ThreadPoolExecutor(_NUM_READERS) as pool:
            footers = list(pool.map(lambda path: read_footer(self._storage.open, path), [*parts, *final]))
        for footer in footers:
            recorded = footer.settings | _column_settings(footer.schema)
            if recorded not in self._recorded:
                self._recorded.append(recorded)
        if final:
            self._published = footers.pop().ledger
        for path, footer in zip(parts, footers, strict=True):
            if ledgers.covers(self._published, footer.ledger):
                self._storage.delete(path)  # left by a run that was killed when its file was published
            else:
                self._conflicts |= ledgers.include(self._parts, footer.ledger)

    def _check_settings(self, was: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        now = json.loads(json.dumps(dict(settings))) | _column_settings(self._schema)
        differing = [
            f"{key} was {_shown(was, key)}, now {_shown(now, key)}"
            for key in sorted(was.keys() | now.keys())
            if _shown(was, key) != _shown(now, key)
        ]
        if differing:
            raise SettingsDifferError(
                f"{self._storage.out} was written with other settings: {'; '.join(differing)}",
                "choose another --out, or the same settings",
            )

    def _write(self, path: str, ledger: Ledger, tables: Iterable[pa.Table]) -> None:
        assert self._settings is not None, "use_settings comes first"
        values = metadata(self._settings, self._run_id, ledger)
        self._storage.write(path, lambda sink: write_file(sink, tables, self._schema, values))

    def _drop(self, names: Collection[str]) -> None:
        """Take the rows of some videos out of the part files."""
        files: dict[str, set[str]] = {}
        for name in names:
            for path in self._parts[name].files:
                files.setdefault(path, set()).add(name)
        for path, dropped in sorted(files.items()):
            held = read_footer(self._storage.open, path).ledger
            kept = {name: entry for name, entry in held.items() if name not in dropped}
            if kept:
                self._write(path, kept, [read_rows(self._storage.open, path, without=dropped)])
            else:
                self._storage.delete(path)
            for name in dropped:
                entry = self._parts[name]
                self._parts[name] = entry._replace(files=tuple(file for file in entry.files if file != path))
        for name in names:
            del self._parts[name]


def _column_settings(schema: pa.Schema) -> dict[str, str]:
    """Describe the columns as settings: they too must be the same in all files of an output."""
    return {f"column {field.name}": str(field.type) for field in schema}


def _shown(settings: Mapping[str, Any], key: str) -> str:
    return json.dumps(settings[key], sort_keys=True) if key in settings else "absent"
