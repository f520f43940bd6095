"""What an inference job stands for: the same for a run on Ray and for a model in this process.

In go a spec and the model that it names; out come what is planned, decoded, scored and recorded.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

from vidcnn.config import InferSpec
from vidcnn.inference.runtime import Runtime, choose_clips
from vidcnn.inference.scoring import RowFormat
from vidcnn.models.backbone import backbone_sha256
from vidcnn.models.bundle import Bundle
from vidcnn.predictions import prediction_schema
from vidcnn.sources import Listing
from vidcnn.video.batching import DecodeSettings, clips_per_task
from vidcnn.video.planning import PlanSettings


class InferenceJob:
    """A spec with what it stands for.

    Args:
        spec: What the user wants.
        bundle: The model that it names.

    Attributes:
        spec: The same.
        clips: How clips are laid over a video.
        bundle: The model, with the clips that it is to take.
        plan: What planning depends on.
        schema: Columns of the table.
        row_format: How rows are made of scores.

    Raises:
        UsageError: What the user wants does not fit together.
        ModelError: The model cannot take such clips.
    """

    def __init__(self, spec: InferSpec, bundle: Bundle) -> None:
        self.spec = spec
        self.clips = choose_clips(bundle, spec)
        self.bundle = replace(bundle, sampling=self.clips.sampling)
        self.plan = PlanSettings(self.clips, spec.image_fps, spec.max_pixels, spec.decode_timeout, spec.sandbox)
        self.schema = prediction_schema(
            num_classes_for_probabilities=len(self.bundle.labels) if spec.probabilities else None,
            embedding_size=self.bundle.embedding_size if spec.embedding else None,
        )
        self.row_format = RowFormat(self.schema, self.bundle.labels, spec.top_k)

    @cached_property
    def listing(self) -> Listing:
        """The videos.

        Raises:
            SourceError: There is no such source.
        """
        return Listing(self.spec.source, where=self.spec.where, follow_links=self.spec.follow_links)

    @cached_property
    def backbone_sha256(self) -> str:
        """Hash of all that the embeddings depend on."""
        return backbone_sha256(self.bundle)

    def decode_settings(self, *, exact: bool, batch_size: int) -> DecodeSettings:
        """Return what decoding depends on.

        Args:
            exact: Whether the model computes as the reference does, which has its own way of resizing.
            batch_size: Clips that go through the model at once.
        """
        clip_bytes = self.bundle.preprocessing.frame_bytes * self.clips.sampling.num_frames
        return DecodeSettings(
            self.bundle.preprocessing,
            exact,
            clips_per_task(batch_size, clip_bytes),
            self.spec.max_pixels,
            self.spec.decode_timeout,
            self.spec.sandbox,
        )

    def settings(self, runtime: Runtime) -> dict[str, Any]:
        """Return all that the rows depend on, for the output's metadata."""
        quantization = self.bundle.quantization if runtime.precision == "int8" else None
        return {
            "model": self.bundle.architecture,
            "weights_sha256": self.bundle.weights_sha256,
            "backbone_sha256": self.backbone_sha256,
            "weights": self.bundle.provenance.weights,
            "labels": self.bundle.labels,
            **{f"clip_{name}": value for name, value in asdict(self.clips.sampling).items()},
            "step": self.clips.step,
            "num_clips": self.clips.num_clips,
            "short_clips": self.clips.short_clips,
            "image_fps": self.spec.image_fps,
            "max_pixels": self.spec.max_pixels,
            "preprocessing": asdict(self.bundle.preprocessing),
            "top_k": self.spec.top_k,
            "precision": runtime.precision,
            "compiled": runtime.compiled,
            **({"quantization": quantization.digest} if quantization else {}),
        }
