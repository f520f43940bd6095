"""`vidcnn similar`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from vidcnn.bounds import MAX_COUNT, MAX_SEED
from vidcnn.commands import DebugOption, JsonOption
from vidcnn.errors import UsageError
from vidcnn.streams import show

if TYPE_CHECKING:
    from vidcnn.predictions.table import Table
    from vidcnn.reporting.similar_page import Group

_MOST_CLUSTERS = 1000
_ENDINGS = (".html", ".htm")

ClipArgument = Annotated[
    str | None,
    typer.Argument(help="The clip: VIDEO#INDEX, or VIDEO@SECONDS, of the table.", metavar="CLIP", show_default=False),
]
InOption = Annotated[
    str, typer.Option("--in", help="A table that vidcnn infer wrote with --embedding.", metavar="TABLE")
]
OfOption = Annotated[
    str | None,
    typer.Option("--of", help="Another such table, which has the clip.", metavar="TABLE", show_default=False),
]
NumOption = Annotated[int, typer.Option("--num", help="How many clips are found.", min=1, max=MAX_COUNT, metavar="N")]
ClustersOption = Annotated[
    int | None,
    typer.Option(
        "--clusters",
        help="Instead of a CLIP: group all clips in so many clusters, and name the typical clips of each.",
        min=1,
        max=_MOST_CLUSTERS,
        metavar="N",
        show_default=False,
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of --clusters.", min=0, max=MAX_SEED, metavar="N")]
OutOption = Annotated[
    str | None,
    typer.Option("--out", help="An HTML page with pictures, too.", metavar="PAGE.html", show_default=False),
]
SourceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        help="Where the videos of --out are, as vidcnn infer was given it; may be repeated.",
        metavar="SOURCE",
        show_default=False,
    ),
]
FollowLinksOption = Annotated[
    bool, typer.Option("--follow-links", help="Follow symbolic links that lead out of --source, too.")
]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV, with a line for each clip.")]


class _Found(NamedTuple):
    """What was found, in each form in which it is shown.

    Attributes:
        title: Of a page of it.
        groups: The clips on the page, without their pictures.
        text, csv: For the screen.
        values: As JSON values.
    """

    title: str
    groups: list[Group]
    text: str
    csv: str
    values: dict[str, Any]


def similar(
    clip: ClipArgument = None,
    *,
    in_: InOption = "preds.parquet",
    of: OfOption = None,
    num: NumOption = 20,
    clusters: ClustersOption = None,
    seed: SeedOption = 0,
    out: OutOption = None,
    source: SourceOption = None,
    follow_links: FollowLinksOption = False,
    as_csv: CsvOption = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Find the clips of a table that are most like one, or the clusters that its clips are in.

    Clips are alike where their embeddings point the same way (cosine). Of clips that share a moment of a video only the
    best counts. The search is exact, and no video is read but for the pictures of --out.
    """
    _check(clip, of, clusters, out, source, as_csv=as_csv, as_json=as_json)
    from vidcnn.embeddings.clips import open_embeddings

    with open_embeddings(in_) as table:
        found = _grouped(table, clusters, seed, in_) if clip is None else _alike(table, clip, of, num)
        if out is not None:
            _write_page(out, found, table, source or (), follow_links=follow_links)
    if as_json:
        show(json.dumps({**found.values, **({} if out is None else {"page": out})}))
    else:
        show(found.csv if as_csv else found.text)


def _check(
    clip: str | None,
    of: str | None,
    clusters: int | None,
    out: str | None,
    source: Sequence[str] | None,
    *,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Refuse options that mean nothing together.

    Raises:
        UsageError: There are some.
    """
    if (clip is None) is (clusters is None):
        raise UsageError("give a CLIP, or --clusters", "vidcnn similar cam1/a.mp4#3 --in preds.parquet")
    if of is not None and clip is None:
        raise UsageError("--of names the table of a CLIP")
    if as_csv and as_json:
        raise UsageError("--csv and --json exclude each other")
    if out is not None and not out.lower().endswith(_ENDINGS):
        raise UsageError(f"--out ({out}) must end in .html")
    if (out is None) is not (not source):
        raise UsageError("--out needs the videos: name them with --source" if out else "--source is for --out")


def _alike(table: Table, text: str, of: str | None, num: int) -> _Found:
    """Return the clips that are like one."""
    from vidcnn.embeddings.clips import ClipName, find_clip, open_embeddings
    from vidcnn.embeddings.search import find_similar
    from vidcnn.reporting.similar_page import Group
    from vidcnn.reporting.similar_text import clip_name, similar_csv, similar_json, similar_text

    name = ClipName.of(text)
    groups = []
    if of is None:
        clip, direction = find_clip(table, name)
        found = find_similar(table, direction, num, clip)
        groups.append(Group("The clip", [(clip, None)]))
    else:
        with open_embeddings(of) as other:
            if other.settings.get("backbone_sha256") != table.settings.get("backbone_sha256"):
                raise UsageError("the two tables are of other backbones: their embeddings mean other things")
            clip, direction = find_clip(other, name)
        found = find_similar(table, direction, num)
    groups.append(Group("The most similar first", [(one, None) for one in found]))
    return _Found(
        f"Clips like {clip_name(clip)}",
        groups,
        similar_text(clip, found),
        similar_csv(found),
        similar_json(clip, found),
    )


def _grouped(table: Table, num_clusters: int | None, seed: int, shown: str) -> _Found:
    """Return the clusters of a table."""
    from vidcnn.embeddings.clusters import find_clusters
    from vidcnn.reporting.similar_page import Group
    from vidcnn.reporting.similar_text import clusters_csv, clusters_json, clusters_text

    assert num_clusters is not None
    clusters = find_clusters(table, num_clusters, seed=seed)
    groups = [
        Group(
            f"Cluster {number}: {cluster.num_clips:,} clips ({cluster.share:.0%})",
            [(one, None) for one in cluster.typical],
        )
        for number, cluster in enumerate(clusters, 1)
    ]
    texts = clusters_text(clusters), clusters_csv(clusters), clusters_json(clusters)
    return _Found(f"Clusters of {shown}", groups, *texts)


def _write_page(out: str, found: _Found, table: Table, sources: Sequence[str], *, follow_links: bool) -> None:
    """Write the page of what was found, with a picture of each clip."""
    from pathlib import Path

    from vidcnn.pipelines.thumbnails import Moment, thumbnails
    from vidcnn.reporting.similar_page import clips_page
    from vidcnn.storage.atomic import write_whole

    moments = [
        Moment(clip.video, (clip.start_seconds + clip.end_seconds) / 2)
        for group in found.groups
        for clip, _ in group.clips
    ]
    settings = table.settings
    made = thumbnails(
        moments,
        sources,
        max_pixels=settings["max_pixels"],
        image_fps=settings["image_fps"],
        follow_links=follow_links,
    )
    pictures = iter(made)
    groups = [group._replace(clips=[(clip, next(pictures)) for clip, _ in group.clips]) for group in found.groups]
    write_whole(Path(out), clips_page(found.title, groups).encode())
