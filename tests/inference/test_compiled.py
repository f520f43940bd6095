from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.foreign import given_away, linked, written_by_all
from vidcnn.errors import CompileError
from vidcnn.inference import compiled
from vidcnn.inference.classifier import Classifier, compiling_pays
from vidcnn.inference.compiled import compile_pays, keep_code_private, load_or_compile
from vidcnn.inference.golden import with_golden
from vidcnn.inference.network import InferenceNetwork
from vidcnn.models.bundle import Bundle
from vidcnn.models.resolve import make_bundle

R3D_18 = 40_700_000_000


def tiny(**options: Any) -> Bundle:
    arguments = {"width": 0.25, "batch_norm": True}
    return make_bundle("simple3d", weights="random", num_classes=4, arguments=arguments, **options)


def clips_of(bundle: Bundle, num: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    shape = (num, bundle.sampling.num_frames, *bundle.preprocessing.crop, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that the tests of this module share, as processes share a user's."""
    return tmp_path_factory.mktemp("compiled")


@pytest.mark.parametrize(
    ("num_clips", "pays"), [(None, False), (0, False), (1_000, False), (5_000, False), (20_000, True)]
)
def test_compiling_pays_for_long_runs(num_clips: int | None, pays: bool) -> None:
    assert compile_pays(num_clips, R3D_18) == pays


def test_smaller_networks_need_more_clips_to_pay() -> None:
    assert compile_pays(20_000, R3D_18)
    assert not compile_pays(20_000, R3D_18 // 25)


def test_whether_it_pays_is_asked_for_a_bundle_and_a_device() -> None:
    assert compiling_pays(make_bundle("r3d_18", weights="random"), "cpu", 20_000)
    assert not compiling_pays(make_bundle("r3d_18", weights="random"), "cpu", None)
    assert not compiling_pays(make_bundle("mvit_v2_s", weights="random"), "cpu", 20_000_000)


def test_without_a_compiler_there_is_no_compiled_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(CompileError) as caught:
        Classifier(tiny(), compile="on", cache=tmp_path, precision="fp32")
    assert caught.value.message == "there is no C++ compiler (no-such-compiler)"
    assert caught.value.hint == "install one, or set CXX"


def test_a_compiling_process_that_dies_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(CompileError, match="compiling failed: exit 1"):
        Classifier(tiny(), compile="on", cache=tmp_path, precision="fp32")
    assert {path.suffix for path in tmp_path.iterdir()} == {".lock"}


@pytest.mark.nightly
def test_a_compiler_that_fails_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # True in the shell's sense: it ends well and makes nothing.
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(CompileError, match="compiling failed") as caught:
        Classifier(tiny(), compile="on", cache=tmp_path)
    assert "\n" not in str(caught.value)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".lock"}
    assert capfd.readouterr() == ("", "")


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CompileError, match="cannot be compiled"):
        Classifier(tiny(), compile="on", cache=tmp_path / "file" / "cache")


def test_a_cache_that_is_a_link_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("vidcnn.inference.compiled._check_compiler", lambda: None)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CompileError, match="it is a symbolic link"):
        Classifier(tiny(), compile="on", cache=tmp_path / "cache")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_code_is_kept_where_nobody_else_can_put_any(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    usual = tmp_path / f"vidcnn-code-{os.geteuid()}"
    for is_taken in (False, True):
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
        monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
        keep_code_private()
        folder = Path(cache_dir())
        assert (folder != usual) is is_taken
        assert folder.parent == tmp_path
        assert (folder.stat().st_mode & 0o777, folder.stat().st_uid) == (0o700, os.geteuid())
        if not is_taken:
            usual.rmdir()
            usual.symlink_to("/")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/chosen")
    keep_code_private()
    assert cache_dir() == "/chosen"


def test_what_is_not_compiled_says_so(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="exact precision is not compiled"):
        Classifier(tiny(), precision="exact", compile="on", cache=tmp_path)
    with pytest.raises(CompileError, match="mvit_v2_s is not a network that torch compiles"):
        load_or_compile(make_bundle("mvit_v2_s", weights="random"), "bf16", 1, tmp_path)


def test_a_damaged_package_is_removed_and_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bundle = tiny()
    package = tmp_path / f"{compiled._key(bundle, 'bf16', 2)}.pt2"
    package.write_bytes(b"not a package")
    with pytest.raises(CompileError, match="cannot be loaded"):
        Classifier(bundle, precision="bf16", compile="on", cache=tmp_path)
    assert not package.exists()
    assert capfd.readouterr() == ("", "")


def test_a_package_depends_on_all_that_it_was_compiled_for() -> None:
    from dataclasses import replace

    bundle = tiny()
    clip_length = replace(bundle.sampling, num_frames=8)
    preprocessing = replace(bundle.preprocessing, mean=(0.5, 0.5, 0.5))
    keys = [
        compiled._key(bundle, "bf16", 2),
        compiled._key(bundle, "fp32", 2),
        compiled._key(bundle, "bf16", 4),
        compiled._key(tiny(seed=1), "bf16", 2),
        compiled._key(replace(bundle, sampling=clip_length), "bf16", 2),
        compiled._key(replace(bundle, preprocessing=preprocessing), "bf16", 2),
    ]
    assert len(set(keys)) == len(keys)
    assert compiled._key(replace(bundle, labels=("a", "b", "c", "d")), "bf16", 2) == keys[0]


def test_the_least_recently_used_packages_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "MAX_CACHED_PACKAGES", 2)
    now = time.time()
    for age, name in enumerate(["new", "middle", "old"]):
        for suffix in (".pt2", ".lock"):
            (tmp_path / f"{name}{suffix}").touch()
        os.utime(tmp_path / f"{name}.pt2", (now - age, now - age))
    for name, age in (("compiling-dead", 90_000), ("compiling-alive", 60)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (now - age, now - age))
    compiled._prune(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "new.pt2",
        "new.lock",
        "middle.pt2",
        "middle.lock",
        "compiling-alive",
    }


@pytest.mark.slow
def test_a_compiled_network_computes_what_the_network_does(cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bundle, clips = tiny(), clips_of(tiny(), 5)
    exact = Classifier(bundle, precision="exact").logits(clips)
    for precision, tolerance in (("fp32", 1e-5), ("bf16", 0.05)):
        classifier = Classifier(bundle, precision=precision, compile="on", cache=cache)  # type: ignore[arg-type]
        assert classifier.compiled
        found = classifier.logits(clips)
        assert (found - exact).abs().max() <= tolerance * exact.std()
        assert classifier.predict(clips).embeddings.shape == (5, 256)
    assert capfd.readouterr() == ("", "")
    assert not list(cache.glob("compiling-*"))


@pytest.mark.slow
def test_a_later_process_loads_the_package_and_leaves_nothing_unpacked(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tiny()
    first = Classifier(bundle, precision="bf16", compile="on", cache=cache).logits(clips_of(bundle, 3))
    monkeypatch.setattr(compiled, "_compile_in_child", lambda *_: pytest.fail("compiled again"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    again = Classifier(bundle, precision="bf16", compile="on", cache=cache)
    assert torch.equal(again.logits(clips_of(bundle, 3)), first)
    assert not list(tmp_path.iterdir())
    assert os.environ["TMPDIR"] == str(tmp_path)


@pytest.mark.slow
def test_compiled_scores_depend_on_nothing_but_the_clip(cache: Path) -> None:
    bundle, clips = tiny(), clips_of(tiny(), 7)
    classifier = Classifier(bundle, precision="bf16", compile="on", cache=cache)
    assert classifier.compiled
    expected = classifier.logits(clips)
    threads = torch.get_num_threads()
    try:
        for num_threads in (1, 2, 5):
            torch.set_num_threads(num_threads)
            assert torch.equal(classifier.logits(clips), expected)
            assert torch.equal(classifier.logits(clips[::-1]), expected.flip(0))
            assert torch.equal(classifier.logits(clips[2:3]), expected[2:3])
    finally:
        torch.set_num_threads(threads)


@pytest.mark.nightly
def test_of_two_processes_that_ask_at_once_one_compiles(tmp_path: Path) -> None:
    tiny(seed=7).save(tmp_path / "bundle")
    program = (
        "import sys, vidcnn.inference.compiled as compiled\n"
        "from pathlib import Path; from vidcnn.models.bundle import Bundle\n"
        "compile, count = compiled._compile_in_child, []\n"
        "compiled._compile_in_child = lambda *a: (count.append(1), compile(*a))\n"
        "bundle = Bundle.load(sys.argv[1])\n"
        "compiled.load_or_compile(bundle, 'fp32', 1, Path(sys.argv[2])); print(len(count))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "bundle"), str(tmp_path / "cache")]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [child.communicate(timeout=300) for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert sorted(output for output, _ in outputs) == ["0\n", "1\n"]
    assert [errors for _, errors in outputs] == ["", ""]


@pytest.mark.slow
def test_a_compilation_that_changes_the_scores_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = InferenceNetwork.forward

    def drift(self: InferenceNetwork, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, embeddings = changed(self, clips)
        return (logits * 1.5, embeddings) if torch.compiler.is_compiling() else (logits, embeddings)

    monkeypatch.setattr(InferenceNetwork, "forward", drift)
    with pytest.raises(CompileError, match="compiling changes the scores of simple3d"):
        compiled.compile_package(tiny(), "fp32", 1, tmp_path / "model.pt2")


class Kept:
    """A cache with a package, and what stands in for compiling and loading: a package is the number in its file."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cache: Path, *, kept: int, compiling_gives: int) -> None:
        self.num_compiled = 0
        self.compiling_gives = compiling_gives
        self.package = cache / f"{compiled._key(tiny(), 'bf16', 2)}.pt2"
        self.package.write_text(str(kept))
        monkeypatch.setattr(compiled, "_compile_in_child", self.compile)
        monkeypatch.setattr(compiled, "_check_compiler", lambda: None)
        monkeypatch.setattr(compiled, "_load", lambda package: int(package.read_text()))

    def compile(self, bundle: Bundle, precision: str, batch_size: int, package: Path) -> None:
        assert not package.exists()
        self.num_compiled += 1
        package.write_text(str(self.compiling_gives))

    def load(self) -> Any:
        return load_or_compile(tiny(), "bf16", 2, self.package.parent, self.difference)

    def difference(self, network: Any) -> str | None:
        return None if network == 1 else f"network {network} is wrong"


def test_a_package_that_is_right_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(monkeypatch, tmp_path, kept=1, compiling_gives=2)
    assert (kept.load(), kept.num_compiled) == (1, 0)


def test_a_package_that_is_wrong_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(monkeypatch, tmp_path, kept=0, compiling_gives=1)
    assert (kept.load(), kept.num_compiled, kept.package.read_text()) == (1, 1, "1")
    assert (kept.load(), kept.num_compiled) == (1, 1)


def test_a_package_that_another_process_has_mended_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(monkeypatch, tmp_path, kept=0, compiling_gives=2)
    monkeypatch.setattr(compiled, "_check_compiler", lambda: kept.package.write_text("1"))
    assert (kept.load(), kept.num_compiled) == (1, 0)


@pytest.mark.parametrize("is_kept", [True, False])
def test_what_is_wrong_however_often_it_is_compiled_is_not_kept(
    is_kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(monkeypatch, tmp_path, kept=0, compiling_gives=3)
    if not is_kept:
        kept.package.unlink()
    with pytest.raises(CompileError, match="network 3 is wrong"):
        kept.load()
    assert (kept.num_compiled, kept.package.exists()) == (1, False)


def test_a_wrong_package_without_a_compiler_leaves_no_compiled_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = compiled._check_compiler
    kept = Kept(monkeypatch, tmp_path, kept=0, compiling_gives=1)
    monkeypatch.setattr(compiled, "_check_compiler", check)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(CompileError, match="there is no C"):
        kept.load()


@pytest.mark.slow
def test_a_package_of_other_weights_is_seen_and_compiled_again(cache: Path) -> None:
    bundle, other = with_golden(tiny(seed=5)), tiny(seed=6)
    load_or_compile(other, "fp32", 2, cache)
    wrong, right = (cache / f"{compiled._key(one, 'fp32', 2)}.pt2" for one in (other, bundle))
    shutil.copy(wrong, right)
    without = Classifier(replace(bundle, golden=None), precision="fp32", compile="on", cache=cache)
    clips, exact = clips_of(bundle, 2), Classifier(bundle, precision="exact").logits(clips_of(bundle, 2))
    assert (without.logits(clips) - exact).abs().max() > 0.1 * exact.std(), "the wrong package computes the same"
    found = Classifier(bundle, precision="fp32", compile="on", cache=cache)
    assert found.compiled
    assert (found.logits(clips) - exact).abs().max() < 1e-4 * exact.std()


@pytest.mark.slow
def test_a_bundle_with_golden_clips_is_compiled_for_clips_of_another_length(cache: Path) -> None:
    bundle = with_golden(tiny())
    longer = replace(bundle, sampling=replace(bundle.sampling, num_frames=18))
    assert Classifier(longer, precision="fp32", compile="on", cache=cache).compiled


def test_packages_that_threads_load_at_once_leave_the_settings_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_slowly(package: str) -> Any:
        time.sleep(0.3)
        return package, os.environ["TMPDIR"]

    monkeypatch.setattr("torch._inductor.aoti_load_package", load_slowly)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    packages = [tmp_path / f"{number}.pt2" for number in range(3)]

    def load(number: int) -> Any:
        time.sleep(0.1 * number)  # one begins while another one is at it, and ends after that
        return compiled._load(packages[number])

    with ThreadPoolExecutor(3) as pool:
        loaded: list[Any] = list(pool.map(load, range(3)))
    assert [package for package, _ in loaded] == [str(package) for package in packages]
    assert len({unpacked for _, unpacked in loaded}) == 3
    assert os.environ["TMPDIR"] == str(tmp_path)
    assert logging.root.manager.disable == 0


@pytest.mark.parametrize("change", [written_by_all, given_away, linked])
def test_a_package_that_others_could_have_made_is_not_loaded_but_compiled_again(
    change: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept(monkeypatch, tmp_path, kept=1, compiling_gives=2)
    change(kept.package)
    loaded: list[int] = []
    monkeypatch.setattr(compiled, "_load", lambda package: loaded.append(int(package.read_text())) or 1)
    assert (kept.load(), kept.num_compiled, loaded) == (1, 1, [2])
    assert "is not loaded, as" in caplog.text


def test_a_folder_of_another_user_is_no_cache_and_a_wide_one_of_this_user_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(monkeypatch, tmp_path, kept=1, compiling_gives=2)
    tmp_path.chmod(0o777)
    assert kept.load() == 1
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    if os.geteuid() == 0:
        os.chown(tmp_path, 54321, 54321)
        with pytest.raises(CompileError, match=r"are not kept in .* it belongs to another user"):
            kept.load()


def test_packages_of_other_users_are_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "MAX_CACHED_PACKAGES", 0)
    (tmp_path / "mine.pt2").touch()
    (tmp_path / "link.pt2").symlink_to("mine.pt2")
    compiled._prune(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"link.pt2"}
