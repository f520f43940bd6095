"""Every block of the docs is of a kind that some test takes, and what is not run is read as what it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.commands import PROJECT
from tests.snippets import SHELLS, Block, blocks, blocks_of
from tests.test_api_docs import SNIPPETS
from vidcnn.cluster.launcher import read_launcher
from vidcnn.config import plain_yaml
from vidcnn.config.job_files import read_job
from vidcnn.config.schema import job_schema
from vidcnn.errors import UsageError

TAKEN = {
    **dict.fromkeys(SHELLS, "test_commands reads them, test_pages runs them"),
    "python": "test_pages runs them; those of docs/api.md tests/test_api_docs.py",
    "sql": "test_pages runs them",
    "yaml": "here",
    "json": "here",
    "text": "nothing that can be run: drawings, and what commands say",
}
"""Languages of blocks, and what is done with them."""


def of_language(language: str) -> list[Block]:
    return [block for block in blocks() if block.language == language]


@pytest.mark.parametrize("block", blocks(), ids=str)
def test_each_block_is_of_a_kind_that_is_tested(block: Block) -> None:
    assert block.language in TAKEN, f"{block}: '{block.language}' is none of {', '.join(TAKEN)}"
    if block.language == "text":
        assert not block.text.startswith(("$ ", "vidcnn ")), f"{block}: a command, so it is of the kind console"


def test_blocks_are_found_with_their_lines() -> None:
    assert blocks_of("a.md", "one\n\n```sh\nls\n```\n- two\n\n  ```\n  x\n  ```\n") == [
        Block("a.md", 3, "sh", "ls\n"),
        Block("a.md", 8, "", "  x\n"),
    ]
    with pytest.raises(AssertionError, match="has no end"):
        blocks_of("a.md", "```sh\nls\n")


def test_the_page_of_the_api_is_run_as_a_whole() -> None:
    assert [block.text for block in of_language("python") if block.page == "docs/api.md"] == SNIPPETS


@pytest.mark.parametrize("block", of_language("json"), ids=str)
def test_json_is_json(block: Block) -> None:
    assert json.loads(block.text)


@pytest.mark.parametrize("block", of_language("yaml"), ids=str)
def test_yaml_is_a_job_or_its_first_line(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document: Any = plain_yaml.load(block.text).value
    if document is None:
        ships = (PROJECT / "jobs" / "train.yaml").read_text()
        assert ships.startswith(block.text), f"{block}: no job that ships begins like that"
        return
    assert "command" in document, f"{block}: no test knows this kind of YAML"
    jsonschema.validate(document, job_schema())
    (tmp_path / "job.yaml").write_text(block.text)
    monkeypatch.setenv("VIDEOS", "videos")
    assert read_job(tmp_path / "job.yaml")


def test_a_launcher_file_is_refused_in_the_words_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = [block for block in of_language("text") if block.page == "docs/clusters.md"]
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("x")
    text = (PROJECT / "cluster.yaml").read_text()
    shutil.copy(PROJECT / "cluster.yaml", tmp_path)
    assert read_launcher(Path("cluster.yaml"))
    wrong = text.replace("type: aws", "type: asw").replace("head_node_type: head", "head_node_type: heat")
    Path("cluster.yaml").write_text(wrong)
    with pytest.raises(UsageError) as refused:
        read_launcher(Path("cluster.yaml"))
    assert f"vidcnn: {refused.value.message}\n" == block.text
