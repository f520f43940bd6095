"""The spec of `vidcnn scan`."""

from __future__ import annotations

from pydantic import Field

from vidcnn.bounds import MAX_SECONDS
from vidcnn.choices import AutoSwitch, Sandbox
from vidcnn.config.base import FOLLOW_LINKS, Count, Fraction, FrameRate, Pixels, Processes, Spec, option
from vidcnn.config.tables import RedoErrors, TablePath, kinds_of


class ScanSpec(Spec):
    """Check a collection of videos: what they are, what is wrong with them, which are the same."""

    source: tuple[str, ...] = Field(
        min_length=1,
        description="Directories (recursive), files, globs, lists (.txt, .csv, .parquet), or s3:// and gs:// URIs; "
        "on the command line, - for a list on standard input.",
    )
    out: TablePath = option(
        "scan.parquet",
        "Where the table is written: one file if it ends in .parquet, else a directory that later runs add to.",
        panel="Main",
        metavar="PATH",
    )
    quick: bool = option(
        False,
        "Read no more of each video than its index and packets need: no frame is decoded, and no duplicates are found.",
        panel="Main",
    )
    sample_seconds: float = option(
        1.0,
        "One frame in so many seconds is decoded, to find damage and black and frozen stretches.",
        panel="Main",
        metavar="SECONDS",
        ge=0.001,
        le=1000,
    )
    image_fps: FrameRate = option(25.0, "Frames per second of a folder of numbered images.", panel="Main")

    limit: Count | None = option(None, "Only the first so many videos of the source.", panel="Run")
    follow_links: bool = option(False, FOLLOW_LINKS, panel="Run")
    settle: float = option(
        0.0,
        "Leave local videos that were written within the last so many seconds to the next run.",
        panel="Run",
        metavar="SECONDS",
        ge=0,
        le=MAX_SECONDS,
    )
    redo_errors: RedoErrors = option(
        None,
        "Do again what has an error: of these kinds, such as timeout changed, or of all.",
        panel="Run",
        metavar="[KIND...]",
    )
    max_error_fraction: Fraction = option(
        1.0, "End with exit code 3 if a larger share of the videos is bad.", panel="Run"
    )
    max_pixels: Pixels = option(8192 * 8192, "Largest frame that is decoded, in pixels.", panel="Run")
    decode_timeout: float = option(
        60.0,
        "How long reading or decoding may make no headway, besides what a video's size allows.",
        panel="Run",
        metavar="SECONDS",
        gt=0,
        le=MAX_SECONDS,
    )
    sandbox: Sandbox = option("auto", "As in `vidcnn infer`.", panel="Run")
    decoders: Processes | None = option(None, "Videos scanned at once.  \\[default: one for each CPU]", panel="Run")
    in_process: AutoSwitch = option(
        "auto", "Run without Ray. auto does it on this machine, and not on a cluster.", panel="Run"
    )

    @property
    def redo_kinds(self) -> frozenset[str] | None:
        """The kinds that `redo_errors` means; None for all."""
        return kinds_of(self.redo_errors)
