"""Decoding: every mode to upright 8-bit RGB by the stated rule, and every broken file to a reason."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palpate.cases import _images
from palpate.cases._images import RULE, Undecodable, check, decode


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def grey(values: np.ndarray, kind: str = "TIFF", **options) -> bytes:
    return encoded(Image.fromarray(values), kind, **options)


def levels(data: bytes) -> np.ndarray:
    image, _ = decode(data)
    pixels = np.asarray(image)
    assert (pixels[..., 0] == pixels[..., 1]).all()
    return pixels[..., 0]


SQUARE = (12, 10)


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "shown"),
    [
        ("1", 1, "PNG", (255, 255, 255)),
        ("1", 1, "TIFF", (255, 255, 255)),
        ("L", 77, "PNG", (77, 77, 77)),
        ("L", 77, "TIFF", (77, 77, 77)),
        ("LA", (200, 255), "PNG", (200, 200, 200)),
        ("LA", (200, 0), "PNG", (0, 0, 0)),
        ("P", 0, "PNG", (10, 20, 30)),
        ("RGB", (10, 20, 30), "BMP", (10, 20, 30)),
        ("RGB", (10, 20, 30), "TIFF", (10, 20, 30)),
        ("RGBA", (200, 100, 50, 255), "PNG", (200, 100, 50)),
        ("RGBA", (200, 100, 50, 51), "PNG", (40, 20, 10)),
        ("CMYK", (0, 255, 255, 0), "TIFF", (255, 0, 0)),
        ("CMYK", (0, 255, 255, 0), "JPEG", (255, 0, 0)),
    ],
)
def test_every_mode_becomes_rgb(mode, colour, kind, shown):
    image = Image.new(mode, SQUARE, colour)
    if mode == "P":
        image.putpalette([10, 20, 30, 1, 1, 1])
    decoded, settings = decode(encoded(image, kind))
    assert (decoded.mode, decoded.size) == ("RGB", SQUARE)
    assert np.abs(np.subtract(decoded.getpixel((3, 3)), shown)).max() <= (3 if kind == "JPEG" else 0)
    assert settings["rule"] == RULE
    translucent = mode in ("LA", "RGBA") and colour[-1] != 255
    assert ("alpha" in settings) is translucent
    assert ("colour" in settings) is (mode == "CMYK")


def test_a_palette_with_transparency_lies_on_black():
    image = Image.new("P", SQUARE, 0)
    image.putpalette([250, 250, 250, 9, 9, 9])
    image.putpixel((0, 0), 1)
    decoded, settings = decode(encoded(image, "PNG", transparency=0))
    assert (decoded.getpixel((5, 5)), decoded.getpixel((0, 0))) == ((0, 0, 0), (9, 9, 9))
    assert settings["alpha"] == "over black"


@pytest.mark.parametrize(("peak", "bits"), [(200, 8), (1000, 10), (4095, 12), (9000, 14), (40000, 16)])
@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
def test_sixteen_bits_are_scaled_by_the_depth_in_use(peak, bits, kind):
    values = np.linspace(0, peak, 120).reshape(10, 12).astype(np.uint16)
    data = grey(values, kind)
    assert decode(data)[1]["scale"] == f"{bits} bits to 8"
    assert np.array_equal(levels(data), np.rint(values * 255.0 / (2**bits - 1)).astype(np.uint8))


@pytest.mark.parametrize(
    ("low", "high", "dtype", "rule"),
    [
        (0, 1, np.float32, "0..1 to 8 bits"),
        (-1000, 3000, np.int32, "-1000..3000 to 8 bits"),
        (-5, 700.5, np.float32, "-5..700.5 to 8 bits"),
    ],
)
def test_floats_and_signed_integers(low, high, dtype, rule):
    values = np.linspace(low, high, 120).reshape(10, 12).astype(dtype)
    data = grey(values)
    assert decode(data)[1]["scale"] == rule
    shown = levels(data)
    assert (shown[0, 0], shown[-1, -1]) == (0, 255)
    assert (np.diff(shown.astype(int).ravel()) >= 0).all()


def test_a_dark_float_image_within_0_to_1_is_not_stretched():
    assert levels(grey(np.full((10, 12), 0.1, np.float32)))[0, 0] == 26


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(value):
    values = np.zeros((10, 12), np.float32)
    values[3, 3] = value
    with pytest.raises(Undecodable, match="not finite"):
        decode(grey(values))


def test_one_value_without_a_scale_is_refused_not_shown_blank():
    with pytest.raises(Undecodable, match="one value"):
        decode(grey(np.full((10, 12), 70.0, np.float32)))


def test_white_stored_as_zero_is_turned_round():
    values = np.linspace(0, 65535, 120).reshape(10, 12).astype(np.uint16)
    data = grey(values, tiffinfo={262: 0})
    if Image.open(io.BytesIO(data)).tag_v2[262] != 0:
        pytest.skip("this Pillow writes its own photometric interpretation")
    assert decode(data)[1]["inverted"] == "min-is-white"
    assert levels(data)[0, 0] == 255


def sixteen_bit_rgb() -> bytes:
    """A PNG of 16 bits per channel, which Pillow cannot write: every pixel (0x1234, 0xABCD, 0xFF00)."""
    lines = b"".join(b"\0" + struct.pack(">HHH", 0x1234, 0xABCD, 0xFF00) * 12 for _ in range(10))

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 12, 10, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def test_sixteen_bit_colour_says_what_was_done():
    decoded, settings = decode(sixteen_bit_rgb())
    assert decoded.getpixel((4, 4)) == (0x12, 0xAB, 0xFF)
    assert settings["scale"] == "16 bits to 8, high byte"


UPRIGHT = np.zeros((40, 60), np.uint8)
UPRIGHT[:20, :30] = 250  # the bright corner is top left
TURNED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: np.rot90(UPRIGHT),
    7: UPRIGHT[::-1, ::-1].T,
    8: np.rot90(UPRIGHT, -1),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_shown_upright(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(TURNED[orientation])), kind, exif=exif)
    decoded, settings = decode(data)
    assert decoded.size == (60, 40)
    shown = np.asarray(decoded.convert("L")).astype(int)
    assert np.abs(shown - UPRIGHT).mean() < 4
    assert settings.get("orientation", "1") == str(orientation)


def test_a_nonsense_orientation_changes_nothing():
    exif = Image.Exif()
    exif[0x0112] = 77
    assert decode(encoded(Image.fromarray(UPRIGHT), "JPEG", exif=exif))[0].size == (60, 40)


def test_the_decoded_image_carries_no_metadata():
    exif = Image.Exif()
    exif[0x010E] = "Jane Doe, 1970-01-01"
    image, _ = decode(encoded(Image.fromarray(UPRIGHT), "JPEG", exif=exif, comment=b"Jane Doe"))
    assert not dict(image.getexif())
    assert "Jane" not in repr(image.info)


def test_the_content_decides_the_format(tmp_path):
    path = tmp_path / "x.jpg"
    path.write_bytes(encoded(Image.new("RGBA", SQUARE, (1, 2, 3, 255))))
    assert check(path).ref.open().getpixel((0, 0)) == (1, 2, 3)


def photograph() -> Image.Image:
    steps = np.random.default_rng(0).normal(0, 9, (40, 60, 3)).cumsum(axis=1)
    return Image.fromarray(np.clip(steps + 128, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("BMP", {}),
        ("WEBP", {}),
    ],
)
def test_a_truncated_file_is_refused_or_shows_every_pixel(kind, options):
    data = encoded(photograph(), kind, **options)
    whole = decode(data)[0].tobytes()
    refused = 0
    for length in range(1, len(data), max(1, len(data) // 60)):
        try:
            assert decode(data[:length])[0].tobytes() == whole
        except Undecodable:
            refused += 1
    assert refused >= 50


def test_damaged_files_never_raise_anything_else():
    rng = np.random.default_rng(1)
    originals = [encoded(photograph(), kind) for kind in ("PNG", "JPEG", "TIFF", "BMP", "WEBP")]
    outcomes = {"shown": 0, "refused": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(300):
            damaged = np.frombuffer(originals[number % len(originals)], np.uint8).copy()
            at = rng.integers(0, min(len(damaged), 400 if number % 2 else len(damaged)), 8)
            damaged[at] = rng.integers(0, 256, 8)
            try:
                assert decode(damaged.tobytes())[0].mode == "RGB"
                outcomes["shown"] += 1
            except Undecodable:
                outcomes["refused"] += 1
    assert min(outcomes.values()) > 20


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"hello", "not a readable image"),
        (b"GIF89a" + bytes(100), "not a readable image"),
        (bytes(5000), "not a readable image"),
        (encoded(Image.new("L", (5, 900))), "only 5 × 900"),
        (encoded(Image.new("1", (9000, 9000))), "64 million"),
        (encoded(Image.new("1", (20000, 20000))), "64 million"),
    ],
)
def test_what_is_no_usable_image_has_a_reason(tmp_path: Path, data, says):
    path = tmp_path / "x.png"
    path.write_bytes(data)
    with pytest.raises(Undecodable, match=says):
        check(path)


def test_several_pages_are_refused():
    pages = [Image.new("L", SQUARE, n) for n in range(3)]
    with pytest.raises(Undecodable, match="3 pages"):
        decode(encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]))


def test_a_file_that_cannot_be_read_has_a_reason(tmp_path):
    with pytest.raises(Undecodable, match="No such file"):
        check(tmp_path / "gone.png")
    with pytest.raises(Undecodable, match="cannot be read"):
        check(tmp_path)


def test_a_huge_file_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "x.png"
    path.write_bytes(encoded(photograph()))
    monkeypatch.setattr(_images, "MAX_BYTES", 100)
    with pytest.raises(Undecodable, match="more than the 0 MB"):
        check(path)


def test_the_digest_is_blake2b_of_the_bytes(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(encoded(photograph()))
    digest = check(path).ref.digest
    assert len(digest) == 32
    path.write_bytes(encoded(photograph()) + b"\0")
    assert check(path).ref.digest != digest
