"""Names that something could take for more than names, through every command."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.commands import vidcnn
from tests.embeddings.cases import video_rows, write_table
from tests.nasty_names import check, nasty_names, put_file, raw
from tests.videos import write_video
from vidcnn import cli
from vidcnn.sources.keys import video_text

NAMES = nasty_names()


def put(root: Path, folder: str, names: list[bytes]) -> dict[bytes, bool]:
    """Link videos under some names into a folder, and return the names of the files, and whether each is a video."""
    (root / folder).mkdir(parents=True)
    good = root / "good.mp4"
    if not good.exists():
        write_video(good, 8)
    made = {}
    for number, name in enumerate(names):
        path = os.path.join(os.fsencode(root / folder), name + b".mp4")
        made[name + b".mp4"] = put_file(path, good, number)
    return made


COVERED = {
    "infer": "test_nasty_names.py",
    "train": "test_nasty_labels.py",
    "evaluate": "test_nasty_labels.py",
    "quantize": "test_nasty_labels.py",
    "scan": "test_nasty_names.py",
    "similar": "test_nasty_names.py",
    "events": "test_nasty_names.py",
    "show": "test_nasty_names.py",
    "models": "test_nasty_names.py",
    "run": "test_nasty_names.py",
    "report": "test_nasty_names.py",
    "runs": "test_nasty_names.py",
    "schedule": "test_nasty_names.py",
    "jobs": "test_nasty_names.py",
    "bundle": "test_nasty_names.py",
    "doctor": "test_nasty_names.py",
}
"""Each command to which names are given, and the tests that do so."""
NAMELESS = {"schema", "demo"}
"""Commands that write what they name themselves."""


def test_each_command_gets_them() -> None:
    assert set(COVERED) | NAMELESS == set(cli.COMMANDS)
    for command, file in COVERED.items():
        assert f'"{command}"' in (Path(__file__).parent / file).read_text(), command


@pytest.mark.slow
@pytest.mark.parametrize("command", cli.COMMANDS)
def test_each_command_refuses_them_as_options_and_too_many_arguments(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in map(os.fsdecode, NAMES[::2]):
        if name.startswith("-") or name == "help":
            continue
        for arguments in ([command, f"--{name}"], [command, "x", name, f"--=={name}"]):
            exit_code = cli._run(arguments)
            printed = capsys.readouterr()
            text = (printed.out + printed.err).encode("utf-8", "backslashreplace").decode()
            assert exit_code in (1, 2), (name, text)
            assert "vidcnn: unexpected" not in text
            check(text, tmp_path)


def test_there_are_two_hundred_of_them() -> None:
    assert len(NAMES) >= 200
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.slow
def test_inference_has_a_set_of_rows_for_each_and_prints_nothing_raw(bundle: Path, tmp_path: Path) -> None:
    files = put(tmp_path, "source", NAMES)
    visible = {name: good for name, good in files.items() if not name.startswith(b".")}
    options = ["--model", str(bundle), "--in-process", "on", "--num-frames", "4", "--stride", "1"]
    tried = vidcnn("infer", "source", *options, "--dry-run", "--out", "p.parquet", cwd=tmp_path)
    assert tried.returncode == 0, tried.stderr
    check(tried.stdout + tried.stderr, tmp_path)

    done = vidcnn("infer", "source", *options, "--json", "--out", "p.parquet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    check(done.stdout + done.stderr, tmp_path)
    summary = json.loads(done.stdout)
    rows = Counter(
        (raw(row["video"]), row["error"] is None) for row in pq.read_table(tmp_path / "p.parquet").to_pylist()
    )
    assert rows == Counter({(name, good): 2 if good else 1 for name, good in visible.items()})
    assert all(raw(bad["video"]) in visible for bad in summary["first_bad_videos"])

    job = tmp_path / "[red]%s\u202e.yaml"
    job.write_text(json.dumps({"command": "infer", "source": ["source"], "out": "p.parquet"}))
    settings = [f"--set={name}" for name in ("in_process=on", "num_frames=4", "stride=1", f"model={bundle}")]
    again = vidcnn("run", job, *settings, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert f"all of {len(visible)} videos done" in again.stdout
    check(again.stdout + again.stderr, tmp_path)

    for arguments in ([], ["--by", "videos"], ["--json"], ["[bold].mp4"], ["--by", "errors"]):
        shown = vidcnn("show", "p.parquet", *arguments, cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr
        check(shown.stdout + shown.stderr, tmp_path)
    for arguments in (["--out", "events.json"], ["--out", "subtitles", "--format", "srt"], ["--json"], []):
        found = vidcnn("events", "p.parquet", "--threshold", "0.01", *arguments, cwd=tmp_path)
        assert found.returncode == 0, found.stderr
        check(found.stdout + found.stderr, tmp_path)
    assert {raw(name) for name in json.loads((tmp_path / "events.json").read_text())["results"]} == {
        name for name, good in visible.items() if good
    }


def test_clips_of_such_videos_are_found_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = sorted({video_text(os.fsdecode(name)) for name in NAMES})
    rng = np.random.default_rng(0)
    videos = {name: video_rows(name, rng.normal(size=(1, 4))) for name in texts}
    table, page = write_table(tmp_path / "p.parquet", videos), tmp_path / "page.html"
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.mp4").write_bytes(b"")
    for arguments in (
        [f"--in={table}", "--num=1000", "--", f"{texts[0]}#0"],
        [f"--in={table}", "--clusters=5"],
        [f"--in={table}", "--clusters=5", "--csv"],
        [f"--in={table}", "--clusters=9", f"--out={page}", f"--source={tmp_path / 'source'}"],
    ):
        exit_code = cli._run(["similar", *arguments])
        printed = capsys.readouterr()
        assert exit_code == 0, printed.err
        if "--csv" not in arguments:
            check(printed.out + printed.err, tmp_path)
    check(page.read_text(), tmp_path)


@pytest.mark.slow
def test_folders_of_frames_and_their_frames_may_be_called_so(bundle: Path, tmp_path: Path) -> None:
    frame = tmp_path / "frame.png"
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(frame)
    source = os.path.join(os.fsencode(tmp_path), b"source")
    pairs = list(zip(NAMES, reversed(NAMES), strict=True))
    for name, other in pairs:
        os.makedirs(folder := os.path.join(source, name))
        for number in range(1, 3):
            os.link(frame, os.path.join(folder, other[:240] + b"_%d.png" % number))
    options = ["--model", str(bundle), "--in-process", "on", "--num-frames", "2", "--stride", "1"]
    done = vidcnn("infer", "source", *options, "--json", "--out", "p.parquet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    check(done.stdout + done.stderr, tmp_path)
    rows = Counter(
        (raw(row["video"]), row["error"] is None) for row in pq.read_table(tmp_path / "p.parquet").to_pylist()
    )
    visible = [name for name, other in pairs if not name.startswith(b".") and not other.startswith(b".")]
    assert rows == Counter({(name, True): 1 for name in visible})


def test_each_is_read_where_it_is_named_itself(tmp_path: Path) -> None:
    from vidcnn.sources import Listing
    from vidcnn.video.container import open_video

    files = put(tmp_path, "source", NAMES)
    for name, good in files.items():
        (video,) = Listing([os.fsdecode(os.path.join(os.fsencode(tmp_path), b"source", name))])
        assert (raw(video.name), video.error) == (name, None)
        if good:
            with open_video(video.location) as opened:
                assert opened.container.format.name.startswith("mov")
    matched = list(Listing([str(tmp_path / "source" / "*")]))
    assert sorted(raw(video.name) for video in matched) == sorted(name for name in files if not name.startswith(b"."))


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["{}"],
        ["infer", "{}", "--dry-run"],
        ["infer", "x", "--stride={}"],
        ["infer", "x", "--redo-errors={}"],
        ["train", "--data={}", "--out=run"],
        ["evaluate", "{}"],
        ["run", "{}"],
        ["report", "{}"],
        ["runs", "{}"],
        ["schedule", "{}", "--cron=0 2 * * *", "--target=crontab"],
        ["schedule", "job.yaml", "--cron={}", "--target=crontab"],
        ["jobs", "status", "job", "--cluster={}"],
        ["models", "{}"],
        ["bundle", "{}", "--out=b"],
        ["bundle", "simple3d", "--weights={}", "--out=b"],
        ["bundle", "simple3d", "--weights=random", "--labels={}", "--out=b"],
        ["quantize", "{}", "--data=x", "--out=b"],
        ["scan", "{}", "--out=x"],
        ["show", "{}"],
        ["show", "x.parquet", "{}"],
        ["events", "{}"],
        ["events", "x.parquet", "--label={}"],
        ["events", "evaluate", "{}", "--truth={}"],
        ["doctor", "--cluster={}"],
        ["--{}"],
    ],
    ids=" ".join,
)
def test_what_is_wrong_is_said_without_obeying_it(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text("command: infer\nsource: [x]\n")
    for name in map(os.fsdecode, NAMES[:: 1 if arguments[0] != "jobs" else 10]):
        if name.startswith("-") or name in ("*", "**", "?"):
            continue  # options, and what is there
        exit_code = cli._run([argument.replace("{}", name) for argument in arguments])
        printed = capsys.readouterr()
        text = (printed.out + printed.err).encode("utf-8", "backslashreplace").decode()
        assert exit_code in (1, 2), (name, text)
        assert "Traceback" not in text
        assert "vidcnn: unexpected" not in text
        check(text, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["crontab", "systemd", "kubernetes"])
def test_a_schedule_quotes_a_name_or_refuses_it(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in NAMES[::2]:
        job = os.fsdecode(name + b".yml")
        if job.startswith("-") or len(name) > 240:
            continue
        Path(job).write_text("command: infer\nsource: [/videos]\nout: /preds\n")
        given = ["schedule", f"./{job}", "--cron=0 2 * * *", f"--target={target}", "--name=job"]
        exit_code = cli._run(
            [*given, "--cluster=http://head:8265", "--image=image"] if target == "kubernetes" else given
        )
        printed = capsys.readouterr()
        assert exit_code in (0, 1, 2), printed.err
        assert "vidcnn: unexpected" not in printed.err
        check(printed.out + printed.err, tmp_path)
        if exit_code == 0 and target == "crontab":
            (line,) = (line for line in printed.out.splitlines() if line.startswith("0 2 "))
            assert "%" not in line.replace(r"\%", "")
