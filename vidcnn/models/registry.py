"""The architectures by name: what builds each, what input it was made for, which weights are published for it.

Importing this module loads neither torch nor torchvision, so that a command can list, complete and check
model names at once. The sampling and preprocessing of torchvision's networks are those of its weight presets
(``weights.transforms()``) and of the parameters its documentation names for each (``frame_rate``,
``clip_len``).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

from vidcnn.errors import ModelError
from vidcnn.sampling.preprocessing import Preprocessing
from vidcnn.sampling.segments import Sampling


@dataclass(frozen=True)
class Architecture:
    """A network that vidcnn can build.

    Args:
        name: What users call it.
        builder: ``module:callable``, called with ``num_classes`` and the `arguments`; returns an `nn.Module`
            that maps float ``(N, C, T, H, W)`` to logits ``(N, K)``.
        head: Path of the last layer, a linear map with one row of weights for each class. With an identity in
            its place the network returns the embedding, ``(N, D)``.
        sampling: Clips that it was made for.
        preprocessing: Frames that it was made for.
        num_parameters: Learned values, for the 400 classes of Kinetics.
        multiply_adds: What one of its clips takes, for as many classes (`vidcnn.models.cost` counts both).
        weights: Names of published weights, the default first; empty if there are none.
        arguments: Names of the builder's arguments that a user may set.
        former_arguments: Names that some of them had in bundles of an earlier version.
        min_frames: Least T that its layers can take.
        min_size: Least crop, in pixels, that its layers can take.
        front: Path of a part without weights that takes the clips, in float32 whatever the precision; none if empty.
        fixed_input: Whether only the T and crop above fit (learned position tables).
        compiles: Whether torch's compiler for the CPU is worth trying: of the transformers it makes slower networks
            with other scores, or none in minutes.
    """

    name: str
    builder: str
    head: str
    sampling: Sampling
    preprocessing: Preprocessing
    num_parameters: int
    multiply_adds: int
    weights: tuple[str, ...] = ("kinetics400",)
    arguments: tuple[str, ...] = ()
    former_arguments: Mapping[str, str] = field(default_factory=dict)
    min_frames: int = 1
    min_size: int = 1
    front: str = ""
    fixed_input: bool = False
    compiles: bool = True

    def check_input(self, sampling: Sampling, preprocessing: Preprocessing) -> None:
        """Refuse clips that the layers of this architecture cannot take.

        Raises:
            ModelError: Too few frames, too small a crop, or not the one size that fits.
        """
        num_frames, crop = sampling.num_frames, preprocessing.crop
        wanted = (self.sampling.num_frames, self.preprocessing.crop)
        if self.fixed_input and (num_frames, crop) != wanted:
            raise ModelError(
                f"{self.name} takes clips of {wanted[0]} frames cropped to {wanted[1][0]}x{wanted[1][1]} only, "
                f"not {num_frames} frames of {crop[0]}x{crop[1]}",
                "keep the model's own clip length and size, or choose a convolutional model",
            )
        if num_frames < self.min_frames or min(crop) < self.min_size:
            raise ModelError(
                f"{self.name} needs at least {self.min_frames} frames of {self.min_size}x{self.min_size}, "
                f"not {num_frames} of {crop[0]}x{crop[1]}",
                "take longer clips or a larger crop, or choose another model",
            )


def architecture(name: str) -> Architecture:
    """Return the architecture called `name`.

    Raises:
        ModelError: There is none; the message proposes the closest names.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    close = difflib.get_close_matches(name, ARCHITECTURES, n=2, cutoff=0.6)
    hint = f"did you mean {' or '.join(close)}?" if close else f"choose one of {', '.join(ARCHITECTURES)}"
    raise ModelError(f"unknown model '{name}'", hint)


_Channels = tuple[float, float, float]
_IMAGENET: tuple[_Channels, _Channels] = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_KINETICS: tuple[_Channels, _Channels] = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
_HALF: tuple[_Channels, _Channels] = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)


_Cost = tuple[int, int]


def _torchvision(
    name: str, head: str, sampling: Sampling, preprocessing: Preprocessing, cost: _Cost, **limits: int | bool
) -> Architecture:
    builder = f"torchvision.models.video:{name}"
    return Architecture(name, builder, head, sampling, preprocessing, *cost, **limits)  # type: ignore[arg-type]


def _resnet(name: str, cost: _Cost) -> Architecture:
    preprocessing = Preprocessing((128, 171), (112, 112), *_KINETICS)
    return _torchvision(name, "fc", Sampling(16, fps=15), preprocessing, cost)


def _mvit(name: str, cost: _Cost) -> Architecture:
    preprocessing = Preprocessing(256, (224, 224), *_HALF)
    return _torchvision(name, "head.1", Sampling(16, fps=7.5), preprocessing, cost, fixed_input=True, compiles=False)


def _swin(name: str, cost: _Cost) -> Architecture:
    preprocessing = Preprocessing(256, (224, 224), *_IMAGENET)
    return _torchvision(name, "head", Sampling(32, fps=15), preprocessing, cost, compiles=False)


ARCHITECTURES: dict[str, Architecture] = {
    entry.name: entry
    for entry in (
        Architecture(
            "simple3d",
            "vidcnn.models.simple3d:Simple3D",
            "classifier",
            Sampling(16, fps=15),
            # Nearly the whole frame, at a size that a laptop's CPU can train from scratch: a third of the
            # arithmetic of 112x112.
            Preprocessing((72, 72), (64, 64), *_KINETICS),
            415_120,
            1_528_958_976,
            weights=(),
            arguments=(
                "channels",
                "width",
                "convs_per_block",
                "hidden",
                "dropout",
                "downsample",
                "batch_norm",
                "input_mode",
            ),
            former_arguments={"sees": "input_mode"},
            front="front",
        ),
        _resnet("r3d_18", (33_371_472, 40_696_553_472)),
        _resnet("mc3_18", (11_695_440, 43_342_635_008)),
        _resnet("r2plus1d_18", (31_505_325, 40_519_080_960)),
        _torchvision(
            "s3d",
            "classifier.1",
            Sampling(128, fps=15),
            Preprocessing((256, 256), (224, 224), *_KINETICS),
            (8_320_048, 143_833_038_848),
            min_frames=14,
            min_size=224,
        ),
        _mvit("mvit_v1_b", (36_610_672, 70_599_407_808)),
        _mvit("mvit_v2_s", (34_537_744, 64_223_815_872)),
        _swin("swin3d_t", (28_158_070, 87_764_152_320)),
        _swin("swin3d_s", (49_816_678, 165_682_262_016)),
        _swin("swin3d_b", (88_048_984, 281_332_826_112)),
    )
}
"""Every architecture by its name, in the order in which they are listed."""
