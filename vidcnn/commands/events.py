"""`vidcnn events`."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from vidcnn.choices import EventFormat, Sandbox
from vidcnn.commands import DebugOption, JsonOption, PredsArgument
from vidcnn.config.base import FOLLOW_LINKS, SANDBOX
from vidcnn.streams import show

if TYPE_CHECKING:
    from vidcnn.events.rules import RuleSet

EventsArgument = Annotated[
    Path, typer.Argument(help="Found events (.parquet, .csv, .json).", metavar="EVENTS", show_default=False)
]
TruthOption = Annotated[
    Path,
    typer.Option(
        help="Known events: a table (.csv, .tsv, .parquet) with video, label, start_seconds and end_seconds, or the "
        "JSON of ActivityNet.",
        metavar="FILE",
        show_default=False,
    ),
]
SubsetOption = Annotated[
    str | None,
    typer.Option(help="Of annotations in JSON, the videos of this subset alone.", metavar="NAME", show_default=False),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option(help="Only this class; may be repeated.", metavar="NAME", show_default=False),
]
ThresholdOption = Annotated[float, typer.Option(help="Score that an event must reach somewhere.", min=0.0, max=1.0)]
EndOption = Annotated[
    float | None,
    typer.Option(
        help="Score that it must have everywhere; by default 0.6 of --threshold.", min=0.0, max=1.0, show_default=False
    ),
]
SmoothOption = Annotated[
    float, typer.Option(help="Take the mean of scores over so many seconds first.", min=0.0, metavar="SECONDS")
]
GapOption = Annotated[float, typer.Option(help="Events that are no further apart are one.", min=0.0, metavar="SECONDS")]
MinOption = Annotated[float, typer.Option(help="Leave out what is shorter.", min=0.0, metavar="SECONDS")]
RulesOption = Annotated[
    Path | None,
    typer.Option(help="Rules by class, as `vidcnn events tune` writes them.", metavar="RULES.json", show_default=False),
]
OutOption = Annotated[
    str | None,
    typer.Option(
        help="Where to write them: a file .parquet, .csv or .json; or a folder for subtitles.",
        metavar="FILE|FOLDER",
        show_default=False,
    ),
]
FormatOption = Annotated[
    EventFormat | None,
    typer.Option("--format", help="Its format, where the name does not tell.", show_default=False),
]
_NUM_SHOWN = 20


class FindByDefault(TyperGroup):
    """A group that finds events where no other command of it is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command that is meant before the arguments."""
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["find", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="events",
    cls=FindByDefault,
    help="Turn the scores of clips into events: what happened, from when to when.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


@app.command()
def find(
    preds: PredsArgument,
    *,
    out: OutOption = None,
    kind: FormatOption = None,
    threshold: ThresholdOption = 0.5,
    end_threshold: EndOption = None,
    smooth_seconds: SmoothOption = 0.0,
    gap_seconds: GapOption = 0.0,
    min_seconds: MinOption = 0.0,
    rules: RulesOption = None,
    label: LabelOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Find the events of a table of predictions; `vidcnn events PREDS` is this command.

    An event lasts as long as its score is at least --end-threshold, if it
    reaches --threshold somewhere.
    """
    from vidcnn.events.scores import read_scores
    from vidcnn.events.table import events_of
    from vidcnn.events.tally import Tally
    from vidcnn.events.writing import format_of, write_events
    from vidcnn.predictions.table import Table
    from vidcnn.reporting.events_text import Written, events_json, events_text

    chosen = None if out is None else format_of(out, kind)
    given: dict[str, float | None] = {
        "threshold": threshold, "end_threshold": end_threshold, "smooth_seconds": smooth_seconds,
        "gap_seconds": gap_seconds, "min_seconds": min_seconds,
    }  # fmt: skip
    wanted = _rules(given, rules)
    table = Table.open(preds, while_written=True)
    _check_labels(label, table.labels)
    tally = Tally(num_first=0 if out is not None else 2**63 if as_json else _NUM_SHOWN)
    found = tally.through(events_of(read_scores(table, label), wanted))
    if out is None or chosen is None:
        for _ in found:
            pass
        written = None
    else:
        written = Written(out, write_events(out, chosen, found))
    values = (table.location, tally, written)
    show(json.dumps(events_json(*values)) if as_json else events_text(*values))


@app.command()
def tune(
    preds: PredsArgument,
    *,
    truth: TruthOption,
    out: Annotated[str, typer.Option(help="File to write the rules to.", metavar="RULES.json", show_default=False)],
    subset: SubsetOption = None,
    label: LabelOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Choose thresholds and lengths of time for each class, by videos of which the events are known."""
    from vidcnn.errors import OutputError, describe_reason
    from vidcnn.events.intervals import Rules
    from vidcnn.events.known import read_known
    from vidcnn.events.rules import RuleSet
    from vidcnn.events.tuning import tune_all
    from vidcnn.interrupts import interruptible
    from vidcnn.predictions.table import Table
    from vidcnn.reporting.events_text import tuned_json, tuned_text
    from vidcnn.storage.atomic import write_whole

    known = read_known(truth, subset)
    table = Table.open(preds, while_written=True)
    _check_labels(label, table.labels)
    with interruptible("nothing was written"):
        tuned = tune_all(table, known, label)
    rules = RuleSet(Rules(), {name: one.rules for name, one in tuned.items()})
    try:
        write_whole(Path(out), rules.text().encode())
    except OSError as error:
        raise OutputError(f"cannot write {out}: {describe_reason(error)}", "choose another --out") from error
    show(json.dumps(tuned_json(tuned, out)) if as_json else tuned_text(tuned, out))


@app.command()
def evaluate(
    events: Annotated[
        Path,
        typer.Argument(help="Found events (.parquet, .csv, .json).", metavar="EVENTS", show_default=False),
    ],
    *,
    truth: TruthOption,
    subset: SubsetOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Measure events by known ones: mean average precision by overlap in time, as ActivityNet does."""
    from vidcnn.events.evaluation import evaluate as measure
    from vidcnn.events.known import read_found, read_known
    from vidcnn.reporting.events_text import agreement_json, agreement_text

    found = read_found(events)
    known = read_known(truth, subset).under_names({event.video for event in found})
    counted = [event for event in found if event.video in known.videos]
    reached = measure(known.events, counted)
    if as_json:
        show(json.dumps(agreement_json(reached, known.events, counted, num_left_out=len(found) - len(counted))))
    else:
        show(agreement_text(reached, known.events, counted, num_left_out=len(found) - len(counted)))


@app.command()
def chapters(
    events: EventsArgument,
    *,
    source: Annotated[
        list[str],
        typer.Option(help="The videos that were classified; may be repeated.", metavar="SOURCE", show_default=False),
    ],
    out: Annotated[str, typer.Option(help="Folder for the copies.", metavar="FOLDER", show_default=False)],
    sandbox: Annotated[Sandbox, typer.Option(help=SANDBOX)] = "auto",
    follow_links: Annotated[bool, typer.Option("--follow-links", help=FOLLOW_LINKS)] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Copy videos, and give the copies their events as chapters.

    Nothing is decoded or encoded. A copy is MP4 where its video is, else Matroska.
    """
    from vidcnn.events.films import write_with_chapters
    from vidcnn.events.known import read_found
    from vidcnn.interrupts import interruptible
    from vidcnn.reporting.events_text import copies_json, copies_text
    from vidcnn.sources import Listing

    found = read_found(events)
    by_video: dict[str, list[Any]] = {}
    for event in found:
        by_video.setdefault(event.video, []).append(event)
    with interruptible("copies that are there are whole; the same command makes all of them again"):
        written, failures = write_with_chapters(
            Listing(source, follow_links=follow_links), by_video, Path(out), sandbox
        )
    values = (out, written, failures)
    show(json.dumps(copies_json(*values)) if as_json else copies_text(*values))


def _rules(given: dict[str, float | None], path: Path | None) -> RuleSet:
    from vidcnn.errors import UsageError
    from vidcnn.events.rules import RuleSet, make_rules, read_rules

    try:
        base = make_rules({name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        raise UsageError(str(error), "--end-threshold is at most --threshold") from error
    return RuleSet(base) if path is None else read_rules(path, base)


def _check_labels(wanted: list[str] | None, labels: tuple[str, ...]) -> None:
    """Refuse a class that the table cannot have.

    Raises:
        UsageError: There is one.
    """
    from vidcnn.errors import UsageError

    for name in wanted or ():
        if labels and name not in labels:
            close = difflib.get_close_matches(name, labels, n=1)
            shown = ", ".join(labels[:5]) + (", ..." if len(labels) > 5 else "")
            raise UsageError(
                f"the table has no class '{name}'", f"did you mean {close[0]}?" if close else f"it has {shown}"
            )
