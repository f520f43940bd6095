"""The login of a URI is in nothing that a command prints, writes, sends or starts."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.canary import LOGIN, MARK, Sightings, holders, location, watched
from tests.commands import vidcnn
from tests.s3 import Server
from tests.videos import write_video
from vidcnn.cli import main
from vidcnn.storage.uris import open_filesystem

TIMEOUT = 900


@pytest.fixture
def storage(s3: Server, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Videos of two classes, a bundle, and a file that is no video; without a login there is none."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for label in ("run", "jump"):
        for index in range(4):
            video = write_video(tmp_path / "video.mp4", 20, first_number=100 * index)
            s3.put(f"videos/{label}/{index}.mp4", body=video.read_bytes())
    s3.put("others/a.mp4", body=video.read_bytes())
    s3.put("others/broken.mp4", body=b"no video")
    for path in bundle.iterdir():
        s3.put(f"bundle/{path.name}", body=path.read_bytes())
    return s3


@pytest.fixture
def short() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="v") as folder:
        yield Path(folder)


def stored(s3: Server, folder: Path) -> Path:
    """Copy all that the bucket holds now to a folder."""
    filesystem, path = open_filesystem(location(s3, "bkt"))
    from pyarrow.fs import FileSelector, FileType

    for info in filesystem.get_file_info(FileSelector(path, recursive=True)):
        if info.type == FileType.File:
            target = folder / info.path
            target.parent.mkdir(parents=True, exist_ok=True)
            with filesystem.open_input_file(info.path) as file:
                target.write_bytes(file.read())
    return folder


def run(tmp_path: Path, short: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], Sightings]:
    """Run a command; the login may be on its own command line, which the user has written."""
    temporary = {"RAY_TMPDIR": str(short), "TMPDIR": str(short)}
    with watched(short, tmp_path) as seen:
        done = vidcnn(*arguments, extra=temporary, timeout=TIMEOUT, cwd=tmp_path)
    own = " ".join(arguments)
    seen.command_lines = {line for line in seen.command_lines if not line.endswith(own)}
    return done, seen


def check(done: subprocess.CompletedProcess[str], seen: Sightings, *folders: Path) -> None:
    assert MARK.decode() not in done.stdout + done.stderr
    assert (seen.command_lines, seen.files) == (set(), set())
    assert holders(*folders) == []


@pytest.mark.ray
@pytest.mark.slow
def test_a_run_of_infer_keeps_the_login_to_itself(storage: Server, tmp_path: Path, short: Path) -> None:
    out = location(storage, "bkt/out/preds.parquet")
    arguments = ["infer", location(storage, "bkt/others"), "--model", location(storage, "bkt/bundle"), "--out", out]
    done, seen = run(tmp_path, short, *arguments, "--report", "--json", "--debug", "--step=2", "--in-process=off")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["out"] == "s3://bkt/out/preds.parquet"
    assert seen.num_processes > 3
    assert seen.num_files > 10
    copy = stored(storage, tmp_path / "copy")
    assert len(list((copy / "bkt/out").rglob("*.json"))) == 1
    check(done, seen, copy)


@pytest.mark.ray
@pytest.mark.slow
def test_training_and_evaluating_keep_the_login_to_themselves(storage: Server, tmp_path: Path, short: Path) -> None:
    data, out = location(storage, "bkt/videos"), location(storage, "bkt/runs/one")
    options = ["--model=simple3d", "--crop=32", "--width=0.25", "--workers=1", "--precision=fp32", "--batch-size=2"]
    options += ["--epochs=1", "--flip=off", "--cache-gb=0", "--val-fraction=0.25", "--num-frames=4", "--debug"]
    done, seen = run(tmp_path, short, "train", "--data", data, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    assert "bundle: s3://bkt/runs/one/bundle" in done.stdout
    copy = stored(storage, tmp_path / "copy") / "bkt/runs/one"
    card = json.loads((copy / "bundle/model.json").read_text())
    assert card["provenance"]["settings"]["out"] == "s3://bkt/runs/one"
    assert list((copy / "tensorboard").iterdir())
    check(done, seen, copy)

    figures = tmp_path / "figures.json"
    arguments = ["evaluate", data, "--model", location(storage, "bkt/runs/one/bundle"), "--out", str(figures)]
    done, seen = run(tmp_path, short, *arguments, "--clips=2", "--crops=1", "--debug")
    assert done.returncode == 0, done.stderr
    assert json.loads(figures.read_text())["model"] == "s3://bkt/runs/one/bundle"
    check(done, seen, tmp_path)


def test_what_goes_wrong_is_told_without_the_login(
    storage: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there, absent = location(storage, "bkt/videos"), location(storage, "bkt/absent")
    bundle, out = location(storage, "bkt/bundle"), location(storage, "bkt/out.parquet")
    wrong = location(storage, "bkt/out.parquet").replace("@bkt", "/bkt")  # a login that nothing ends
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ["infer", absent, "--model", bundle, "--out", out],
        ["infer", there, "--model", absent, "--out", out],
        ["infer", there, "--model", bundle, "--out", wrong],
        ["infer", there, "--model", "r3d_18", "--weights", absent, "--out", out],
        ["infer", there, "--model", "r3d_18", "--weights", "random", "--labels", absent, "--out", out],
        ["infer", there, "--model", bundle, "--weights", absent, "--out", out],
        ["infer", there, "--actors", out],
        ["train", "--data", absent, "--out", out],
        ["train", there, out],
        ["train", "--data", there, "--out", out, "--root", absent],
        ["train", "--data", bundle, "--out", out],
        ["evaluate", there, "--model", absent],
        ["evaluate", absent, "--model", bundle],
        ["evaluate", there, "--model", bundle, "--out", out],
        ["run", there],
        ["run", "job.yaml", "--set", f"out {out}"],
        ["jobs", "list", "--cluster", f"http://{LOGIN}127.0.0.1:9"],
        ["jobs", "list", "--cluster", there],
        ["models", there],
        ["schedule", there],
    ):
        for debug in ([], ["--debug"]):
            monkeypatch.setattr("sys.argv", ["vidcnn", *arguments, *debug])
            with pytest.raises(SystemExit) as ended:
                main()
            told = capsys.readouterr()
            assert ended.value.code in (1, 2), arguments
            assert told.err
            assert MARK.decode() not in told.out + told.err, arguments
    assert holders(tmp_path) == []


@pytest.mark.parametrize("target", [["crontab"], ["systemd"], ["kubernetes", "--image=vidcnn"]])
def test_a_schedule_shows_no_login_and_says_how_to_give_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], target: list[str]
) -> None:
    place = f"s3://{LOGIN}bucket/preds"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OUT", place)
    monkeypatch.setenv("HTTPS_PROXY", LOGIN + "proxy:3128")
    (tmp_path / "open.yaml").write_text("command: infer\nsource: [s3://in/]\nout: ${OUT}\n")
    (tmp_path / "written.yaml").write_text(f"command: infer\nsource: [s3://in/]\nout: {place}\n")
    files = tmp_path / "files"

    def schedule(job: str, *options: str) -> tuple[int, str]:
        arguments = [job, "--target", *target, "--out", str(files), "--cluster", "http://head:8265", *options]
        monkeypatch.setattr("sys.argv", ["vidcnn", "schedule", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        assert MARK.decode() not in told.out + told.err
        assert holders(files) == []
        return int(ended.value.code or 0), told.err

    code, said = schedule("open.yaml", "--set", f"out={place}")
    assert code == 2
    assert "--set out=s3://bucket/preds contains a login" in said
    assert "put AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY into" in said
    code, said = schedule("open.yaml")
    assert code == 0
    assert "not written since it looks secret: OUT" in said
    code, said = schedule("written.yaml")
    is_copied = target[0] == "kubernetes"
    assert code == (2 if is_copied else 0)
    assert ("a ConfigMap would show it" if is_copied else "make it yours alone: chmod 600") in said
