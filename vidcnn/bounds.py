"""The largest numbers that a job, a bundle or a file of weights may ask for.

They are far above what any network of today takes, and far below what would bring a machine down. A file that exceeds
one is damaged, or made to do harm. `docs/bundle.md` lists those of files.
"""

from __future__ import annotations

MAX_FRAMES = 16_384
"""Frames in a clip."""
MAX_STRIDE = 100_000
"""Frames of a video from one frame of a clip to the next."""
MAX_SIDE = 8192
"""Height or width of frames, in pixels."""
MAX_CLIP_BYTES = 2**30
"""Pixels of one clip, as the network takes it, three bytes each."""
MAX_CLASSES = 100_000
"""Classes of a network."""
MAX_DEVIATION = 1e6
"""Mean or standard deviation of a colour, on the scale [0, 1]; the latter is at least as far from 0 as this from 1."""

MAX_CHANNELS = 65_536
"""Channels, or values of a layer."""
MAX_LAYERS = 64
"""Blocks of a network, and convolutions in each."""
MAX_WEIGHTS_BYTES = 8 * 2**30
"""Weights of a network, in float32: some ninety times those of the largest that vidcnn knows."""
MAX_HEADER_BYTES = 16 * 2**20
"""Header of a safetensors file; a thousand tensors take a tenth of a megabyte."""
MAX_PICKLE_BYTES = 16 * 2**20
"""What a torch checkpoint has besides its numbers: the names, the shapes, and what else was saved."""
MAX_CARD_BYTES = 16 * 2**20
"""A JSON file of a bundle or of a run."""

MAX_BATCH = 1_000_000
"""Clips that a network takes at once."""
MAX_PROCESSES = 65_536
"""Processes of one kind: workers, decoders, actors."""
MAX_COUNT = 10**12
"""Videos, clips, epochs, frames between clips."""
MAX_PIXELS = 2**31
"""Pixels of a frame that is decoded."""
MAX_SECONDS = 10 * 365 * 86_400
"""Any time."""
MAX_SEED = 2**63 - 1
"""Seeds of whatever is random."""
MAX_FACTOR = 1e9
"""Factors, rates and strengths."""
