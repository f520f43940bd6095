from __future__ import annotations

from dataclasses import replace

from vidcnn.reporting.quantized import QuantizeReport, quantize_json, quantize_text
from vidcnn.sandbox.confinement import Strength

REPORT = QuantizeReport(
    out="b8",
    architecture="r3d_18",
    num_convolutions=20,
    kept=(),
    observer="mse",
    num_calibrated=128,
    measured={
        "clips": 256.0,
        "agreement": 0.996,
        "drift": 0.0042,
        "largest_drift": 0.12,
        "int8_clips_per_second": 11.0,
        "bf16_clips_per_second": 5.0,
    },
    min_agreement=0.99,
)


def test_what_it_costs_and_gives_is_said() -> None:
    assert quantize_text(REPORT).splitlines() == [
        "b8: r3d_18, 20 of 20 convolutions in int8 (ranges by mse, from 128 clips)",
        "agreement: 99.6% of 256 other clips have the same class first as in float32",
        "drift: 0.42% of the probability goes to other classes on average, 12.0% at most",
        "speed: 11.0 clips/s on one thread, 5.0 in bf16: 2.2 times",
    ]
    assert quantize_json(REPORT)["speedup"] == 2.2


def test_accuracy_kept_layers_and_notices_are_said_where_there_are_any() -> None:
    measured = {**REPORT.measured, "top1_float32": 0.75, "top1_int8": 0.74}
    lines = quantize_text(replace(REPORT, measured=measured, kept=("stem.0",), notices=("few",))).splitlines()
    assert lines[0].startswith("b8: r3d_18, 19 of 20 convolutions")
    assert lines[3] == "accuracy: top-1 74.0% of the clips, 75.0% in float32"
    assert lines[5:] == ["in float32 stay stem.0", "few"]


def test_a_decoder_that_is_not_fully_confined_is_told() -> None:
    weak = replace(REPORT, confinement={"a": Strength()})
    assert quantize_text(weak).splitlines()[-1] == "confinement of decoding processes on a: not confined"
    assert quantize_json(weak)["confinement"] == {"a": Strength()._asdict()}


def test_weights_that_were_fine_tuned_are_said() -> None:
    tuned = replace(REPORT, is_tuned=True, measured={**REPORT.measured, "agreement_float32": 0.998})
    assert quantize_text(tuned).splitlines()[4] == (
        "its weights were fine-tuned for int8: in float32, too, they are others, and 99.8% have the same class first"
    )
    assert [quantize_json(report)["fine_tuned"] for report in (REPORT, tuned)] == [False, True]
