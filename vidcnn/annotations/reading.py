"""From what a user gives as data to annotations: `read_annotations`."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from vidcnn.annotations.checks import Sample, check_classes, check_groups, check_leaks, merge
from vidcnn.annotations.classes import assign_classes, read_class_names
from vidcnn.annotations.files import check_no_columns_needed, read_file
from vidcnn.annotations.folders import read_class_folders
from vidcnn.annotations.labelled import SPLITS, Annotations, LabelledVideo, SplitSettings
from vidcnn.annotations.problems import LEADS_OUT_OF_DATA, MISSING, NO_MATCH, NO_SPLIT, UNREADABLE, Problems
from vidcnn.annotations.rows import Entry, ListFile, split_named
from vidcnn.annotations.splitting import choose_validation
from vidcnn.annotations.videos import MISSING_ERROR, RealFiles, find_videos, name_prefix
from vidcnn.choices import Split
from vidcnn.errors import DataError, UsageError
from vidcnn.sources.arguments import Source, look_up, resolve
from vidcnn.sources.lists import is_list
from vidcnn.sources.trees import join, merged

_NUM_SHOWN = 5
"""Kinds of files that are not used, which a notice names."""


def read_annotations(
    data: str,
    *,
    root: str | None = None,
    labels: str | None = None,
    splits: SplitSettings | None = None,
    for_training: bool = True,
    where: str | None = None,
    follow_links: bool = False,
) -> Annotations:
    """Read labelled videos, and divide them into splits where the data does not.

    The formats: a folder of class folders, with or without folders of splits above them, or a scan of one; a file
    of one of the formats of `vidcnn.annotations.files`; a folder with such files, called ``train`` and perhaps
    ``val`` and ``test``, which give the splits. Where there are training samples but no validation samples, these
    are taken from the training samples; where there are some, they stay as they are.

    Args:
        data: Folder or file, as a path or URI.
        root: Folder that the paths in files of annotations are relative to; by default their own.
        labels: File of the names of the classes, in the order of their indexes; by default the names that
            occur, sorted.
        splits: How to make splits.
        for_training: Whether there must be something to learn of every class.
        where: Which rows of a scan are meant; None for all.
        follow_links: Whether symbolic links in folders are followed also where they lead out of the data; what a file
            of annotations names is read in any case.

    Raises:
        DataError: The samples cannot be used; the message lists all problems.
        SourceError: The data does not exist, cannot be listed, or contains no video.
        ModelError: The labels file cannot be read.
        UsageError: `data` is neither a folder nor a file of annotations, or `root` was given for class folders, or
            `where` for something else than a scan.
    """
    settings = splits or SplitSettings()
    source = look_up(data)
    problems = Problems(source.shown)
    names = None if labels is None else read_class_names(labels)
    files = _list_files(source, for_training=for_training) if source.root is None else []
    if files and where is not None:
        raise UsageError(f"--where is for a table of `vidcnn scan`, and '{source.shown}' is none", "leave it out")
    ignored: Counter[str] = Counter()
    if files:
        rows = [row for file in files for row in read_file(file, settings, problems)]
        entries = find_videos(rows, _base(source, root), follow_links=follow_links)
    elif root is not None:
        raise UsageError(f"'{source.shown}' is a folder of class folders, which has no other root", "leave --root out")
    else:
        check_no_columns_needed(source.shown, settings)
        entries, ignored = read_class_folders(source, problems, where=where, follow_links=follow_links)
    classes, samples = _samples(entries, names, problems)
    _check_given_splits(samples, settings, problems)
    samples = _divide(samples, settings, name_prefix(_base(source, root)), problems)
    check_leaks(samples, problems)
    if for_training:
        check_classes(samples, classes, is_given=names is not None, problems=problems)
    problems.raise_if_any()
    if ignored:
        problems.note(f"files in '{source.shown}' that are not used: {_most(ignored)}")
    return Annotations(
        labels=classes,
        multi_label=any(entry.row.is_multi_label or len(entry.row.labels) > 1 for entry in entries),
        splits={split: _ordered(samples, split) for split in SPLITS},
        ignored=ignored,
        notices=tuple(problems.notices),
    )


def _most(ignored: Counter[str]) -> str:
    kinds = sorted(ignored.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{number:,} {'.' + kind if kind else 'without extension'}" for kind, number in kinds[:_NUM_SHOWN]]
    return ", ".join([*shown, "..."] if len(kinds) > _NUM_SHOWN else shown)


def _list_files(source: Source, *, for_training: bool) -> list[ListFile]:
    """Return the files of annotations: the source itself, or those that are called like splits in it."""
    location = source.tree.location(source.path)
    if source.kind == "list":
        return [ListFile(location, source.shown)]
    if source.kind != "folder":
        raise UsageError(
            f"'{source.shown}' is not annotations",
            "give a folder of class folders, or a .csv, .tsv, .txt or .parquet file of paths and labels",
        )
    found: dict[Split, ListFile] = {}
    for name in merged(source.tree.read(source.path, is_list, lambda name: False)).files:
        split = split_named(name.rpartition(".")[0])
        if split in found:
            both = f"{posixpath.basename(found[split].shown)} and {name}"
            raise DataError(f"'{source.shown}' has two lists of {split}: {both}", "leave one there")
        if split is not None:
            inside = source.tree.location(join(source.path, name))
            found[split] = ListFile(inside, join(source.shown, name), f"{name}, ", split)
    is_whole = "train" in found or not for_training
    return [found[split] for split in SPLITS if split in found] if is_whole else []


def _base(source: Source, root: str | None) -> str:
    if root is not None:
        return resolve(root, os.getcwd())
    if source.root is not None:
        return source.root
    if source.kind == "folder":
        return source.tree.location(source.path)
    return source.tree.location(posixpath.dirname(source.path))


def _samples(
    entries: Sequence[Entry], names: tuple[str, ...] | None, problems: Problems
) -> tuple[tuple[str, ...], list[Sample]]:
    """Make samples of the entries that have classes, and note videos that cannot be read."""
    seen: set[str] = set()
    for row, video in entries:
        if video.error is not None and video.location not in seen:
            seen.add(video.location)
            if video.error_kind == "unsafe":
                problems.add(LEADS_OUT_OF_DATA, row.where)
                continue
            is_missing = video.error == MISSING_ERROR
            problems.add(MISSING if is_missing else UNREADABLE, row.where + ("" if is_missing else f" {video.error}"))
    classes, indexes = assign_classes([entry.row for entry in entries], names, problems)
    files = RealFiles()
    samples = [
        Sample(
            LabelledVideo(video, labels, row.start_seconds, row.end_seconds, row.group),
            files.of(video.location),
            row.split,
            row.place,
        )
        for (row, video), labels in zip(entries, indexes, strict=True)
        if labels
    ]
    samples.sort(key=_order)
    return classes, merge(samples, problems)


def _check_given_splits(samples: Sequence[Sample], settings: SplitSettings, problems: Problems) -> None:
    if settings.val_where and not any(sample.split == "val" for sample in samples):
        problems.add(NO_MATCH, " and ".join(settings.val_where))
    if any(sample.split is not None for sample in samples):
        for sample in samples:
            if sample.split is None:
                problems.add(NO_SPLIT, sample.where)


def _divide(samples: list[Sample], settings: SplitSettings, inside: str, problems: Problems) -> list[Sample]:
    """Give every sample a split: its own, or else training, of which a part becomes validation if there is none.

    Args:
        samples: All samples, some of them without a split.
        settings: How to make splits.
        inside: What the names of the videos begin with where the data is now.
        problems: Collects samples without a group.
    """
    samples = [sample if sample.split else replace(sample, split="train") for sample in samples]
    if settings.val_where or settings.val_fraction == 0 or any(sample.split == "val" for sample in samples):
        return samples
    if settings.split_by is not None:
        check_groups(samples, problems)
    # Without a column, the samples of one file are a group. Its name within the data, unlike its location, is the same
    # wherever the data is.
    name_of: dict[str, str] = {}
    for sample in samples:
        name_of.setdefault(sample.file, sample.labelled.video.name.removeprefix(inside))
    pool = [sample for sample in samples if sample.split == "train"]
    chosen = choose_validation(
        [sample.labelled.group or name_of[sample.file] for sample in pool],
        [sample.labelled.labels for sample in pool],
        fraction=settings.val_fraction,
        seed=settings.seed,
    )
    divided = [sample for sample in samples if sample.split != "train"]
    for sample, is_chosen in zip(pool, chosen, strict=True):
        divided.append(replace(sample, split="val") if is_chosen else sample)
    return divided


def _ordered(samples: Sequence[Sample], split: Split) -> tuple[LabelledVideo, ...]:
    return tuple(sample.labelled for sample in sorted(samples, key=_order) if sample.split == split)


def _order(sample: Sample) -> tuple[str, float, float]:
    return sample.labelled.video.name, sample.start, sample.end
