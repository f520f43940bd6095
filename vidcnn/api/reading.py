"""Reading what there is: clips of a video, and the rows of a table of predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vidcnn.api.runs import Location, source_texts
from vidcnn.choices import ShortClips
from vidcnn.errors import UsageError, VideoError
from vidcnn.predictions.dataset import open_dataset

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset, Expression


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip of a video.

    Attributes:
        video: Name of the video.
        index: Which of its clips.
        start_seconds: Presentation time at which it starts.
        end_seconds: Presentation time at which it ends.
        pixels: uint8 (T, H, W, 3) RGB.
    """

    video: str
    index: int
    start_seconds: float
    end_seconds: float
    pixels: NDArray[np.uint8]


def clips(
    videos: Location | Sequence[Location],
    *,
    num_frames: int = 16,
    stride: int | None = None,
    fps: float | None = None,
    step: int | None = None,
    num_clips: int | None = None,
    short_clips: ShortClips = "repeat_last",
    size: tuple[int, int] | None = None,
    errors: Literal["raise", "skip"] = "raise",
    follow_links: bool = False,
) -> Iterator[Clip]:
    """Decode the clips of videos in this process, each needed frame once.

    Args:
        videos: Folders, files, globs, lists or URIs.
        num_frames: Frames of a clip, T.
        stride: Frames of the video from one frame of a clip to the next; 1 where `fps` is not given either.
        fps: Frames of a clip in a second of the video, instead of `stride`.
        step: Frames, or ticks of `fps`, from the start of one clip to that of the next; None: clips back to back.
        num_clips: So many clips, spread over each video, instead of `step`.
        short_clips: What becomes of a clip that reaches past the end of its video: the last frame is repeated, the clip
            starts over, or it is left out.
        size: ``(height, width)`` to resize frames to; None keeps their own.
        errors: ``skip`` leaves out what cannot be decoded.
        follow_links: Follow symbolic links in folders also where they lead out of the folder.

    Yields:
        The clips, a video after the other, in the order of their ends.

    Raises:
        SourceError: There is no such video.
        VideoError: A clip cannot be decoded; not with ``skip``.
        StorageError: A video cannot be read now, through no fault of its own.
        UsageError: Values do not fit together.
    """
    from vidcnn.sampling.preprocessing import Preprocessing
    from vidcnn.sampling.segments import ClipSpec, Sampling
    from vidcnn.sources import Listing
    from vidcnn.video.container import MAX_PIXELS
    from vidcnn.video.decode import DecodeRequest, decode_segment
    from vidcnn.video.golden import check_decoder
    from vidcnn.video.planning import PlanSettings, plan_video

    if errors not in ("raise", "skip"):
        raise UsageError(f"errors ({errors!r}) must be 'raise' or 'skip'")
    try:
        sampling = Sampling(num_frames, stride=1 if stride is None and fps is None else stride, fps=fps)
        settings = PlanSettings(ClipSpec(sampling, step, num_clips, short_clips), 25.0, MAX_PIXELS)
        preprocessing = None if size is None else Preprocessing(size, size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    check_decoder("bilinear", exact=False)
    for video in Listing(source_texts(videos), follow_links=follow_links):
        try:
            for planned in plan_video(video, settings):
                segment = planned.segment
                request = DecodeRequest(
                    planned.location, segment, planned.is_frame_folder, planned.timing, preprocessing,
                    version=planned.version, root=planned.root,
                )  # fmt: skip
                for decoded in decode_segment(request):
                    if decoded.error is None and decoded.pixels is not None:
                        start, end = segment.start_seconds[decoded.index], segment.end_seconds[decoded.index]
                        index = segment.first_clip + decoded.index
                        yield Clip(video.name, index, float(start), float(end), decoded.pixels)
                    elif decoded.error is not None and not (errors == "skip" and isinstance(decoded.error, VideoError)):
                        raise decoded.error
        except VideoError:
            if errors == "raise":
                raise


class Predictions:
    """A table of predictions, of which nothing is read before it is asked for. `read_predictions` opens one.

    Attributes:
        dataset: The table, for whoever takes a `pyarrow.dataset.Dataset`: DuckDB, polars, pandas through Arrow.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __repr__(self) -> str:
        """Return its columns."""
        return f"<vidcnn.Predictions: {', '.join(self.dataset.schema.names)}>"

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.dataset.count_rows())

    def to_table(self, columns: Sequence[str] | None = None, where: Expression | None = None) -> pa.Table:
        """Read rows.

        Args:
            columns: Which columns; None: all.
            where: Which rows, as `pyarrow.dataset.Dataset.to_table` takes a filter.
        """
        return self.dataset.to_table(columns=None if columns is None else list(columns), filter=where)

    def to_pandas(self, columns: Sequence[str] | None = None, where: Expression | None = None) -> Any:
        """Read rows into a `pandas.DataFrame`; otherwise as `to_table`."""
        return self.to_table(columns, where).to_pandas()

    def errors(self) -> pa.Table:
        """Return the rows of what could not be classified: columns video, clip, error, error_kind."""
        import pyarrow.compute as pc

        where = pc.field("error").is_valid()
        return self.to_table(("video", "clip", "error", "error_kind"), where).sort_by([("video", "ascending")])

    def videos(self) -> pa.Table:
        """Return a row for each video, by name.

        Returns:
            Columns ``video``; ``clips``, the number of its clips with a prediction; ``label`` and ``share``, the class
            that most of its clips have as their best one, and the share of clips that do (of classes as many clips
            have, the first by name); ``score``, the mean of these clips' scores; ``errors``, the number of its error
            rows. ``label``, ``share`` and ``score`` are null where no clip has a prediction.
        """
        import pyarrow.compute as pc

        table = self.to_table(("video", "label", "score", "error"))
        votes = table.filter(pc.is_null(table["error"])).group_by(["video", "label"])
        votes = votes.aggregate([("score", "count"), ("score", "mean")])
        votes = votes.sort_by([("video", "ascending"), ("score_count", "descending"), ("label", "ascending")])
        best = votes.group_by("video", use_threads=False).aggregate(
            [("label", "first"), ("score_count", "first"), ("score_mean", "first"), ("score_count", "sum")]
        )
        totals = table.group_by("video").aggregate([("error", "count")])
        joined = totals.join(best, "video").sort_by([("video", "ascending")])
        clips = pc.coalesce(joined["score_count_sum"], pa.scalar(0, pa.int64()))
        share = pc.divide(
            pc.cast(joined["score_count_first"], pa.float64()), pc.cast(joined["score_count_sum"], pa.float64())
        )
        return pa.table(
            {
                "video": joined["video"],
                "clips": clips,
                "label": joined["label_first"],
                "share": share,
                "score": joined["score_mean_first"],
                "errors": joined["error_count"],
            }
        )


def read_predictions(out: Location) -> Predictions:
    """Open a table of predictions, as ``--out`` named it: a file or a folder, here or in object storage.

    Raises:
        OutputError: There is none, or it cannot be read.
    """
    return Predictions(open_dataset(out))
