"""Write a predictions table so that it is right at any moment: commit, resume, publish.

Takes the rows of finished segments, in any order and perhaps twice; returns the table at ``--out`` with the
rows of each segment exactly once. `Output.add` buffers, `Output.commit` writes what is buffered as one part
file, written aside and renamed. What is done is read from the files themselves: each carries the ledger of
the segments whose rows it contains, so there is no second record that could disagree::

    add -> buffer --commit--> part-*.parquet            a dataset: this is the output
                                    |
                                 publish --> X.parquet  a single file: parts stay hidden until merged

Only the newest version of a video stays. Rows of another version or plan leave the part files before the
first new rows are written; in a single file, old rows stay to be read until the new file replaces it. Nothing is
deleted before what replaces it was read back.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from vidcnn.config.differences import differences
from vidcnn.errors import SettingsDifferError
from vidcnn.predictions import ledger as ledgers
from vidcnn.predictions.buffer import Buffer, commit_is_due
from vidcnn.predictions.committed import Committed, column_settings
from vidcnn.predictions.files import (
    check_file,
    metadata,
    read_ledger,
    read_rows,
    sort_rows,
    write_empty,
    write_file,
)
from vidcnn.predictions.ledger import Entry
from vidcnn.predictions.merging import merged_entries, merged_rows
from vidcnn.predictions.output_storage import OutputStorage, open_storage
from vidcnn.predictions.redo import Redo, videos_with_errors
from vidcnn.predictions.rows import Summary, summarize
from vidcnn.predictions.section import LedgerWriter
from vidcnn.sources.keys import SegmentKey, VideoKey, video_text

__all__ = ["Output", "SegmentKey", "VideoKey"]

Change = Callable[[pa.Table], pa.Table]


class Output:
    """A predictions table being written; the only writer of its files. Use it as a context manager.

    Leaving the context gives the lock back; it commits nothing. Another thread may ask what is done meanwhile.
    """

    def __init__(self, storage: OutputStorage, *, schema: pa.Schema, run_id: str) -> None:
        self._storage = storage
        self._settings: Mapping[str, Any] | None = None
        self._schema = schema
        self._run_id = run_id
        self._committed = Committed(storage)
        self._buffer = Buffer()
        self._redo = Redo()
        self._begun: str | None = None
        self._changing = threading.Lock()
        self._started = self._last_commit = time.monotonic()

    @classmethod
    def open(
        cls, out: str, *, schema: pa.Schema, settings: Mapping[str, Any] | None = None, run_id: str | None = None
    ) -> Output:
        """Open an output and read what is committed.

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
    ) -> Self:
        """Read what is committed in an output that is open already; it is closed with this one, or on failure.

        Args:
            storage: What `vidcnn.predictions.output_storage.open_storage` returned.
            schema: As for `open`.
            settings: As for `open`.
            run_id: As for `open`.

        Raises:
            SettingsDifferError: The output was written with other settings.
            OutputError: It is damaged, or is not vidcnn's.
        """
        try:
            output = cls(storage, schema=schema, run_id=run_id or uuid.uuid4().hex)
            output._committed.read()
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
        return self._committed.recorded[0] if self._committed.recorded else None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is committed, by this run or an earlier one."""
        return not len(self._committed.published) and not len(self._committed.parts)

    def discard(self) -> None:
        """Forget what is buffered and not committed."""
        self._buffer = Buffer()

    def use_settings(self, settings: Mapping[str, Any]) -> None:
        """Set what the rows of this run depend on; it must happen before the first commit.

        Args:
            settings: JSON values by name: model, weights, clips, preprocessing.

        Raises:
            SettingsDifferError: The output was written with other settings.
        """
        for recorded in self._committed.recorded:
            self._check_settings(recorded, settings)
        self._settings = settings
        if not self._storage.is_view:
            # Only two runs at once, which no lock kept apart, leave any conflicts.
            self._drop({name: self._committed.parts.find(name, 0, 0) for name in self._committed.conflicts})
            self._committed.conflicts = set()

    def redo_errors(self, kinds: Collection[str] | None = None) -> int:
        """Count videos with error rows as not done, until they are done again; their rows stay until then.

        Args:
            kinds: Of the errors; None for all.

        Returns:
            How many videos that is.

        Raises:
            OutputError: A file is damaged.
        """
        final = self._storage.final_path
        names: set[str] = set()
        for path in self._committed.files():
            replaced = self._committed.replaced() if path == final else set()
            names |= videos_with_errors(self._storage.open, path, kinds) - replaced
        self._redo.begin(names)
        return len(names)

    def is_done(self, video: VideoKey) -> bool:
        """Return whether every segment of this version of a video is committed."""
        held = self._held(video)
        return held is not None and held.is_complete

    def done_segments(self, video: VideoKey, count: int) -> frozenset[int]:
        """Return the indexes of the committed segments of this version of a video.

        Args:
            video: The version.
            count: Segments of its plan; what was committed under a plan of another number is not done.
        """
        held = self._held(video)
        if held is None or held.num_segments != count:
            return frozenset()
        return ledgers.segment_indexes(held.segments)

    def partly_done(self, video: VideoKey) -> tuple[int, frozenset[int]] | None:
        """Return what is committed of this version of a video: segments of its plan, and indexes of those done."""
        held = self._held(video)
        return None if held is None else (held.num_segments, ledgers.segment_indexes(held.segments))

    def add(self, segment: SegmentKey, rows: pa.Table) -> bool:
        """Buffer the rows of a finished segment; the next `commit` writes them.

        A segment of another version, or of a plan of another number of segments, replaces all that the output
        contains of the video.

        Args:
            segment: The video, its version, and the number of the segment.
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
        for held in (self._buffer.ledger.get(name), self._held(segment.video)):
            if held is not None and held.is_same_plan(entry) and held.segments & entry.segments:
                return False
        if name not in self._redo:
            self._buffer.add(name, entry, rows)
            return True
        taken, whole = self._redo.add(name, entry, rows)
        if whole is not None:
            self._buffer.add(name, *whole)
        return taken

    def should_commit(self, now: float) -> bool:
        """Return whether it is time to commit: enough is buffered, or it has waited long enough.

        Args:
            now: The value of `time.monotonic`, in seconds.
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
        found = {name: self._committed.parts.find(name, *entry[:2]) for name, entry in pending.items()}
        self._drop({name: held for name, held in found.items() if held is not None and not held.fits(pending[name])})
        # What fails half-way is written over by the next commit, which has its rows and more.
        path = self._begun = self._begun or self._storage.new_part(ledgers.digest(pending))
        with LedgerWriter.of(pending) as ledger:
            self._write(path, ledger, [sort_rows(self._buffer.rows())])
        self._committed.add_part(path)
        self._begun = None
        with self._changing:
            for name, entry in pending.items():
                self._committed.parts.put(name, entry._replace(files=(path,)))
            self._redo.end(pending)
        self._buffer = Buffer()

    def publish(self, change: Change | None = None) -> None:
        """End the run: commit, and merge what is new into the single file, in place of the old one.

        Its rows are sorted by video and clip, and its bytes depend on neither the order nor the grouping in
        which segments were committed.

        Args:
            change: Returns rows with other values in columns that depend on the rows of other videos; in a dataset, the
                files are written again in which that changes any.

        Raises:
            OutputError: It cannot be written.
        """
        self.commit()
        self._committed.check_parts()
        final = self._storage.final_path
        if final is None and change is not None:
            self._change_parts(change)
        if final is None or not len(self._committed.parts):
            return
        sources = self._committed.sources()
        with LedgerWriter() as ledger:
            entries = merged_entries(self._storage.open, sources)
            rows = merged_rows(self._storage.open, entries, self._schema, ledger)
            self._write(final, ledger, rows if change is None else map(change, rows), replaces=True)
            check_file(self._storage.open, final, ledger, rows=True)  # on object storage, what has arrived
        self._committed.read_published([source.path for source in sources if source.path != final])

    def summary(self) -> Summary:
        """Count the rows that are committed, by reading them.

        Raises:
            OutputError: A file is damaged.
        """
        tables = self.read(["video", "clip", "error", "error_kind"])
        return summarize(tables, num_videos=self._committed.count_videos())

    def read(self, columns: list[str]) -> Iterator[pa.Table]:
        """Read some columns of all rows that are committed, in pieces and in any order.

        Raises:
            OutputError: A file is damaged.
        """
        return self._committed.read_columns(columns)

    def read_in_order(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Read all rows that are committed, in pieces, sorted by video and clip.

        Args:
            columns: Which are read, with those that sort the rows; None for all.

        Raises:
            OutputError: A file is damaged.
        """
        return merged_rows(self._storage.open, self._committed.entries(), self._schema, columns=columns)

    def _held(self, video: VideoKey) -> Entry | None:
        """Return what is committed of this version of a video, and need not be done again."""
        name = video_text(video.name)
        with self._changing:
            held = None if name in self._redo else self._committed.find(name, video.size_bytes, video.mtime_ns)
        return held if held is not None and held.is_of(video) else None

    def _check_settings(self, was: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        if differing := differences(was, dict(settings) | column_settings(self._schema)):
            raise SettingsDifferError(
                f"{self._storage.out} was written with {'; '.join(differing)}",
                "choose another --out, or the same settings",
            )

    def _write(self, path: str, ledger: LedgerWriter, tables: Iterable[pa.Table], *, replaces: bool = False) -> None:
        """Write a part that is new, or what replaces other files: then all of it is read back before."""
        assert self._settings is not None, "use_settings comes first"
        values = metadata(self._settings, self._run_id, self._committed.generation + 1)
        self._storage.write(
            path,
            lambda sink: write_file(sink, tables, self._schema, values, ledger),
            lambda open_file, written: check_file(open_file, written, ledger, rows=replaces),
            None if replaces else lambda sink: write_empty(sink, self._schema, values),
        )

    def _change_parts(self, change: Change) -> None:
        """Write those part files again of which `change` makes other rows."""
        for path in self._committed.part_paths():
            rows = read_rows(self._storage.open, path, without=[])
            changed = change(rows)
            if not changed.equals(rows):
                with LedgerWriter.of(read_ledger(self._storage.open, path)) as ledger:
                    self._write(path, ledger, [changed], replaces=True)

    def _drop(self, replaced: Mapping[str, Entry | None]) -> None:
        """Take the rows of some videos out of the part files.

        Args:
            replaced: What the parts contain of them.
        """
        left = {name: entry for name, entry in replaced.items() if entry is not None}
        files: dict[str, set[str]] = {}
        for name, entry in left.items():
            for path in entry.files:
                files.setdefault(path, set()).add(name)
        for path, dropped in sorted(files.items()):
            held = read_ledger(self._storage.open, path)
            kept = {name: entry for name, entry in held.items() if name not in dropped}
            if kept and len(kept) < len(held):
                with LedgerWriter.of(kept) as ledger:
                    self._write(path, ledger, [read_rows(self._storage.open, path, without=dropped)], replaces=True)
            elif not kept:
                self._committed.delete_part(path)
            for name in dropped:  # one by one: the next file may not be to be written
                before = left[name]
                rest = tuple(file for file in before.files if file != path)
                left[name] = before._replace(files=rest)
                with self._changing:
                    self._committed.parts.replace(name, before, left[name] if rest else None)
