"""Whether videos can be decoded: codecs, hardware, and the process that decodes."""

from __future__ import annotations

import time

from vidcnn.errors import VidcnnError
from vidcnn.reporting.findings import Finding, plain
from vidcnn.sandbox.confinement import Strength

TOPIC = "decoding"
_SECONDS = 60.0
_REINSTALL = "pip install --force-reinstall av opencv-python-headless, which brings FFmpeg along"


def check_codecs() -> list[Finding]:
    """Look at what libav was built with; PyAV is loaded."""
    from vidcnn.video.abilities import DECODERS, hardware_decoders, missing_codecs

    missing = missing_codecs()
    there = [name for name in DECODERS if name not in missing]
    findings = [Finding("codecs", name, "", facts={"decodes": True}) for name in there]
    for name in missing:
        findings.append(
            Finding(
                "codecs",
                name,
                "missing",
                "failure" if name == "h264" else "warning",
                f"the FFmpeg of PyAV does not decode {name}: such videos become error rows",
                _REINSTALL,
                {"decodes": False},
            )
        )
    hardware = hardware_decoders()
    usable = [name for name, is_there in hardware.items() if is_there]
    value = f"{', '.join(usable)}; processors decode all the same" if usable else "none here; processors decode"
    return [*findings, Finding(TOPIC, "hardware", value, "note", facts=dict(hardware))]


def check_child() -> list[Finding]:
    """Start a process for decoding, as a run does, and let it decode a video that is known."""
    from vidcnn.video.abilities import decode_known
    from vidcnn.video.cell import Cell, CellError

    began = time.monotonic()
    try:
        with Cell() as cell:
            for _ in cell.run(decode_known, [None], seconds=lambda _: _SECONDS):
                pass
            strength = cell.strength or Strength()
    except (VidcnnError, CellError) as error:
        message = error.message if isinstance(error, VidcnnError) else f"a process for decoding failed: {error.message}"
        hint = error.hint if isinstance(error, VidcnnError) and error.hint else _REINSTALL
        return [Finding(TOPIC, "child process", "fails", "failure", plain(message), plain(hint))]
    seconds = time.monotonic() - began
    value = f"starts and decodes rightly, in {seconds:.1f} s"
    confined = Finding(TOPIC, "confinement", strength.text, facts={"sandbox": strength._asdict()})
    return [Finding(TOPIC, "child process", value, facts={"seconds": round(seconds, 3)}), confined]
