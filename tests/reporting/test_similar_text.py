from __future__ import annotations

import csv
import io

from vidcnn.embeddings.clips import Clip
from vidcnn.embeddings.clusters import Cluster
from vidcnn.reporting.similar_text import (
    clip_name,
    clusters_csv,
    clusters_json,
    clusters_text,
    similar_csv,
    similar_json,
    similar_text,
)

CLIP = Clip("cam1/a.mp4", 3, 6.0, 8.0, "run", 0.875, 1.0)
LONG = Clip(
    "/".join(["a folder"] * 20) + "/end.mp4", 123, 123456.5, 123458.5, "a label that is long", 0.5, -0.123456789
)
NASTY = Clip("=cmd()\x1b[2J\u202e.mp4", 0, 0.0, 1.0, "@sum(1)\x07", None, 0.5)
CLUSTER = Cluster(1200, 0.75, 0.9, (("run", 0.6), ("\x1b[31mred", 0.4)), (CLIP, LONG))


def test_a_line_has_what_it_takes_to_go_on_and_fits_a_screen() -> None:
    lines = similar_text(CLIP, [CLIP, LONG, NASTY]).splitlines()
    assert lines[0] == "like cam1/a.mp4#3 (6.0 s, run 0.88):"
    assert lines[2] == " 1.000        6.0  run                0.88  cam1/a.mp4#3"
    assert lines[3].startswith("-0.123   123456.5  a label that is…   0.50  …")
    assert lines[3].endswith("a folder/end.mp4#123")
    assert max(map(len, lines)) == 80
    assert similar_text(CLIP, []).splitlines()[1:] == ["no other clip has an embedding"]


def test_nothing_that_a_terminal_obeys_is_printed() -> None:
    text = similar_text(NASTY, [NASTY]) + clusters_text([CLUSTER]) + clip_name(NASTY)
    assert not {"\x1b", "\x07", "\u202e"} & set(text)


def test_json_has_whole_names_and_similarities_of_six_digits() -> None:
    found = similar_json(CLIP, [LONG])
    assert found["clip"]["video"] == "cam1/a.mp4"
    assert found["similar"] == [
        {
            "video": LONG.video,
            "clip": 123,
            "start_seconds": 123456.5,
            "end_seconds": 123458.5,
            "label": "a label that is long",
            "score": 0.5,
            "similarity": -0.123457,
        }
    ]
    (cluster,) = clusters_json([CLUSTER])["clusters"]
    assert (cluster["clips"], cluster["share"], len(cluster["typical"])) == (1200, 0.75, 2)
    assert cluster["labels"][0] == {"label": "run", "share": 0.6}


def test_csv_has_a_line_for_each_clip_and_nothing_that_a_spreadsheet_computes() -> None:
    rows = list(csv.DictReader(io.StringIO(similar_csv([CLIP, NASTY]))))
    assert [row["video"] for row in rows] == ["cam1/a.mp4", "'" + NASTY.video]
    assert rows[1]["label"] == "'" + str(NASTY.label)
    assert (rows[0]["clip"], rows[0]["start_seconds"], rows[1]["score"]) == ("3", "6.0", "")
    rows = list(csv.DictReader(io.StringIO(clusters_csv([CLUSTER, CLUSTER]))))
    assert [(row["cluster"], row["cluster_clips"]) for row in rows] == [("1", "1200")] * 2 + [("2", "1200")] * 2


def test_a_cluster_has_its_size_labels_and_typical_clips() -> None:
    lines = clusters_text([CLUSTER]).splitlines()
    assert lines[0] == "1 cluster of 1,200 clips"
    assert lines[1].startswith("  1  1,200 clips (75%), cosine 0.90: run 60%, ")
    assert lines[2] == "     cam1/a.mp4#3"
    assert lines[3].endswith("end.mp4#123")
    assert max(map(len, lines)) <= 80
