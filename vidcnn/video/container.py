"""Opening a video as untrusted input.

Takes a location, returns an open PyAV container and its first real video stream. Every failure on the way, from a
missing file to a demuxer's complaint, becomes a `VideoError` with plain words.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import av
import av.error
import av.logging

from vidcnn.errors import VidcnnError, VideoError, first_line
from vidcnn.storage.uris import is_remote
from vidcnn.video.codecs import VIDEO_DECODERS, WHITELIST
from vidcnn.video.complaints import LogLine, tells_of_damage, tells_of_loss
from vidcnn.video.encryption import find_encryption, reason_of
from vidcnn.video.files import VideoFile, open_file, read_at
from vidcnn.video.limits import (
    MAX_STREAMS,
    NO_MEMORY,
    PROBE_BYTES,
    PixelBudget,
    check_entries,
    complaint_about_size,
    frame_limit,
    is_out_of_memory,
)
from vidcnn.video.structure import explain_cut, find_playlist

MAX_PIXELS = 8192 * 8192
"""Largest frame that is decoded, in pixels: an 8K frame fits, a decompression bomb does not."""

_VIDEO_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,live_flv,asf,ogg,mxf,gif,apng,nut,rm,dv,"
    "h261,h263,h264,hevc,vvc,evc,m4v,mjpeg,mjpeg_2000,av1,obu,ivf,yuv4mpegpipe,cavsvideo,avs2,avs3,vc1,vc1test,dnxhd,"
    "dirac,wtv,mtv,nsv,nuv,roq,bink,smk,4xm,dxa,thp,film_cpk,flic,idcin,ipmovie,mm,vmd,wc3movie,gxf,lvf,mv,pva,rpl,"
    "sdx,ty,vivo,xmv,yop,swf,mpjpeg,dhav,ifv,iv8,ivr,kux,lmlm4,lxf,mlv,ser,smjpeg,pmp,cine,apv,usm"
)
_IMAGE_FORMATS = (
    "jpeg_pipe,jpegls_pipe,jpegxl_pipe,jpegxl_anim,png_pipe,webp_pipe,bmp_pipe,tiff_pipe,pam_pipe,pbm_pipe,pgm_pipe,"
    "pgmyuv_pipe,ppm_pipe,pfm_pipe,phm_pipe,j2k_pipe,exr_pipe,dds_pipe,dpx_pipe,gif_pipe,hdr_pipe,ico,pcx_pipe,"
    "psd_pipe,qoi_pipe,sgi_pipe,sunrast_pipe,xbm_pipe,xpm_pipe,xwd_pipe"
)
_AUDIO_FORMATS = (  # so that a file of sound is not reported as one that cannot be read
    "mp3,wav,w64,flac,aac,ac3,eac3,ac4,amr,amrnb,amrwb,aiff,au,caf,ape,wv,tta,tak,dts,dtshd,truehd,mlp,opus,oga,"
    "voc,mpc,mpc8,gsm,loas,oma,qcp,rso,sox,xa"
)
_FORMATS = ",".join((_VIDEO_FORMATS, _IMAGE_FORMATS, _AUDIO_FORMATS))

_MAX_READ_FAILURES = 16
"""Reading ends after this many failures without a packet between them."""

_MAX_LEAD_PACKETS = 512
"""How many packets before the first keyframe are left out, and kept in memory until it has come."""

_FILE_ERRORS = (av.error.FFmpegError, ValueError, LookupError, ArithmeticError, BufferError, struct.error)
"""What reading odd files may raise: libav's own errors, and those of arithmetic on what they claim."""


@dataclass(frozen=True)
class OpenVideo:
    """An open container and the stream that is read from it.

    Attributes:
        container: PyAV's input container.
        stream: The first video stream that is not cover art.
        file: The bytes that libav reads.
        max_pixels: Largest frame, width times height, that may be decoded.
        budget: What may still be decoded.
    """

    container: Any
    stream: Any
    file: VideoFile
    max_pixels: int
    budget: PixelBudget

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return self.file.size_bytes

    def decode(self, packet: Any) -> list[Any]:
        """Return the frames that come out of the decoder for a packet; None is the end.

        Raises:
            VideoError: `too_large`: more was decoded than a file of this size may ask for.
            MemoryError: There is not enough memory for them.
            FFmpegError: They cannot be decoded.
        """
        codec = self.stream.codec_context
        self.budget.check()
        num_frames = 1  # one that does not come out costs as much
        try:
            frames: list[Any] = codec.decode(packet)
            num_frames = max(1, len(frames))
        finally:
            self.budget.spend(num_frames, codec.width * codec.height)
        return frames


@contextmanager
def open_video(
    location: str, *, max_pixels: int = MAX_PIXELS, for_times: bool = False, root: str | None = None
) -> Iterator[OpenVideo]:
    """Open a video file with limits, and close it whatever happens.

    Args:
        location: Absolute path or URI of a regular file.
        max_pixels: Largest frame, width times height, that may be decoded.
        for_times: Packets are wanted, not frames. libav then decodes none while it opens a file that declares times:
            it would, to learn how many frames a decoder has to put in order.
        root: Folder that the file's symbolic links must not lead out of; None lets them lead anywhere.

    Yields:
        The open video; its decoder runs in one thread.

    Raises:
        VideoError: `unreadable`, `truncated`, `unsafe`, `no_video` or `too_large`; also for what libav raises inside
            the ``with`` block.
        StorageError: Bytes of the file could not be read; what came of those that could means nothing.
    """
    with plain_errors(), _opened(location, root) as file:
        looks = not (for_times and _declares_times(location, file))
        container = _open_container(location, file, max_pixels, looks_into_frames=looks)
        with closing(container):
            stream = _video_stream(container, location, file)
            codec = stream.codec_context
            if codec.width * codec.height > max_pixels:
                raise VideoError(
                    "too_large",
                    f"frames are {codec.width}x{codec.height}, above the limit of {max_pixels} pixels",
                )
            if container.format.name.startswith("mov"):
                check_entries(max(len(stream.index_entries), stream.frames), file.size_bytes)
            for other in container.streams:
                if other is not stream:
                    other.discard = av.stream.Discard.all  # so that libav does not read what is thrown away
            largest = frame_limit(codec.width, codec.height, max_pixels)
            codec.options = {"max_pixels": str(largest), "err_detect": "crccheck", "codec_whitelist": WHITELIST}
            codec.thread_count = 1
            yield OpenVideo(container, stream, file, max_pixels, PixelBudget(file.size_bytes))


@contextmanager
def _opened(location: str, root: str | None) -> Iterator[VideoFile]:
    """Open a file, and raise at the end what went wrong with its storage, whatever libav made of that."""
    with closing(open_file(location, root)) as file:
        try:
            yield file
        except Exception:
            file.raise_failure()
            raise
        file.raise_failure()


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn libav's error about a file into a `VideoError`, so that a strange file affects no other file.

    Faults of the storage, and of this program, are raised as they are.
    """
    try:
        yield
    except (VideoError, VidcnnError):
        raise
    except Exception as error:
        if complaint := complaint_about_size(error):
            raise VideoError("too_large", f"libav refuses its frames ({complaint})") from error
        if is_out_of_memory(error):
            raise VideoError("too_large", NO_MEMORY) from error
        if not isinstance(error, _FILE_ERRORS) and not _is_of_library(error):
            raise
        raise VideoError("unreadable", f"reading it failed ({_plain(error)})") from error


def read_from_keyframe(video: OpenVideo) -> Iterator[Any]:
    """Read the packets of the stream from the next keyframe on, past what cannot be read.

    What comes before a stream's first keyframe cannot be decoded: it is left of a recording that began earlier. Where
    no keyframe is near, all packets are read: some files do not mark them.

    Yields:
        PyAV's packets in decoding order, and None for each place that cannot be read. The last packet is empty: it
        makes the decoder return the frames that it still keeps.
    """
    packets = _read_packets(video)
    lead = []
    for packet in packets:
        if packet is not None and packet.is_keyframe and packet.size:
            yield packet
            break
        lead.append(packet)
        if len(lead) > _MAX_LEAD_PACKETS:
            yield from lead
            break
    else:
        yield from lead
    yield from packets


def _read_packets(video: OpenVideo) -> Iterator[Any]:
    num_failures = 0
    codec_name, container_name = video.stream.codec_context.name, video.container.format.name
    capture = av.logging.Capture()
    while num_failures < _MAX_READ_FAILURES:
        packets = video.container.demux(video.stream)
        try:
            while True:
                with capture as log:
                    packet = next(packets, None)
                if packet is None:
                    return
                if log:
                    if tells_of_loss(log, container_name) or tells_of_damage(log, codec_name):
                        yield None
                    log.clear()
                yield packet
                num_failures = 0
        except av.error.FFmpegError:
            num_failures += 1
            capture.logs.clear()
        yield None
    last = av.Packet()
    last.stream = video.stream
    yield last


def _declares_times(location: str, file: VideoFile) -> bool:
    """Return whether a file's container has all times, by its first bytes. In object storage these cost a request."""
    if is_remote(location):
        return False
    head = file.read(8)
    file.seek(0)
    return head[4:] == b"ftyp" or head.startswith(b"\x1a\x45\xdf\xa3")  # MP4, Matroska


def _open_container(location: str, file: VideoFile, max_pixels: int, *, looks_into_frames: bool) -> Any:
    # These are for the decoders with which libav looks into the streams.
    options = {"max_pixels": str(max_pixels)} | ({} if looks_into_frames else {"skip_frame": "all"})
    limits = {
        "format_whitelist": _FORMATS,
        "codec_whitelist": WHITELIST,
        "protocol_whitelist": "file",
        "max_streams": str(MAX_STREAMS),
        "probesize": str(PROBE_BYTES),
    }
    log: list[LogLine] = []
    try:
        with av.logging.Capture() as log:
            return av.open(
                file,
                "r",
                buffer_size=file.buffer_bytes,
                metadata_errors="replace",
                container_options=limits,
                options=options,
            )
    except (av.error.FFmpegError, ValueError) as error:
        file.raise_failure()
        if any("exceeds max_streams" in message for _, _, message in log):
            raise VideoError("too_large", f"it has more than {MAX_STREAMS} streams") from error
        head = read_at(location, file.root)
        if playlist := find_playlist(head):
            raise VideoError("unsafe", f"it is {playlist}, which would read other files") from error
        if scheme := find_encryption(head, file.size_bytes):
            raise VideoError("unreadable", reason_of(scheme)) from error
        if reason := explain_cut(head, file.size_bytes):
            raise VideoError("truncated", reason) from error
        if isinstance(error, MemoryError):
            raise
        raise VideoError("unreadable", f"not a video that libav can read ({_plain(error)})") from error


def _check_decoder(name: str) -> None:
    """Check that a decoder may be used; libav itself uses no other."""
    if name not in VIDEO_DECODERS:
        raise VideoError("unreadable", f"its video codec ({name}) is none that is decoded")


def _video_stream(container: Any, location: str, file: VideoFile) -> Any:
    """Return the first video stream that is not a picture attached to something else."""
    disposition = av.stream.Disposition
    attached = disposition.attached_pic | disposition.timed_thumbnails
    candidates = [stream for stream in container.streams.video if not stream.disposition & attached]
    whole = [stream for stream in candidates if not stream.disposition & disposition.dependent]
    for stream in whole or candidates:
        if stream.codec_context is not None:
            _check_decoder(stream.codec_context.codec.name)
            return stream
    if scheme := find_encryption(read_at(location, file.root), file.size_bytes):
        raise VideoError("unreadable", reason_of(scheme))
    if reason := explain_cut(read_at(location, file.root), file.size_bytes):
        raise VideoError("truncated", reason)
    if candidates:
        raise VideoError("unreadable", "no decoder for its video codec")
    kinds = sorted({stream.type for stream in container.streams})
    cover = " and cover art" if len(container.streams.video) > 0 else ""
    found = " and ".join(kind for kind in kinds if kind != "video") or "nothing else"
    raise VideoError("no_video", f"it has no video stream (only {found}{cover})")


def _is_of_library(error: Exception) -> bool:
    """Return whether an exception was raised inside PyAV or OpenCV, which have many for what they do not expect."""
    if type(error).__module__.partition(".")[0] == "cv2":
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    # PyAV's compiled code names its source files, relative to where it was built.
    return trace is not None and trace.tb_frame.f_code.co_filename.startswith("av/")


def _plain(error: BaseException) -> str:
    """Return an error's text without its number and the path, which the table's column `video` has already."""
    return (getattr(error, "strerror", None) or first_line(error))[:200]
