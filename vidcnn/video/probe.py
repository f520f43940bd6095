"""What a video contains, before any of its pixels are needed.

Takes a location, returns a `VideoInfo`: the presentation time of every frame, and the properties of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

import av.error
from av.video.format import VideoFormat

from vidcnn.errors import VideoError
from vidcnn.sampling.segments import FrameTimes
from vidcnn.video.container import MAX_PIXELS, OpenVideo, open_video, read_from_keyframe
from vidcnn.video.encryption import find_encryption, packet_encryption, reason_of
from vidcnn.video.files import file_version, read_at
from vidcnn.video.limits import complaint_about_size
from vidcnn.video.structure import is_animated_webp
from vidcnn.video.timeline import FrameMatching, read_timeline

__all__ = ["FrameMatching", "VideoInfo", "probe_video"]

_MAX_PACKETS = 8
"""How many packets are tried for the first frame."""

_HDR = (16, 18)  # SMPTE ST 2084 and ARIB STD-B67: ITU-T H.273, table 3


@dataclass(frozen=True, eq=False)
class VideoInfo:
    """A video's first real video stream.

    Attributes:
        times: The frames in presentation order, with keyframes.
        timing: How decoded frames are matched to `times`.
        width: Coded width in pixels, before rotation.
        height: Coded height in pixels, before rotation.
        rotation: Degrees counterclockwise that frames are turned for display.
        pixel_aspect: Width of a pixel divided by its height.
        codec: libav's name of the decoder.
        container: libav's name of the demuxer.
        size_bytes: Size of the file.
        mtime_ns: Modification time of the file, in nanoseconds since the epoch.
        pixel_format: libav's name of how pixels are stored; None where no frame shows it.
        bit_depth: Bits of a sample; None as for `pixel_format`.
        is_hdr: Whether it is declared to have a high dynamic range (PQ or HLG).
        num_audio_streams: Streams of sound beside it.
    """

    times: FrameTimes
    timing: FrameMatching
    width: int
    height: int
    rotation: int
    pixel_aspect: Fraction
    codec: str
    container: str
    size_bytes: int
    mtime_ns: int
    pixel_format: str | None = None
    bit_depth: int | None = None
    is_hdr: bool = False
    num_audio_streams: int = 0

    @property
    def display_size(self) -> tuple[int, int]:
        """Width and height in square pixels, as it is shown."""
        width = max(1, round(self.width * self.pixel_aspect))
        return (self.height, width) if self.rotation % 180 == 90 else (width, self.height)

    @property
    def duration_seconds(self) -> float:
        """Seconds from the first frame to the end of the last."""
        return float((self.times.end - int(self.times.pts[0])) * self.times.time_base)

    @property
    def frame_rate(self) -> float:
        """Mean number of frames per second."""
        return self.times.num_frames / self.duration_seconds


def probe_video(location: str, *, max_pixels: int = MAX_PIXELS, root: str | None = None) -> VideoInfo:
    """Read what a video file contains.

    Args:
        location: Absolute path or URI of a regular file.
        max_pixels: Largest frame, width times height, that is accepted.
        root: Folder that the file's symbolic links must not lead out of; None lets them lead anywhere.

    Returns:
        The first real video stream's frames and properties.

    Raises:
        VideoError: `unreadable`, `no_video`, `truncated`, `too_large`, `unsafe`, or `changed` where it does not exist.
        StorageError: It cannot be read now.
    """
    size_bytes, mtime_ns = file_version(location, root)
    with open_video(location, max_pixels=max_pixels, for_times=True, root=root) as video:
        stream, codec = video.stream, video.stream.codec_context
        times, timing = read_timeline(video, location)
        rotation = _rotation(video, location)  # by then the decoder knows the size, too
        return VideoInfo(
            times=times,
            timing=timing,
            width=codec.width,
            height=codec.height,
            rotation=rotation,
            pixel_aspect=stream.sample_aspect_ratio or codec.sample_aspect_ratio or Fraction(1),
            codec=codec.name,
            container=video.container.format.name,
            size_bytes=size_bytes,
            mtime_ns=mtime_ns,
            pixel_format=codec.pix_fmt,
            bit_depth=_bit_depth(codec.pix_fmt),
            is_hdr=codec.color_trc in _HDR,
            num_audio_streams=len(video.container.streams.audio),
        )


def _bit_depth(pixel_format: str | None) -> int | None:
    """Return how many bits the samples of a format have."""
    if pixel_format is None:
        return None
    return max((component.bits for component in VideoFormat(pixel_format).components), default=None)


def _rotation(video: OpenVideo, location: str) -> int:
    """Return the rotation of the first frames; 0 where none can be decoded, and it is not known why.

    Raises:
        FFmpegError: Frames are larger than allowed, so that libav could not even read their size.
        VideoError: `unreadable`: the file is encrypted from its beginning, or of a kind that libav cannot decode.
    """
    codec = video.stream.codec_context
    rotation = 0
    try:
        video.container.seek(0)
        for packet in islice(read_from_keyframe(video), _MAX_PACKETS):
            if packet is not None and (scheme := packet_encryption(packet, video.stream)):
                raise VideoError("unreadable", reason_of(scheme))
            # Drained at once, the decoder does not wait for the frames that it would put in order.
            for frame in (*(video.decode(packet) if packet is not None else ()), *video.decode(None)):
                rotation = int(frame.rotation)
                if not frame.is_corrupt:
                    return rotation
            codec.flush_buffers()
    except (av.error.FFmpegError, ValueError) as error:
        if codec.width == 0 and (isinstance(error, MemoryError) or complaint_about_size(error)):
            raise
    read = read_at(location, video.file.root)
    if scheme := find_encryption(read, video.size_bytes):
        raise VideoError("unreadable", reason_of(scheme))
    if is_animated_webp(read):
        raise VideoError("unreadable", "it is an animated WebP, which libav cannot decode: convert it")
    return rotation
