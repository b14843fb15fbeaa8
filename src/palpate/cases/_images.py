"""One file of pixels → one upright 8-bit RGB image, or a plain reason why not.

The rule, version ``rgb8@1``, recorded in ``Case.decode`` (a key appears only where that step changed something):

===============  =====================================================================================================
``rule``         always ``rgb8@1``
``orientation``  EXIF orientation 2–8, applied: the image is upright
``alpha``        ``over black``: an image that is not fully opaque is laid on black, the background of radiology
``scale``        how more than 8 bits became 8. Integers: value × 255 / (2^bits − 1), where bits is the smallest of 8, 10, 12,
                 14 and 16 that holds the image's maximum (12-bit data in a 16-bit file is not shown black). Floats within
                 0–1: × 255. Anything else: linear from the image's minimum and maximum. Colour with 16 bits: the high byte
``inverted``     ``min-is-white``: a 16-bit TIFF that stores white as 0
``colour``       CMYK, YCbCr or LAB converted to RGB without a colour profile
===============  =====================================================================================================

Embedded colour profiles are not applied. The content decides the format, not the suffix: a PNG called .jpg is a PNG.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

RULE = "rgb8@1"
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".webp"})
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
MAX_PIXELS = 64_000_000
"""8,000 × 8,000. Larger than any single radiograph or photograph; a whole slide has to be cut into tiles first."""
MIN_SIDE = 8
MAX_BYTES = 512 * 2**20
BIT_DEPTHS = (8, 10, 12, 14, 16)
MIN_IS_WHITE, PHOTOMETRIC, ORIENTATION = 0, 0x0106, 0x0112

BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Warning,
)
"""What Pillow's decoders raise on broken files (a warning too, where warnings are errors): each becomes a reason."""


class Undecodable(ValueError):
    """Why a file gives no image, in words a person can act on."""


class ChangedSincePlanned(Undecodable):
    """What is there now is another image: it must not be shown as the one that was planned."""

    def __init__(self, problem: str = "the file has changed since the study was planned") -> None:
        super().__init__(problem)


@dataclass(frozen=True, slots=True)
class FileImage:
    """An image on disk (an ``ImageRef``): opened as often as needed, in any process; pickles as two strings."""

    path: str
    digest: str

    def open(self) -> Image:
        """The image as 8-bit RGB, upright. Raises Undecodable (a ValueError) or OSError, also where the file has changed."""
        data = read_bytes(Path(self.path))
        if digest(data) != self.digest:
            raise ChangedSincePlanned
        return decode(data)[0]


class Identified(Protocol):
    """An ``ImageRef`` that knows what it shows: ``digest`` follows the content, never the name."""

    @property
    def digest(self) -> str:
        """Identity of the content, 32 hexadecimal digits."""
        ...

    def open(self) -> Image:
        """The image as 8-bit RGB, upright. Raises Undecodable (a ValueError) or OSError."""
        ...


@dataclass(frozen=True, slots=True)
class Checked:
    """An image that has been decoded in full once; ``notes`` are what to know of it and others like it.

    ``file``: what its file is — format, mode, suffix, quantisation — for the data card: a class may be told by that.
    """

    ref: Identified
    decode: dict[str, str]
    notes: tuple[str, ...] = ()
    file: Mapping[str, Any] = field(default_factory=dict)


def check(path: Path) -> Checked:
    """Reads and fully decodes one file, and keeps only what identifies it. Raises Undecodable with the reason."""
    try:
        data = read_bytes(path)
    except OSError as error:
        raise Undecodable(f"cannot be read: {error.strerror or error}") from error
    with warnings.catch_warnings():
        # Pillow warns of sizes (judged below), odd EXIF blocks and the like; the pixels are right or the decoder raises.
        warnings.simplefilter("ignore")
        _, settings = decode(data)
    return Checked(FileImage(str(path), digest(data)), settings, file={**described(data), "suffix": path.suffix})


def described(data: bytes) -> dict[str, Any]:
    """The format, mode and, of a JPEG, the sum of its luminance quantisation (the coarser, the larger) of a whole image's bytes."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except (*BROKEN, Image.DecompressionBombError):
            return {}
    found: dict[str, Any] = {"format": image.format, "mode": image.mode}
    tables = getattr(image, "quantization", None)
    return {**found, "quantisation": sum(tables[0])} if tables and 0 in tables else found


def read_bytes(path: Path) -> bytes:
    """The file's bytes. Raises OSError, or Undecodable for an empty or absurdly large file."""
    size = path.stat().st_size
    if size == 0:
        raise Undecodable("the file is empty")
    if size > MAX_BYTES:
        raise Undecodable(f"the file has {size / 2**20:,.0f} MB, more than the {MAX_BYTES / 2**20:,.0f} MB allowed")
    return path.read_bytes()


def digest(data: bytes) -> str:
    """BLAKE2b of the bytes, 32 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def decode(data: bytes) -> tuple[Image, dict[str, str]]:
    """(8-bit RGB upright image, the steps that shaped it) from a file's bytes. Raises Undecodable."""
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise Undecodable(f"is not a readable image: neither {', '.join(FORMATS[:-1])} nor {FORMATS[-1]}") from error
    except Image.DecompressionBombError as error:
        raise Undecodable(f"claims more than the {MAX_PIXELS / 1e6:.0f} million pixels allowed") from error
    except BROKEN as error:
        raise Undecodable(f"is damaged: {first_line(error)}") from error
    _refuse_absurd(image)
    try:
        return _to_rgb(image)
    except Undecodable:
        raise
    except BROKEN as error:
        raise Undecodable(f"is damaged: {first_line(error)}") from error


def _refuse_absurd(image: Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        limit = f"the {MAX_PIXELS / 1e6:.0f} million allowed"
        raise Undecodable(f"has {width:,} × {height:,} pixels, more than {limit}: cut it into tiles")
    if min(width, height) < MIN_SIDE:
        raise Undecodable(f"has only {width:,} × {height:,} pixels")
    # A phone's MPO holds its preview beside the photograph; a TIFF's, PNG's or WebP's further pages are other images.
    try:
        pages = 1 if image.format in ("MPO", "JPEG") else getattr(image, "n_frames", 1)
    except BROKEN as error:
        raise Undecodable(f"is damaged: {first_line(error)}") from error
    if pages > 1:
        raise Undecodable(f"holds {pages} pages: save the one to use as a file of its own")


def _to_rgb(image: Image) -> tuple[Image, dict[str, str]]:
    settings = {"rule": RULE}
    # Asked first: reading a PNG's orientation already loads it, and then the file's own depth is forgotten.
    deep_colour = any(";16" in str(tile.args) for tile in getattr(image, "tile", ())) and image.mode in ("RGB", "RGBA", "LA")
    orientation = _orientation(image)
    if orientation != 1:
        settings["orientation"] = str(orientation)
    image.load()
    left_to_turn = _orientation(image)  # Pillow turns a TIFF itself while loading it
    if deep_colour:
        settings["scale"] = "16 bits to 8, high byte"
    if image.mode[0] in "IF":
        image = _scaled(image, settings)
    image = _flattened(image, settings)
    return _upright(image, left_to_turn), settings


def _orientation(image: Image) -> int:
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except BROKEN:  # a damaged EXIF block says nothing about orientation, and nothing about the pixels
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(image: Image, orientation: int) -> Image:
    from PIL.Image import Transpose

    turn = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation)
    return image if turn is None else image.transpose(turn)


def _flattened(image: Image, settings: dict[str, str]) -> Image:
    """RGB; what is transparent shows black. Palettes and one-bit images pass through their colours."""
    from PIL import Image as PillowImage

    if image.has_transparency_data:
        image = image.convert("RGBA")
        lowest, _ = image.getchannel("A").getextrema()
        if lowest != 255:
            settings["alpha"] = "over black"
            image = PillowImage.alpha_composite(PillowImage.new("RGBA", image.size, (0, 0, 0, 255)), image)
    elif image.mode not in ("1", "L", "P", "RGB"):
        settings["colour"] = f"{image.mode} to RGB, no profile"
    # A new image: neither the open file nor its metadata (names, dates) travels on with the pixels.
    clean = PillowImage.new("RGB", image.size)
    clean.paste(image.convert("RGB"))
    return clean


def _scaled(image: Image, settings: dict[str, str]) -> Image:
    """More than 8 bits to 8 by the rule at the top of this module."""
    import numpy as np
    from PIL import Image as PillowImage

    values: NDArray[np.float32] = np.asarray(image).astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise Undecodable("holds values that are not finite numbers")
    integer = image.mode[0] == "I"
    if integer and low >= 0 and high < 2 ** BIT_DEPTHS[-1]:
        bits = next(b for b in BIT_DEPTHS if high < 2**b)
        values *= 255.0 / (2**bits - 1)
        settings["scale"] = f"{bits} bits to 8"
    elif not integer and low >= 0.0 and high <= 1.0:
        values *= 255.0
        settings["scale"] = "0..1 to 8 bits"
    else:
        if low == high:
            raise Undecodable(f"holds one value ({low:g}) only, and nothing says which grey it is")
        values -= low
        values *= 255.0 / (high - low)
        settings["scale"] = f"{low:g}..{high:g} to 8 bits"
    grey = np.rint(values).clip(0, 255).astype(np.uint8)
    tags = getattr(image, "tag_v2", None)
    if integer and tags is not None and tags.get(PHOTOMETRIC) == MIN_IS_WHITE:
        settings["inverted"] = "min-is-white"
        grey = 255 - grey
    return PillowImage.fromarray(grey)


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
