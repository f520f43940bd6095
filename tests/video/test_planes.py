from __future__ import annotations

from vidcnn.video.planes import PlaneConverter
from vidcnn.video.resizing import Target

WHOLE = Target((8, 8), 0, 0, 8, 8, 1)


def test_colour_spaces_that_are_not_linear_are_left_to_libav() -> None:
    assert PlaneConverter.of("yuv444p", 1, 1, WHOLE) is not None
    assert PlaneConverter.of("yuv444p", 8, 1, WHOLE) is None  # YCgCo
    assert PlaneConverter.of("rgb24", 0, 2, WHOLE) is None


def test_a_plane_that_lies_upside_down_in_memory_is_left_to_libav() -> None:
    class Plane:
        line_size = -320

    class Frame:
        planes = (Plane(),)

    converter = PlaneConverter.of("yuv420p", 1, 1, WHOLE)
    assert converter is not None
    assert converter.convert(Frame()) is None
