"""Regions of whole slides, cut from pyramidal TIFF files made here."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from palpate.cases.table import TableSource
from palpate.errors import SourceError
from palpate.parts import Labels, Sample

tifffile = pytest.importorskip("tifffile")
pytest.importorskip("tiffslide")
LABELS = Labels(("tumour",), ("normal",))


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (16, 24, 3), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(32, axis=0).repeat(32, axis=1))  # 512 × 768


@pytest.fixture
def slide(tmp_path: Path, pixels: np.ndarray) -> Path:
    path = tmp_path / "slide.tif"
    with tifffile.TiffWriter(path) as out:
        out.write(pixels, subifds=0, tile=(256, 256), photometric="rgb")
        out.write(pixels[::2, ::2], tile=(256, 256), photometric="rgb", subfiletype=1)
        out.write(pixels[::4, ::4], tile=(256, 256), photometric="rgb", subfiletype=1)
    return path


def write(folder: Path, *rows: str, header: str = "file,label,x,y,w,h,level") -> str:
    (folder / "regions.csv").write_text("\n".join([header, *rows]) + "\n")
    return str(folder / "regions.csv")


def load(path: str, **options):
    return TableSource().load({"path": path, "region": True, **options}, LABELS, Sample())


def test_a_region_is_the_slides_pixels(slide, pixels, tmp_path):
    found = load(write(tmp_path, "slide.tif,tumour,64,32,100,50,0", "slide.tif,normal,300,100,64,64,0"))
    tumour = next(c for c in found.cases if c.label)
    assert np.array_equal(np.asarray(tumour.image.open()), pixels[32:82, 64:164])
    assert tumour.decode == {"rule": "rgb8@1", "region": "64,32,100,50@0"}
    assert pickle.loads(pickle.dumps(tumour.image)).open().tobytes() == tumour.image.open().tobytes()
    assert len({c.digest for c in found.cases}) == 2


def test_regions_of_one_slide_are_one_group_where_the_group_says_so(slide, tmp_path):
    rows = [f"slide.tif,{'tumour' if i % 2 else 'normal'},{64 * i},0,64,64,0,s1" for i in range(4)]
    path = write(tmp_path, *rows, header="file,label,x,y,w,h,level,slide")
    assert len({c.group for c in load(path, group="slide").cases}) == 1
    assert len({c.group for c in load(path, group_regex=r"(slide)").cases}) == 1


def test_another_level(slide, pixels, tmp_path):
    case = load(write(tmp_path, "slide.tif,tumour,0,0,64,64,1")).cases[0]
    assert case.decode["region"] == "0,0,64,64@1"
    assert np.array_equal(np.asarray(case.image.open()), pixels[::2, ::2][:64, :64])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("700,0,100,100,0", "leaves the slide"),
        ("0,0,64,64,9", "no level 9"),
        ("0,0,4,64,0", "at least 8"),
        ("0,0,99999,99999,0", "million"),
        ("-5,0,64,64,0", "'-5' for x"),
        ("a,0,64,64,0", "'a' for x"),
        ("0,0,64,64,", "'' for level"),
    ],
)
def test_a_region_that_is_none_is_left_out(slide, tmp_path, row, said):
    found = load(write(tmp_path, f"slide.tif,tumour,{row}", "slide.tif,normal,0,0,64,64,0"))
    assert len(found.cases) == 1
    assert said in found.left_out[0].reason


def test_what_is_no_slide(tmp_path, slide):
    (tmp_path / "bad.tif").write_bytes(slide.read_bytes()[:300])
    (tmp_path / "text.tif").write_text("no slide at all")
    found = load(write(tmp_path, *(f"{n}.tif,tumour,0,0,64,64,0" for n in ("bad", "text")), "slide.tif,normal,0,0,64,64,0"))
    assert {out.name.split("#")[0] for out in found.left_out} == {"bad.tif", "text.tif"}


def test_a_slide_changed_since_planning_is_not_shown(slide, tmp_path, pixels):
    case = load(write(tmp_path, "slide.tif,tumour,0,0,64,64,0")).cases[0]
    tifffile.imwrite(slide, 255 - pixels, tile=(256, 256), photometric="rgb")
    with pytest.raises(ValueError, match="has changed"):
        case.image.open()


def test_a_table_without_the_columns(slide, tmp_path):
    with pytest.raises(SourceError, match="no column 'level', named by region"):
        load(write(tmp_path, "slide.tif,tumour,0,0,64,64", header="file,label,x,y,w,h"))


def test_without_the_package_the_error_names_the_extra(slide, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tiffslide", None)
    with pytest.raises(SourceError, match="need the package tiffslide") as fault:
        load(write(tmp_path, "slide.tif,tumour,0,0,64,64,0"))
    assert "palpate[slides]" in fault.value.hint
