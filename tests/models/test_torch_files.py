from __future__ import annotations

import io
import os
import pickle
import pickletools
import resource
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import Tensor, nn

from tests.fuzzing import damaged, refusing
from tests.limits import within
from vidcnn.models.pickles import ForbiddenError, MalformedError, Opaque
from vidcnn.models.torch_files import StoredTensor, open_checkpoint, read_all

BOTH = pytest.mark.parametrize("zipped", [True, False], ids=["archive", "legacy"])


def save(content: Any, path: Path, *, zipped: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def read(path: Path) -> Any:
    """Read all tensors of a checkpoint that is a dictionary."""
    with open_checkpoint(path) as content:
        return {name: value.read() if isinstance(value, StoredTensor) else value for name, value in content.items()}


@BOTH
def test_tensors_are_those_that_torch_itself_reads(zipped: bool, tmp_path: Path) -> None:
    base = torch.arange(24.0)
    values: dict[str, Tensor] = {
        "plain": torch.randn(3, 4, 5),
        "scalar": torch.tensor(7),
        "empty": torch.empty(0, 3),
        "rows of another": base.view(6, 4)[2:5],
        "transposed": torch.randn(4, 6).T,
        "channels last": torch.randn(2, 3, 2, 2, 2).to(memory_format=torch.channels_last_3d),
        "parameter": nn.Parameter(torch.randn(3)),
        "shared": base,
        **{str(kind): torch.tensor([1, 0, 1]).to(kind) for kind in (torch.float16, torch.bfloat16, torch.float64)},
        **{str(kind): torch.tensor([1, 0, 1]).to(kind) for kind in (torch.int32, torch.int16, torch.int8)},
        **{str(kind): torch.tensor([1, 0, 1]).to(kind) for kind in (torch.uint8, torch.bool)},
    }
    found = read(save(values, tmp_path / "w.pth", zipped=zipped))
    assert found.keys() == values.keys()
    for name, value in values.items():
        assert (found[name].dtype, found[name].shape, found[name].stride()) == (
            value.dtype,
            value.shape,
            value.stride(),
        )
        assert torch.equal(found[name], value), name


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@BOTH
def test_a_whole_trainer_is_read_with_what_nobody_needs_left_out(zipped: bool, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(4, 2)).sum().backward()
    optimizer.step()
    content = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 2]).state_dict(),
        "size": torch.Size([1, 2]),
        "kinds": {1, 2},
        "where": torch.device("cpu"),
        "sparse": torch.ones(2, 2).to_sparse(),
        "quantized": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8),
        "meta": torch.ones(2, device="meta"),
    }
    with open_checkpoint(save(content, tmp_path / "w.ckpt", zipped=zipped)) as found:
        assert found["network"].keys() == network.state_dict().keys()
        assert torch.equal(found["network"]["0.weight"].read(), network[0].weight)
        assert found["optimizer"]["param_groups"][0]["lr"] == 0.001
        assert {type(found[name]) for name in ("size", "kinds", "where", "sparse", "quantized", "meta")} == {Opaque}


@BOTH
def test_a_tensor_of_a_gpu_is_read_like_any_other(zipped: bool, tmp_path: Path) -> None:
    path = save({"a": torch.arange(3.0)}, tmp_path / "w.pth", zipped=zipped)
    content = path.read_bytes()
    if zipped:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, member in members.items():
                archive.writestr(name, member.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:7"))
    else:
        path.write_bytes(content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:7"))
    assert torch.equal(read(path)["a"], torch.arange(3.0))


@BOTH
@pytest.mark.parametrize("shape", [(10**5, 10**5), (2, 10**9)])
def test_an_expanded_tensor_is_refused_before_there_is_any(
    zipped: bool, shape: tuple[int, ...], tmp_path: Path
) -> None:
    path = save({"a": torch.ones(1).expand(shape)}, tmp_path / "w.pth", zipped=zipped)
    assert path.stat().st_size < 2000
    with pytest.raises(MalformedError, match="reaches to byte"), open_checkpoint(path):
        pass


@BOTH
def test_a_view_with_gaps_is_refused_with_what_to_do(zipped: bool, tmp_path: Path) -> None:
    path = save({"a": torch.ones(4, 6)[:, :2]}, tmp_path / "w.pth", zipped=zipped)
    with pytest.raises(MalformedError, match=r"shape \(4, 2\) is a view.*clone"), open_checkpoint(path):
        pass


def rewritten(path: Path, change: Any, compression: int = zipfile.ZIP_STORED) -> Path:
    """Write an archive again with other members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    path = save({"a": torch.zeros(10**6)}, tmp_path / "w.pth")
    rewritten(path, lambda members: None, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**5
    with pytest.raises(MalformedError, match="compressed"), open_checkpoint(path):
        pass


def test_a_storage_that_claims_more_than_its_member_has_is_refused(tmp_path: Path) -> None:
    path = save({"a": torch.zeros(100)}, tmp_path / "w.pth")
    rewritten(path, lambda members: members.update({"w/data/0": b"\0" * 396}))
    with pytest.raises(MalformedError, match="claims 100 numbers in 396 bytes"), open_checkpoint(path):
        pass


def test_numbers_in_another_order_of_bytes_are_refused(tmp_path: Path) -> None:
    path = save({"a": torch.zeros(100)}, tmp_path / "w.pth")
    rewritten(path, lambda members: members.update({"w/byteorder": b"big"}))
    with pytest.raises(MalformedError, match="order of bytes"), open_checkpoint(path):
        pass


def test_numbers_that_have_changed_since_are_seen(tmp_path: Path) -> None:
    path = save({"a": torch.arange(3000.0)}, tmp_path / "w.pth")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(MalformedError, match="CRC"):
        read(path)


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@BOTH
def test_code_is_neither_run_nor_imported(zipped: bool, tmp_path: Path) -> None:
    path = save({"a": Trap(tmp_path / "proof")}, tmp_path / "w.pth", zipped=zipped)
    with pytest.raises(ForbiddenError, match="mkdir"), open_checkpoint(path):
        pass
    content = b"\x80\x02csome_module_that_is_nowhere\nf\n)R."
    path.write_bytes(content)
    with pytest.raises(ForbiddenError, match="some_module_that_is_nowhere"), open_checkpoint(path):
        pass
    assert not (tmp_path / "proof").exists()


@BOTH
def test_any_cut_or_changed_byte_is_an_error_or_a_value_of_a_bounded_size(zipped: bool, tmp_path: Path) -> None:
    whole = save({"a": torch.arange(6.0).view(2, 3), "b": torch.zeros(2)}, tmp_path / "w.pth", zipped=zipped)
    content = whole.read_bytes()
    changed = tmp_path / "changed.pth"
    num_refused = 0
    for at in range(0, len(content), 3):
        for variant in (content[:at], content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]):
            changed.write_bytes(variant)
            try:
                with open_checkpoint(changed) as found:
                    for value in found.values() if isinstance(found, dict) else ():
                        if isinstance(value, StoredTensor):
                            assert value.size_bytes <= len(content)
                            value.read()
            except (MalformedError, ForbiddenError):
                num_refused += 1
    assert num_refused > len(content) // 3


def test_the_file_that_asks_for_much_memory_is_refused_in_little(tmp_path: Path) -> None:
    """The attack that made torch allocate 34 GB, read in a process that can have no more than it has by then."""
    save({"a": torch.ones(1).expand(2**16, 2**17)}, tmp_path / "w.pth")
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from vidcnn.models.checkpoints import open_weights, read_stored\n"
        "from vidcnn.errors import ModelError\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))\n"
        "try:\n"
        "    with open_weights(sys.argv[1]) as state:\n"
        "        print([read_stored(tensor).shape for tensor in state.values()])\n"
        "except ModelError as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "w.pth")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "a tensor of shape (65536, 131072) reaches to byte 34,359,738,368 of 4" in done.stdout
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 4 * 2**20  # kilobytes


def test_a_pickle_of_today_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(MalformedError, match="protocol 2"), open_checkpoint(tmp_path / "w.pth"):
        pass


def test_a_pipe_and_a_link_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(OSError, match="regular"), open_checkpoint(tmp_path / "pipe.pth"):
        pass
    save({"a": torch.ones(1)}, tmp_path / "w.pth")
    (tmp_path / "link.pth").symlink_to("w.pth")
    with open_checkpoint(tmp_path / "link.pth") as content:
        assert content["a"].shape == (1,)
    with pytest.raises(OSError, match="link"), open_checkpoint(tmp_path / "link.pth", follow_links=False):
        pass


@BOTH
def test_all_of_a_checkpoint_is_read_in_no_more_memory_than_it_has_bytes(zipped: bool, tmp_path: Path) -> None:
    state = {"step": 3, "network": {"a": torch.ones(3)}, "groups": [{"lr": 0.1, "betas": (0.9, None)}], "tied": []}
    path = save(state, tmp_path / "w.pt", zipped=zipped)
    with open_checkpoint(path) as content:
        found = read_all(content, path.stat().st_size)
    assert torch.equal(found["network"].pop("a"), state["network"].pop("a"))  # type: ignore[attr-defined]
    assert found == state
    shared = torch.ones(1000)
    path = save({str(number): shared.view(-1) for number in range(1000)}, tmp_path / "w.pt", zipped=zipped)
    with open_checkpoint(path) as content, pytest.raises(MalformedError, match="more memory than the file"):
        read_all(content, path.stat().st_size)


def test_what_is_deep_or_opaque_is_not_read_as_a_whole() -> None:
    nested: Any = 1
    for _ in range(17):
        nested = [nested]
    for content in (nested, Opaque("set"), {"a": [Opaque("set")]}):
        with pytest.raises(MalformedError, match="something else"):
            read_all(content, 10**6)
    doubled: Any = ["x"]
    for _ in range(15):
        doubled = [doubled] * 100
    assert read_all(doubled, 0) is not None  # 100 to the power of 15, if each were read for itself


@pytest.mark.parametrize("names", [[1, "0"], [None], [[]], {"0"}, ["0", "0"], [10**500], "0"])
def test_a_list_of_storages_that_is_none_is_refused(names: Any, tmp_path: Path) -> None:
    whole = saved(zipped=False)
    file = io.BytesIO(whole)
    ends = []
    for _ in range(5):
        list(pickletools.genops(file))
        ends.append(file.tell())
    (tmp_path / "w.pth").write_bytes(whole[: ends[3]] + pickle.dumps(names, protocol=2) + whole[ends[4] :])
    with pytest.raises(MalformedError, match="not those that it names"), open_checkpoint(tmp_path / "w.pth"):
        pass


def saved(*, zipped: bool) -> bytes:
    content = {"network": {"a.weight": torch.arange(24.0).view(2, 3, 4), "b": torch.tensor(7)}, "step": 3, "kinds": {1}}
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


@pytest.mark.fuzz
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damaged(saved(zipped=True), saved(zipped=False)))
def test_any_file_is_a_checkpoint_or_one_of_two_errors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with within(20), refusing(ForbiddenError, MalformedError), open_checkpoint(path) as found:
        read_all(found, len(content))
