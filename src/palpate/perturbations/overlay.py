"""What is written over an image: burned-in text, and a side marker. Drawn with letters of its own: the same pixels everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from palpate.perturbations._reference import EVERY, FIVE, MRI, XRAY, picture, pixels_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

TEXT_LINES = {1: 1, 2: 3, 3: 5, 4: 8, 5: 11}
"""Severity → lines of text, from the top and the bottom of the image by turns."""
TEXT_HEIGHT = 0.055  # of the shorter side, a line with its gap
MARKER_SIDE = {1: 0.12, 2: 0.19, 3: 0.27, 4: 0.36, 5: 0.46}
"""Severity → side of the marker's square, of the shorter side."""

GLYPHS = {
    "0": "0E11131519110E",
    "1": "040C040404040E",
    "2": "0E11010204081F",
    "3": "1F02040201110E",
    "4": "02060A121F0202",
    "5": "1F101E0101110E",
    "6": "0608101E11110E",
    "7": "1F010204080808",
    "8": "0E11110E11110E",
    "9": "0E11110F01020C",
    "A": "0E11111F111111",
    "C": "0E11101010110E",
    "D": "1C12111111121C",
    "E": "1F10101E10101F",
    "G": "0E11101711110F",
    "I": "0E04040404040E",
    "L": "1010101010101F",
    "M": "111B1515111111",
    "N": "11191513111111",
    "O": "0E11111111110E",
    "P": "1E11111E101010",
    "R": "1E11111E141211",
    "S": "0F10100E01011E",
    "T": "1F040404040404",
    "U": "1111111111110E",
    "W": "11111115151B11",
    "Y": "1111110A040404",
    " ": "00000000000000",
    ":": "000C0C000C0C00",
    ".": "00000000000C0C",
}
"""Letter → seven rows of five bits, hexadecimal."""
NOTES = ("SERIES", "POSITION", "TIME", "STUDY", "IMAGE", "ROW", "WL", "SCALE", "LINE", "UNIT", "AP")
"""Words before each line's number: what a scanner writes, and nothing that says anything of a disease."""


class BurnedText:
    """``burned_text``: lines a scanner might write, white on the image. They name nobody and no finding."""

    name: ClassVar[str] = "burned_text"
    severities: ClassVar[tuple[int, ...]] = FIVE
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = EVERY

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The written-on image. Raises KeyError for a severity outside 1–5."""
        pixels = pixels_of(image).copy()
        height = max(3, round(TEXT_HEIGHT * min(image.size)))
        for number in range(TEXT_LINES[severity]):
            text = (
                f"{NOTES[number]} {rng.integers(10**4):04d}.{rng.integers(10**4):04d} {rng.integers(24):02d}:{rng.integers(60):02d}"
            )
            line = _drawn(text, max(1, height - max(1, height // 6)))
            down = (number // 2) * height + 1
            top = down if number % 2 == 0 else pixels.shape[0] - down - line.shape[0]
            _write(pixels, line, top, 2)
        return picture(pixels)


class Marker:
    """``marker``: the letter L or R in a frame in one of the four corners, larger with each severity."""

    name: ClassVar[str] = "marker"
    severities: ClassVar[tuple[int, ...]] = FIVE
    version: ClassVar[int] = 1
    sets: ClassVar[tuple[str, ...]] = (MRI, XRAY)

    def apply(self, image: Image, severity: int, rng: np.random.Generator) -> Image | None:
        """The marked image. Raises KeyError for a severity outside 1–5."""
        pixels = pixels_of(image).copy()
        side = max(3, round(MARKER_SIDE[severity] * min(image.size)))
        letter, bottom, right = "LR"[int(rng.integers(2))], bool(rng.integers(2)), bool(rng.integers(2))
        top, left = (pixels.shape[0] - side if bottom else 0), (pixels.shape[1] - side if right else 0)
        frame = max(1, side // 12)
        pixels[top : top + side, left : left + side] = 245.0
        pixels[top + frame : top + side - frame, left + frame : left + side - frame] = 15.0
        drawn = _drawn(letter, max(1, round(0.7 * side)))
        _write(pixels, drawn, top + (side - drawn.shape[0]) // 2, left + (side - drawn.shape[1]) // 2)
        return picture(pixels)


def _drawn(text: str, height: int) -> NDArray[np.bool_]:
    """(height, width) True where ink is: letters of 5 × 7 squares, a square apart, enlarged to that height."""
    import numpy as np

    letters = [[[int(GLYPHS[c][2 * r : 2 * r + 2], 16) >> (4 - b) & 1 for b in range(5)] + [0] for r in range(7)] for c in text]
    ink = np.concatenate([np.array(letter, np.bool_) for letter in letters], axis=1)[:, :-1]
    rows = np.arange(height) * 7 // height
    width = max(1, round(ink.shape[1] * height / 7))
    return ink[rows][:, np.arange(width) * ink.shape[1] // width]


def _write(pixels: NDArray[np.float32], ink: NDArray[np.bool_], top: int, left: int) -> None:
    """White ink on the pixels, cut off at their edges."""
    top, left = max(top, 0), max(left, 0)
    place = pixels[top : top + ink.shape[0], left : left + ink.shape[1]]
    place[ink[: place.shape[0], : place.shape[1]]] = 245.0


PARTS = (BurnedText(), Marker())
