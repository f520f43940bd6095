"""Opening a video as untrusted input.

In goes a location, out comes an open PyAV container and its first real video stream. Every failure on the way, from a
missing file to a demuxer's complaint, becomes a `VideoError` with plain words.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import av
import av.error
import av.logging

from vidcnn.errors import VideoError
from vidcnn.storage import local_path
from vidcnn.video.files import open_for_libav, open_local, read_at
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
_AUDIO_FORMATS = (  # so that a file of sound is told apart from a file that cannot be read
    "mp3,wav,w64,flac,aac,ac3,eac3,ac4,amr,amrnb,amrwb,aiff,au,caf,ape,wv,tta,tak,dts,dtshd,truehd,mlp,opus,oga,"
    "voc,mpc,mpc8,gsm,loas,oma,qcp,rso,sox,xa"
)
_FORMATS = ",".join((_VIDEO_FORMATS, _IMAGE_FORMATS, _AUDIO_FORMATS))

_TOO_LARGE = re.compile("exceeds specified max pixel count|Invalid image size|Picture size .* is invalid")
_MAX_READ_FAILURES = 16
"""Reading ends after this many failures without a packet between them."""

_MAX_LEAD_PACKETS = 512
"""How many packets before the first keyframe are left out, and kept in memory until it has come."""

_READ_BUFFER_BYTES = 1 << 20
"""Bytes asked of object storage at a time: a request costs some milliseconds whatever its size."""

av.logging.set_level(av.logging.PANIC)


@dataclass(frozen=True)
class OpenVideo:
    """An open container and the stream that is read from it.

    Attributes:
        container: PyAV's input container.
        stream: The first video stream that is not cover art.
        size_bytes: Size of the file.
    """

    container: Any
    stream: Any
    size_bytes: int


@contextmanager
def open_video(location: str, *, max_pixels: int = MAX_PIXELS) -> Iterator[OpenVideo]:
    """Open a video file with limits, and close it whatever happens.

    Args:
        location: Absolute path or URI of a regular file.
        max_pixels: Largest frame, width times height, that may be decoded.

    Yields:
        The open video; its decoder runs in one thread.

    Raises:
        VideoError: `unreadable`, `truncated`, `unsafe`, `no_video` or `too_large`; also for what libav raises inside
            the ``with`` block.
    """
    with plain_errors(), ExitStack() as stack:
        size_bytes, file = open_for_libav(location)
        if file is not None:
            stack.enter_context(closing(file))
        container = _open_container(location, file, size_bytes, max_pixels, stack)
        stack.enter_context(closing(container))
        stream = _video_stream(container, location, size_bytes)
        codec = stream.codec_context
        if codec.width * codec.height > max_pixels:
            raise VideoError(
                "too_large",
                f"frames are {codec.width}x{codec.height}, above the limit of {max_pixels} pixels",
            )
        codec.options = {"max_pixels": str(max_pixels)}
        codec.thread_count = 1
        yield OpenVideo(container, stream, size_bytes)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn whatever is raised inside into a `VideoError`, so that one file's oddity stays that file's."""
    try:
        yield
    except VideoError:
        raise
    except FileNotFoundError as error:
        raise VideoError("unreadable", "the file does not exist") from error
    except PermissionError as error:
        raise VideoError("unreadable", "permission denied") from error
    except MemoryError as error:
        raise VideoError("too_large", "decoding it takes more memory than there is") from error
    except (av.error.FFmpegError, OSError, ValueError, IndexError) as error:
        if complaint := complaint_about_size(error):
            raise VideoError("too_large", f"libav refuses its frames ({complaint})") from error
        raise VideoError("unreadable", f"reading it failed ({_plain(error)})") from error
    except Exception as error:
        reason = f"{type(error).__name__}: {_plain(error)}"
        raise VideoError("decoder_crash", f"reading it failed in an unexpected way ({reason})") from error


def complaint_about_size(error: Exception) -> str | None:
    """Return what libav said where it failed because a frame is larger than allowed, else None."""
    _, _, complaint = getattr(error, "log", None) or (0, "", "")
    return complaint.strip().split(",")[0] if _TOO_LARGE.search(complaint) else None


def read_from_keyframe(video: OpenVideo) -> Iterator[Any]:
    """Read the packets of the stream from the next keyframe on, past what cannot be read.

    What comes before a stream's first keyframe cannot be decoded: it is left of a recording that began earlier. Where
    no keyframe is near, all packets are read: some files do not mark them.

    Yields:
        PyAV's packets in decoding order, and None for each place that cannot be read. The last packet is empty: it
        makes the decoder give out the frames that it still holds.
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
    while num_failures < _MAX_READ_FAILURES:
        try:
            for packet in video.container.demux(video.stream):
                yield packet
                num_failures = 0
            return
        except av.error.FFmpegError:
            num_failures += 1
        yield None
    last = av.Packet()
    last.stream = video.stream
    yield last


def _open_container(location: str, file: Any, size_bytes: int, max_pixels: int, stack: ExitStack) -> Any:
    arguments: dict[str, Any] = {
        "mode": "r",
        "metadata_errors": "replace",
        "container_options": {"format_whitelist": _FORMATS, "protocol_whitelist": "file"},
        "options": {"max_pixels": str(max_pixels)},  # for the decoders with which libav looks into the streams
    }
    try:
        if file is None:
            path = os.path.abspath(local_path(location))
            try:
                return av.open(path, **arguments)
            except (av.error.FFmpegError, ValueError):
                # An extension such as .jpg makes libav choose a demuxer by name; by content it may be another one.
                file = stack.enter_context(closing(open_local(path)))
        return av.open(file, buffer_size=_READ_BUFFER_BYTES, **arguments)
    except (av.error.FFmpegError, ValueError) as error:
        head = read_at(location)
        if playlist := find_playlist(head):
            raise VideoError("unsafe", f"it is {playlist}, which would read other files") from error
        if reason := explain_cut(head, size_bytes):
            raise VideoError("truncated", reason) from error
        raise VideoError("unreadable", f"not a video that libav can read ({_plain(error)})") from error


def _video_stream(container: Any, location: str, size_bytes: int) -> Any:
    """Return the first video stream that is not a picture attached to something else."""
    disposition = av.stream.Disposition
    attached = disposition.attached_pic | disposition.timed_thumbnails
    candidates = [stream for stream in container.streams.video if not stream.disposition & attached]
    whole = [stream for stream in candidates if not stream.disposition & disposition.dependent]
    for stream in whole or candidates:
        if stream.codec_context is not None:
            return stream
    if reason := explain_cut(read_at(location), size_bytes):
        raise VideoError("truncated", reason)
    if candidates:
        raise VideoError("unreadable", "no decoder for its video codec")
    kinds = sorted({stream.type for stream in container.streams})
    cover = " and cover art" if len(container.streams.video) > 0 else ""
    found = " and ".join(kind for kind in kinds if kind != "video") or "nothing else"
    raise VideoError("no_video", f"it has no video stream (only {found}{cover})")


def _plain(error: BaseException) -> str:
    """Return an error's text without its number and the path, which the table's `video` says already."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0][:200]
