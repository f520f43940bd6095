"""What job a run directory is of: always the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vidcnn import __version__
from vidcnn.config import TrainSpec
from vidcnn.errors import OutputError, SettingsDifferError
from vidcnn.files import write_whole
from vidcnn.settings import differences


def check_record(directory: Path, record: dict[str, Any]) -> None:
    """Refuse to continue a run with other settings; note those of a new one.

    Args:
        directory: The run's directory.
        record: All that must be the same, as JSON values.

    Raises:
        SettingsDifferError: The run was begun with another value; the message names it.
        OutputError: The directory holds something else than a run.
    """
    path = directory / "run.json"
    try:
        recorded = json.loads(path.read_text())["settings"]
    except FileNotFoundError:
        strange = [entry.name for entry in directory.iterdir() if entry.name not in ("lock", f".{path.name}.part")]
        if strange:
            raise OutputError(
                f"'{directory}' holds {strange[0]} and is not a training run", "choose another --out"
            ) from None
        write_whole(path, json.dumps({"vidcnn": __version__, "settings": record}, indent=2).encode() + b"\n")
        return
    except (OSError, ValueError, KeyError) as error:
        raise OutputError(f"{path} cannot be read ({error})", "choose another --out") from error
    if recorded.get("data_sha256") != record.get("data_sha256"):
        raise SettingsDifferError(
            f"the videos or their labels are not those that '{directory}' was begun with",
            "restore them, or choose another --out",
        )
    # Defaults are of settings that were not there when the run was begun.
    if differing := differences(recorded, record, TrainSpec().model_dump()):
        raise SettingsDifferError(
            f"'{directory}' was begun with {'; '.join(differing)}",
            "restore what differs to go on with the run, or choose another --out",
        )
