from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from vidcnn.cli import main
from vidcnn.config import ScheduleSpec
from vidcnn.config.base import read_spec
from vidcnn.errors import UsageError
from vidcnn.schedule.write import Schedule, make_schedule

JOBS = Path(__file__).parents[2] / "jobs"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("BUCKET", "AWS_REGION", "AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "local.yaml").write_text("command: infer\nsource: videos/\nout: preds\n")
    (tmp_path / "cloud.yaml").write_text("command: infer\nsource: [s3://in/]\nout: s3://out/preds\n")
    (tmp_path / "open.yaml").write_text("command: infer\nsource: ['s3://${BUCKET}/v']\nout: ${OUT:-s3://o/p}\n")
    return tmp_path


def make(job: str, *, volumes: tuple[str, ...] = (), settings: tuple[str, ...] = (), **values: Any) -> Schedule:
    return make_schedule(
        read_spec(ScheduleSpec, {"job": job, **values}), settings=settings, volumes=volumes, environ=dict(os.environ)
    )


def make_pod(job: str, **values: Any) -> Schedule:
    return make(job, target="kubernetes", image="vidcnn", **values)


def test_a_line_for_cron_has_absolute_paths(folder: Path) -> None:
    text = make("local.yaml", log="run.log").files["vidcnn-local.crontab"]
    words = shlex.split(text.splitlines()[1])
    assert words[:7] == ["0", "2", "*", "*", "*", "cd", str(folder)]
    assert words[-3:] == ["--quiet", f">>{folder}/run.log", "2>&1"]
    assert words[words.index("run") + 1] == f"{folder}/local.yaml"
    program = next(
        word for word in words if word.startswith("/") and os.access(word, os.X_OK) and not os.path.isdir(word)
    )
    assert any(word.startswith(f"PATH={os.path.dirname(program)}:") for word in words)


def test_what_is_not_set_here_is_told_and_comes_from_a_file(folder: Path) -> None:
    made = make("open.yaml")
    place = f"{folder}/home/.config/vidcnn/vidcnn-open.env"
    assert f". {place} " in made.text
    assert any("not set here, and the job needs it: BUCKET" in note for note in made.notes)
    assert any(place in note and "chmod 600" in note for note in made.notes)
    assert f"EnvironmentFile={place}\n" in make("open.yaml", target="systemd").text


def test_what_is_set_here_is_written_but_for_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET", "films")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    for made in (make("open.yaml"), make("open.yaml", target="systemd"), make_pod("open.yaml", secret="keys")):
        assert "films" in made.text
        assert "eu-central-1" in made.text
        assert "hush" not in made.text
        assert any(note.endswith("looks secret: AWS_SECRET_ACCESS_KEY") for note in made.notes)
    assert "the Secret keys must have these keys" in made.notes
    assert any("give --secret NAME" in note for note in make_pod("open.yaml").notes)


def test_a_setting_in_place_of_a_variable_makes_it_needless() -> None:
    made = make("open.yaml", settings=("source=videos",))
    assert "--set source=videos" in made.text
    assert not any("BUCKET" in note for note in made.notes)


def test_a_cluster_is_named_by_its_address_or_by_the_absolute_path_of_its_file(folder: Path) -> None:
    (folder / "cluster.yaml").write_text("")
    assert f"--cluster {folder}/cluster.yaml --quiet" in make("cloud.yaml", cluster="cluster.yaml").text
    assert f"{folder}/cluster.yaml --up --quiet" in make("cloud.yaml", cluster="cluster.yaml", up=True).text
    assert "--cluster http://head:8265 --quiet" in make("cloud.yaml", cluster="head").text
    assert "--cluster http://head:8265 --quiet" in make("cloud.yaml", cluster="http://head:8265").text


@pytest.mark.parametrize("job", ["infer", "kinetics", "train"])
@pytest.mark.parametrize("target", ["crontab", "systemd"])
def test_jobs_that_ship_can_be_scheduled(job: str, target: str) -> None:
    assert make(str(JOBS / f"{job}.yaml"), target=target).task.name == f"vidcnn-{job}"


def test_a_pod_sees_volumes_and_object_storage_only() -> None:
    assert "/dev/shm" in make_pod("cloud.yaml").text
    assert "workingDir: /data" in make_pod("local.yaml", volumes=("claim:/data/",)).text
    with pytest.raises(UsageError, match=r"the job's source \(videos/\) is in no folder that a pod sees"):
        make_pod("local.yaml")
    with pytest.raises(UsageError, match=r"the job's out \(/srv/x\) is in no folder"):
        make_pod("local.yaml", volumes=("claim:/data",), settings=("out=/srv/x",))
    assert make_pod("local.yaml", cluster="http://head:8265").files
    make_pod("local.yaml", volumes=("claim:/data",), settings=("out=/data/x",))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"target": "kubernetes"}, "--target kubernetes needs --image"),
        ({"image": "x"}, "--image is for --target kubernetes, not crontab"),
        ({"timezone": "Europe/Berlin"}, "--timezone is for --target systemd or kubernetes, not crontab"),
        ({"target": "systemd", "log": "x"}, "--log is for --target crontab, not systemd"),
        ({"target": "systemd", "timezone": "Mars/Crater"}, r"--timezone \(Mars/Crater\) is not known here"),
        ({"target": "systemd", "timezone": "../x"}, "must be a name of the IANA database"),
        ({"name": "Nightly_Job"}, r"--name \(Nightly_Job\) must be of at most 52 characters"),
        ({"name": "x" * 53}, "must be of at most 52 characters"),
        ({"volumes": ("c:/d",)}, "--volume is for --target kubernetes, not crontab"),
        ({"target": "kubernetes", "image": "x", "volumes": ("c",)}, r"--volume \(c\) must be CLAIM:/folder"),
        ({"target": "kubernetes", "image": "x", "volumes": ("C:/d",)}, "the claim must be a name of Kubernetes"),
        ({"target": "kubernetes", "image": "x", "volumes": ("c:/d", "e:/d/")}, "two claims on one folder"),
        ({"target": "kubernetes", "image": "x", "cluster": "cloud.yaml"}, "must be an address for --target kube"),
        ({"cluster": "absent.yaml"}, "there is no launcher file 'absent.yaml'"),
        ({"cluster": "auto"}, "--cluster auto is for the jobs of a cluster"),
        ({"cluster": "http://head:8265", "up": True}, "--up is for the cluster of a launcher file"),
        ({"target": "kubernetes", "image": "x", "secret": "A B"}, r"--secret \(A B\) must be a name of Kubernetes"),
        ({"cron": "0 2 * *"}, "must be five fields"),
        ({"directory": "absent"}, r"--directory \(.*/absent\) is no folder"),
        ({"settings": ("stride=0",)}, r"--stride \(0\) must be > 0"),
        ({"job": "absent.yaml"}, "cannot read the job spec"),
    ],
)
def test_what_cannot_be_meant_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make(**{"job": "cloud.yaml", **values})


def run(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["vidcnn", "schedule", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code


def test_the_command_prints_files_and_tells_the_rest_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("cloud.yaml", "--target", "kubernetes", "--image", "vidcnn", "--cron", "@weekly", monkeypatch=monkeypatch)
    printed = capsys.readouterr()
    for document in yaml.safe_load_all(printed.out):
        kubernetes_validate.validate(document, "1.31", strict=True)
    assert "runs at 0 0 * * 0: Sun " in printed.err
    assert "kubectl apply -f DIR/vidcnn-cloud.yaml" in printed.err


def test_the_command_writes_files_and_prints_where(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("cloud.yaml", "--target", "systemd", "--out", "units/new", "--name", "night", monkeypatch=monkeypatch)
    printed = capsys.readouterr()
    assert printed.out.split() == ["units/new/night.service", "units/new/night.timer"]
    assert "Persistent=true" in (folder / "units/new/night.timer").read_text()
    assert "systemctl --user enable --now night.timer" in printed.err.replace("&& ", "")


def test_the_command_speaks_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run("cloud.yaml", "--json", "--set", "limit=3", monkeypatch=monkeypatch)
    told = json.loads(capsys.readouterr().out)
    assert "--set limit=3" in told["files"]["vidcnn-cloud.crontab"]


def documented_commands() -> list[tuple[str, list[str]]]:
    """Return each command of the page on schedules, with the lines that it is shown to print."""
    page = (JOBS.parent / "docs" / "schedules.md").read_text()
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return [(command, shown) for command, shown in found if command.startswith("vidcnn schedule ")]


def test_the_page_has_an_example_of_each_target() -> None:
    text = " ".join(command for command, _ in documented_commands())
    assert all(f"--target {target}" in text for target in ("systemd", "kubernetes"))


@pytest.mark.parametrize(("command", "shown"), documented_commands())
def test_the_examples_of_the_page_work_as_they_stand(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, shown: list[str]
) -> None:
    (folder / "jobs").symlink_to(JOBS)
    run(*shlex.split(command.partition(" > ")[0])[2:], monkeypatch=monkeypatch)
    printed = capsys.readouterr().out
    assert not shown or printed.splitlines() == shown


@pytest.mark.parametrize("target", ["crontab", "systemd", "kubernetes"])
def test_each_target_hands_on_who_is_told_of_the_end_of_a_run(folder: Path, target: str) -> None:
    image = {"image": "vidcnn"} if target == "kubernetes" else {}
    command, url = 'mail -s "it\'s $VIDCNN_EXIT_CODE 100%" me', "https://hooks.example/x?a=1&b=2%20"
    made = make(
        "cloud.yaml", target=target, on_failure=command, notify=url, cluster="http://head:8265", out_on_cluster=True,
        **image,
    )  # fmt: skip
    assert made.task.options == ("--out-on-cluster", "--on-failure", command, "--notify", url)
    assert made.task.command[-6:] == [*made.task.options, "--quiet"]
    if target == "crontab":
        line = next(line for line in made.text.splitlines() if line.startswith("0 2"))
        done = subprocess.run(
            ["sh", "-c", "printf '%s\\n' " + line.replace("\\%", "%").partition(" run ")[2].partition(" >>")[0]],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.splitlines()[-6:] == [*made.task.options, "--quiet"]


def test_a_webhook_with_a_login_stays_out_of_the_schedule(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"--notify .* contains a login") as caught:
        make("cloud.yaml", notify="https://me:secret@hooks.example/x")
    assert "secret" not in f"{caught.value}"
    assert "VIDCNN_NOTIFY=" in caught.value.hint
    with pytest.raises(UsageError, match="--out-on-cluster is for a job on a cluster"):
        make("cloud.yaml", out_on_cluster=True)
