"""docs/api.md works as it stands, and names all that `import vidcnn` offers."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vidcnn
from tests.commands import PROJECT, environment, make_tiny_bundle
from tests.videos import write_video

PAGE = (PROJECT / "docs" / "api.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.ray
def test_the_page_works_from_its_first_line_to_its_last(tmp_path: Path) -> None:
    make_tiny_bundle(tmp_path / "bundle")
    for label in ("up", "down"):
        (tmp_path / "labelled" / label).mkdir(parents=True)
        for index in range(2):
            write_video(tmp_path / "labelled" / label / f"{index}.mp4", 40, first_number=10 * index)
    (tmp_path / "videos").mkdir()
    shutil.copy(tmp_path / "labelled" / "up" / "1.mp4", tmp_path / "videos")
    (tmp_path / "videos" / "bad.mp4").write_bytes(b"no video")
    assert len(SNIPPETS) >= 7
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(SNIPPETS)],
        cwd=tmp_path, env=environment() | {"PYTHONPATH": str(PROJECT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1 0\n" not in done.stdout
    assert "--epochs" in done.stdout


def test_each_name_is_documented_and_lazy() -> None:
    for name in vidcnn.__all__:
        assert f"| `vidcnn.{name}" in PAGE, name
        assert getattr(vidcnn, name).__doc__
    assert set(vidcnn.__all__) <= set(dir(vidcnn))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = vidcnn.nothing
    code = "import vidcnn, sys; print([m for m in ('torch', 'ray', 'av', 'numpy', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert done.stdout == "[]\n"
    assert (Path(vidcnn.__file__).parent / "py.typed").exists()
