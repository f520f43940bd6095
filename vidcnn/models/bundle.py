"""The model bundle: a network's weights together with everything that must be the same wherever it runs.

On disk a bundle is a directory of two files::

    model.safetensors    the weights, float32
    model.json           format_version, architecture, arguments, labels, sampling, preprocessing, multi_label,
                         provenance, weights_sha256; quantization and golden, where it has them

In memory it is a `Bundle`, plain values and bytes that travel between processes. Reading and writing load no
torch: the header of a safetensors file is JSON, and has enough to distinguish a whole file from a truncated one and
to compare the number of labels with the size of the head. `vidcnn.models.build.build_model` makes a network
of it.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from vidcnn.bounds import MAX_CARD_BYTES, MAX_CLASSES, MAX_CLIP_BYTES, MAX_HEADER_BYTES, MAX_SIDE, MAX_WEIGHTS_BYTES
from vidcnn.errors import BundleError, VidcnnError
from vidcnn.models.golden import Golden
from vidcnn.models.pickles import MalformedError
from vidcnn.models.quantization import Quantization
from vidcnn.models.registry import architecture
from vidcnn.models.safetensors_header import PREFIX_BYTES, HeaderEntry, header_length, parse_header
from vidcnn.safe_text import json_text
from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.sampling.segments import Sampling
from vidcnn.storage.atomic import make_directories, sync_directory
from vidcnn.storage.uris import failure_text, is_remote, local_path, open_filesystem, public_location, public_values
from vidcnn.version import __version__

FORMAT_VERSION = 1
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "model.json"


@dataclass(frozen=True)
class Provenance:
    """Where a bundle came from. Nothing is computed from it; it is for people and for records.

    Locations in it are written without their logins.

    Args:
        weights: Origin of the weights: ``kinetics400``, ``random (seed 0)``, a file's name, or a training
            run.
        data: Data that it was trained on, if known.
        settings: Settings of the training.
        metrics: What it reached, by name.
        vidcnn_version: Version that made the bundle.
    """

    weights: str = ""
    data: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    vidcnn_version: str = __version__


@dataclass(frozen=True)
class Bundle:
    """A trained model and how to use it.

    Args:
        architecture: Name in the registry.
        labels: Names of the classes, in the order of the logits; K of them.
        sampling: How the frames of a clip are taken.
        preprocessing: What is done to each frame.
        weights: Content of a safetensors file.
        arguments: Arguments of the architecture's builder, JSON values.
        multi_label: Whether classes are scored independently (sigmoid) rather than against each other
            (softmax).
        provenance: Where it came from.
        quantization: How it computes in int8; None if it was not quantized.
        golden: What it makes of the golden clips; None if that is not known. Whoever changes anything else of a bundle
            leaves it out.

    Raises:
        BundleError: The architecture is unknown, the weights are not whole, their head has not one row per
            label, or a clip or the number of classes is larger than `vidcnn.bounds` allows.
    """

    architecture: str
    labels: tuple[str, ...]
    sampling: Sampling
    preprocessing: Preprocessing
    weights: bytes = field(repr=False)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    multi_label: bool = False
    provenance: Provenance = field(default_factory=Provenance)
    quantization: Quantization | None = None
    golden: Golden | None = None

    def __post_init__(self) -> None:
        try:
            head = architecture(self.architecture).head
        except VidcnnError as error:
            raise BundleError(error.message, error.hint) from error
        if len(self.labels) > MAX_CLASSES:
            raise BundleError(f"{len(self.labels):,} labels are more than {MAX_CLASSES:,}")
        resize, crop = self.preprocessing.resize, self.preprocessing.crop
        if max(*crop, *((resize,) if isinstance(resize, int) else resize)) > MAX_SIDE:
            raise BundleError(f"resize ({resize}) and crop ({crop}) must be <= {MAX_SIDE}")
        clip_bytes = self.sampling.num_frames * self.preprocessing.frame_bytes
        if clip_bytes > MAX_CLIP_BYTES:
            raise BundleError(
                f"a clip of {clip_bytes:,} bytes, where {MAX_CLIP_BYTES:,} are allowed", "take fewer or smaller frames"
            )
        shapes = read_shapes(self.weights)
        if f"{head}.weight" not in shapes:
            raise BundleError(f"the weights contain no '{head}.weight', so they are not those of {self.architecture}")
        if len(shapes[f"{head}.weight"]) < 2:
            raise BundleError(f"'{head}.weight' is not a layer's, so the weights are not those of {self.architecture}")
        num_classes = shapes[f"{head}.weight"][0]
        if num_classes != len(self.labels):
            raise BundleError(
                f"{len(self.labels)} labels for a head of {num_classes} classes",
                "give one label for each class",
            )

    @cached_property
    def weights_sha256(self) -> str:
        """Hexadecimal SHA-256 of `weights`."""
        return sha256(self.weights).hexdigest()

    @property
    def header(self) -> dict[str, HeaderEntry]:
        """What the header of `weights` says."""
        return read_header(self.weights)

    @property
    def embedding_size(self) -> int:
        """Values of the embedding, the input of the last layer."""
        return read_shapes(self.weights)[f"{architecture(self.architecture).head}.weight"][1]

    def save(self, directory: str | Path) -> None:
        """Write the bundle as `directory`, a path or a ``file://`` URI, whole or not at all.

        The files are written aside and renamed into place. A bundle that is there is replaced.

        Raises:
            BundleError: `directory` is there and is not a bundle, or cannot be written.
        """
        target = bundle_target(directory)
        try:
            make_directories(target.parent)
            with tempfile.TemporaryDirectory(
                dir=target.parent, prefix=f".{target.name}.", ignore_cleanup_errors=True
            ) as aside:
                new, old = Path(aside, "new"), Path(aside, "old")
                new.mkdir()
                _write(new / WEIGHTS_FILE, self.weights)
                _write(new / CARD_FILE, json_text(self._card(), indent=2).encode() + b"\n")
                sync_directory(new)
                if target.exists():
                    target.rename(old)
                new.rename(target)
                sync_directory(target.parent)
        except OSError as error:
            raise BundleError(f"cannot write the bundle '{target}': {error.strerror or error}") from error

    @classmethod
    def load(cls, directory: str | Path) -> Bundle:
        """Read a bundle, from a directory or from object storage.

        Raises:
            BundleError: It is not a bundle, is incomplete or damaged, or its parts do not fit together.
        """
        location = str(directory)
        shown = public_location(location).rstrip("/")
        if not is_remote(location) and not Path(local_path(location)).is_dir():
            raise BundleError(
                f"'{shown}' is not a directory", f"a bundle is a directory with {CARD_FILE} and {WEIGHTS_FILE}"
            )
        if not any(_has(location, name) for name in (CARD_FILE, WEIGHTS_FILE)):
            raise BundleError(
                f"'{shown}' is no model bundle: it has neither {CARD_FILE} nor {WEIGHTS_FILE}",
                "vidcnn train leaves one in RUN_DIR/bundle, vidcnn bundle makes one, and vidcnn models lists names",
            )
        card = _parse_card(_read(location, CARD_FILE, MAX_CARD_BYTES), f"{shown}/{CARD_FILE}")
        recorded = card.pop("weights_sha256", None)
        bundle = _validate(card, _read(location, WEIGHTS_FILE, MAX_WEIGHTS_BYTES + MAX_HEADER_BYTES), shown)
        if recorded is not None and recorded != bundle.weights_sha256:
            raise BundleError(
                f"{shown}/{WEIGHTS_FILE} is not the file that {CARD_FILE} was written with (its SHA-256 differs)",
                "copy the whole bundle again",
            )
        bundle._check_golden(shown)
        return bundle

    @property
    def clip_size(self) -> tuple[int, int, int]:
        """Frames, height and width ``(T, H, W)`` of the clips that it takes."""
        return self.sampling.num_frames, *self.preprocessing.crop

    def _check_golden(self, shown: str) -> None:
        if self.golden is None:
            return
        reason = self.golden.misfit(self.labels, self.clip_size, self.embedding_size)
        if reason:
            raise BundleError(
                f"the bundle '{shown}' was changed: {reason}",
                f"copy the whole bundle again; if it was changed on purpose, take 'golden' out of {CARD_FILE}",
            )

    def _card(self) -> dict[str, Any]:
        values = {spec.name: getattr(self, spec.name) for spec in fields(self) if spec.name != "weights"}
        for name in ("sampling", "preprocessing", "provenance"):
            values[name] = asdict(values[name])
        for name in ("quantization", "golden"):
            if values[name] is None:
                del values[name]  # a vidcnn that does not know it reads the bundle
            else:
                values[name] = asdict(values[name])
        values["provenance"] = public_values(values["provenance"])
        return {"format_version": FORMAT_VERSION, **values, "weights_sha256": self.weights_sha256}


def bundle_target(directory: str | Path) -> Path:
    """Return the folder that a bundle is going to be written as.

    Args:
        directory: A path or a ``file://`` URI.

    Raises:
        BundleError: It is in object storage, or is there and is not a bundle.
    """
    if is_remote(str(directory)):
        raise BundleError(
            f"'{public_location(str(directory))}' is in object storage, and a bundle is written to a folder",
            "write it to a folder of this machine, and copy that",
        )
    target = Path(local_path(str(directory)))
    if target.exists() and not _may_replace(target):
        raise BundleError(f"'{target}' exists and is not a model bundle", "choose another directory")
    return target


def read_shapes(weights: bytes) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor in a safetensors file's content, without decoding the tensors.

    Raises:
        BundleError: As in `read_header`.
    """
    return {name: entry.shape for name, entry in read_header(weights).items()}


def read_header(weights: bytes) -> dict[str, HeaderEntry]:
    """Return what the header of a safetensors file's content says.

    Raises:
        BundleError: The header is malformed, or the file is shorter or longer than the header declares.
    """
    return _parse_header(lambda start, end: weights[start:end], len(weights))


def _parse_header(read: Callable[[int, int], bytes], size_bytes: int) -> dict[str, HeaderEntry]:
    try:
        length = header_length(read(0, PREFIX_BYTES), size_bytes)
        return parse_header(read(PREFIX_BYTES, PREFIX_BYTES + length), size_bytes)
    except MalformedError as error:
        raise BundleError(
            f"{WEIGHTS_FILE} is not a safetensors file, or is damaged: {error}", "copy it again"
        ) from error


def _may_replace(target: Path) -> bool:
    """Only a bundle and nothing else, or an empty directory, may be replaced."""
    return target.is_dir() and {entry.name for entry in target.iterdir()} in (
        {CARD_FILE, WEIGHTS_FILE},
        set(),
    )


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _has(directory: str, name: str) -> bool:
    """Return whether a directory has a file; True where that is not known, as reading the file will then show why."""
    from pyarrow.fs import FileType

    try:
        filesystem, path = open_filesystem(directory)
        return bool(filesystem.get_file_info(f"{path}/{name}").type == FileType.File)
    except (OSError, ValueError):
        return True


def _read(directory: str, name: str, max_bytes: int) -> bytes:
    """Read a file of a bundle, the weights after comparing what their header says with how long the file is."""
    from pyarrow.fs import FileType

    shown = public_location(directory).rstrip("/")
    try:
        filesystem, path = open_filesystem(directory)
        if filesystem.get_file_info(f"{path}/{name}").type not in (FileType.File, FileType.NotFound):
            raise BundleError(f"the bundle '{shown}': {name} is not a regular file", "copy the whole bundle again")
        with filesystem.open_input_file(f"{path}/{name}") as file:
            if file.size() > max_bytes:
                raise BundleError(f"the bundle '{shown}': {name} has {file.size():,} bytes, {max_bytes:,} are allowed")
            if name == WEIGHTS_FILE:
                _parse_header(lambda start, end: file.read_at(end - start, start), file.size())
            file.seek(0)
            content: bytes = file.read(max_bytes)
            return content
    except FileNotFoundError as error:
        raise BundleError(f"the bundle '{shown}' has no {name}", "copy the whole bundle again") from error
    except (OSError, ValueError) as error:
        raise BundleError(f"the bundle '{shown}': {name} {failure_text(error)}") from error


def _parse_card(content: bytes, path: str) -> dict[str, Any]:
    """Read `model.json` as far as its keys: a dictionary of known keys, its format version checked and taken off."""
    try:
        card = json.loads(content, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(card, dict):
        raise BundleError(f"{path} must contain a JSON object")
    version = card.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{path} has format_version {version!r} and this vidcnn reads {FORMAT_VERSION}", "upgrade vidcnn"
        )
    known = _names(Bundle) - {"weights"} | {"weights_sha256"}
    for where, values, names in (
        (path, card, known),
        (f"{path}: sampling", card.get("sampling"), _names(Sampling)),
        (f"{path}: preprocessing", card.get("preprocessing"), _names(Preprocessing)),
        (f"{path}: provenance", card.get("provenance"), _names(Provenance)),
        (f"{path}: quantization", card.get("quantization"), _names(Quantization)),
        (f"{path}: golden", card.get("golden"), _names(Golden)),
    ):
        unknown = sorted(set(values) - names) if isinstance(values, dict) else []
        if unknown:
            raise BundleError(f"{where}: unknown {', '.join(unknown)}", f"known are {', '.join(sorted(names))}")
    return card


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is no number")
    return value


def _names(kind: type[Bundle | Sampling | Preprocessing | Provenance | Quantization | Golden]) -> set[str]:
    return {spec.name for spec in fields(kind)}


def _validate(card: dict[str, Any], weights: bytes, directory: str) -> Bundle:
    """Make the bundle from the values of its card, each checked against the type of its field."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Bundle).validate_python({**card, "weights": weights})
    except ValidationError as error:
        first = error.errors()[0]
        field_name = ".".join(map(str, first["loc"]))
        raise BundleError(f"{directory}/{CARD_FILE}: {field_name}: {first['msg']}") from error
    except BundleError as error:
        raise BundleError(f"bundle '{directory}': {error.message}", error.hint) from error
