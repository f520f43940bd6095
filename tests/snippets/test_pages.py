"""Every page of the docs, from its first command to its last, in a folder that has what the page names.

A command runs as it stands there. Where that takes a network, a cluster, or hours, the tables below say so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
import torch
from torchvision.models.video import r3d_18

from tests.commands import PROJECT, environment, make_tiny_bundle
from tests.snippets import PAGES, Block, Command, blocks, commands, commands_of
from tests.videos import write_video

pytestmark = pytest.mark.ray

LEFT_OUT = {
    "s3://": "there is no object storage of that name",
    "--cluster ": "there is no cluster; tests/cluster has some",
    "pip install": "it installs what is here already",
    "python3 -m venv": "it makes an environment, and there is one",
    ". venv/bin/activate": "it makes an environment, and there is one",
    "mkdocs": "tests/test_docs_site.py builds the site",
    "RAY_AUTH_MODE": "it is for the cluster of the next lines",
    "ray get-auth-token": "it is for the cluster of the next lines",
    "ray start": "it starts a cluster that stays",
    "ray down": "there is no cluster",
    "aws iam": "there is no account",
    "crontab -": "it changes the machine; tests/schedule/test_real_cron.py runs such lines",
    "systemctl": "it changes the machine; tests/schedule/test_systemd.py checks units",
    "loginctl": "it changes the machine",
    "kubectl": "there is no cluster; tests/schedule checks what it is given",
    "benchmarks/faults.py": "it takes hours; tests/pipelines/test_faults.py does a share of it",
    "vidcnn infer scan.parquet": "it is for a real collection; tests/sources has its conditions",
    "--data scan.parquet": "the same",
    "vidcnn quantize": "it takes minutes; tests/pipelines/test_quantize.py does it",
    "--model run/int8": "it is what that would make",
}
"""What commands have in them that are not run, and why. Their options are read by test_commands all the same."""

WITH = {
    "vidcnn infer videos/ --out preds.parquet": "--model bundle",
    "vidcnn infer videos/ --out preds.parquet --dry-run": "--model bundle",
    "vidcnn infer footage --redo-errors": "--model bundle",
    "vidcnn infer footage --redo-errors timeout decoder_crash": "--model bundle",
    "vidcnn train --data clips/ --model bundle --freeze backbone --out new": "--epochs 1 --batch-size 2",
    "vidcnn similar --clusters 20": "--clusters 1",
    "vidcnn run jobs/infer.yaml": "--set model=bundle",
    "VIDEOS=videos/ vidcnn run jobs/nightly.yaml": "--set model=bundle",
    "vidcnn train --data clips/ --out run/": "--model simple3d --width 0.25 --num-frames 4 --epochs 1 --batch-size 2",
}
"""What is added to commands: the published weights of the default model take a network, and a real training hours."""

FIRST = {
    "docs/events.md": "vidcnn infer videos --out preds.parquet --model bundle --num-frames 4 --stride 1",
    "docs/predictions.md": "vidcnn infer footage --model bundle",
    "docs/report.md": "vidcnn infer clips/ --out preds.parquet --model bundle; vidcnn train --data clips/ --out run/ "
    "--model simple3d --width 0.25 --num-frames 4 --epochs 1 --batch-size 2",
    "docs/runs.md": "vidcnn infer videos --out preds.parquet --model bundle --report",
}
"""What a page takes for granted."""

EXIT_CODES = {"vidcnn train --data clips.csv --out run": 1}
"""Of commands that show an error."""


def is_left_out(command: Command) -> bool:
    return any(part in command.text for part in LEFT_OUT)


def has_steps(page: str) -> bool:
    """Tell whether anything of a page is run here."""
    of_page = [block for block in blocks() if block.page == page]
    runs = [command for block in of_page for command in commands_of(block) if not is_left_out(command)]
    return bool(runs) or (any(block.language in ("python", "sql") for block in of_page) and page != "docs/api.md")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with all that the pages name; its files were written an hour ago."""
    place = tmp_path / "place"
    for folder in ("videos", "archive", "footage", "left", "clips/run", "clips/jump"):
        (place / folder).mkdir(parents=True)
        for index in range(4 if folder.startswith("clips") else 1):
            write_video(place / folder / f"{Path(folder).name}_{index}.mp4", 20, first_number=7 * index)
    (place / "footage" / "bad.mp4").write_bytes(b"no video")
    rows = ["left/left_0.mp4,left,train", "left/left_0.mp4,left,val", "left/left_9.mp4,left,train"]
    rows += ["clips/run/run_0.mp4,rihgt,val"]
    (place / "clips.csv").write_text("\n".join(["path,label,split", *rows, ""]))
    (place / "known.csv").write_text("video,label,start_seconds,end_seconds\nvideos_0.mp4,run,0.1,0.5\n")
    shutil.copytree(PROJECT / "jobs", place / "jobs")
    make_tiny_bundle(place / "bundle")
    torch.save(r3d_18(num_classes=2).state_dict(), place / "finetuned.pth")
    (place / "classes.txt").write_text("calm\nfight\n")
    written = time.time() - 3600
    for path in place.rglob("*"):
        os.utime(path, (written, written))
    programs, home = tmp_path / "programs", tmp_path / "home"
    programs.mkdir()
    home.mkdir()
    (programs / "vidcnn").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vidcnn "$@"\n')
    (programs / "vidcnn").chmod(0o755)
    return place


def shell(text: str, place: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in the folder, with its programs and a home of its own."""
    environ = environment() | {"HOME": str(place.parent / "home")}
    environ["PATH"] = f"{place.parent / 'programs'}:{environ['PATH']}"
    return subprocess.run(
        ["bash", "-euc", text], cwd=place, env=environ, capture_output=True, text=True, timeout=600, check=False
    )


def run_command(command: Command, place: Path) -> None:
    if is_left_out(command):
        return
    text, redirection = command.text, ""
    if " > " in text:
        text, redirection = text.split(" > ")
        redirection = f" > {redirection}"
    done = shell(f"{text} {WITH.get(command.text, '')}{redirection}", place)
    assert done.returncode == EXIT_CODES.get(command.text, 0), f"{command}\n{done.stdout}{done.stderr}"
    if command.output:
        # The page may leave out progress before it, and what to do about it after it.
        assert any(f"\n{command.output}\n" in f"\n{said}" for said in (done.stdout, done.stderr)), (
            f"{command}\n{done.stdout}{done.stderr}"
        )


def run_block(block: Block, place: Path) -> None:
    for command in commands_of(block):
        run_command(command, place)
    if block.language == "python" and block.page != "docs/api.md":
        code = [sys.executable, "-W", "error", "-c", block.text]
        done = subprocess.run(code, cwd=place, env=environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}\n{done.stderr}"
    elif block.language == "sql":
        with duckdb.connect() as connection:
            connection.execute(f"SET file_search_path = '{place}'")
            assert connection.execute(block.text).fetchall(), block


PAGES_WITH_STEPS = [
    pytest.param(page, marks=pytest.mark.slow if page == "README.md" else pytest.mark.nightly)
    for page in PAGES
    if has_steps(page)
]


@pytest.mark.parametrize("page", PAGES_WITH_STEPS)
def test_a_page_works_from_its_first_line_to_its_last(page: str, place: Path) -> None:
    if page in FIRST:
        done = shell(FIRST[page], place)
        assert done.returncode == 0, done.stderr
    for block in blocks():
        if block.page == page:
            run_block(block, place)


def test_each_exception_is_needed() -> None:
    texts = [command.text for command in commands()]
    assert [part for part in LEFT_OUT if not any(part in text for text in texts)] == []
    assert {*WITH, *EXIT_CODES} - set(texts) == set()
    assert not [text for text in WITH if any(part in text for part in LEFT_OUT)]
    assert set(FIRST) <= {page for page in PAGES if has_steps(page)}
