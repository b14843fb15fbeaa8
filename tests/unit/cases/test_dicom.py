"""DICOM: every transfer syntax and kind of pixels to the greys the standard says, and no identifier on the way."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels import apply_voi_lut
from pydicom.sequence import Sequence

from dicom_files import LOSSLESS, NAME, NATIVE, content, dataset, hospital, jpeg, ramp, write
from palpate.cases import _dicom
from palpate.cases._dicom import BURNED_IN, RULE, compressed_size, decode, windowed
from palpate.cases._images import Undecodable
from palpate.cases.dicom import DicomSource
from palpate.errors import SourceError, UnknownName
from palpate.parts import Labels, Sample

LABELS = Labels(("pneumonia",), ("normal",))


def load(root: Path, **options):
    return DicomSource().load({"path": str(root), **options}, LABELS, Sample())


def greys(ds, frame=0, window=None):
    image, settings = decode(content(ds), frame, window)
    pixels = np.asarray(image)
    assert (pixels[..., 0] == pixels[..., 1]).all()
    return pixels[..., 0], settings


# ---------------------------------------------------------------- transfer syntaxes


@pytest.mark.parametrize("syntax", [*NATIVE, *LOSSLESS], ids=lambda s: s.name)
@pytest.mark.parametrize(("dtype", "bits"), [(np.uint8, 8), (np.uint16, 12), (np.uint16, 16), (np.int16, 16)])
def test_every_lossless_syntax_gives_the_same_greys(syntax, dtype, bits):
    low, high = (-1000, 3000) if dtype is np.int16 else (0, 2**bits - 1)
    values = ramp(64, 80, low=low, high=high, dtype=dtype)
    shown, settings = greys(dataset(values, syntax=syntax, bits=bits, WindowCenter=(low + high) / 2, WindowWidth=high - low))
    expected = windowed(values.astype(float), (low + high) / 2, high - low, "LINEAR")
    assert np.array_equal(shown, expected)
    assert settings["rule"] == RULE
    assert ("decoder" in settings) is (syntax in LOSSLESS)


def test_jpeg_baseline_grey_and_colour():
    values = ramp(32, 40, high=255, dtype=np.uint8)
    shown, settings = greys(jpeg(values))
    assert np.abs(shown.astype(int) - values).max() <= 4
    assert settings["decoder"] == "pylibjpeg"
    colour = np.stack([values, values[::-1], np.full_like(values, 90)], axis=-1)
    image, settings = decode(content(jpeg(colour)))
    assert np.abs(np.asarray(image).astype(int) - colour).mean() < 6
    assert settings["colour"] == "YBR_FULL_422 to RGB"


def test_a_lossy_frame_is_unpacked_by_the_library_that_is_recorded(monkeypatch):
    data = content(jpeg(ramp(32, 40, high=255, dtype=np.uint8)))
    monkeypatch.setitem(_dicom.DECODERS, "1.2.840.10008.1.2.4.50", "pillow")
    assert decode(data)[1]["decoder"] == "pillow"


def test_a_compression_that_is_not_read_is_named():
    ds = jpeg(ramp(high=255, dtype=np.uint8))
    ds.file_meta.TransferSyntaxUID = uid.MPEG2MPML
    with pytest.raises(Undecodable, match="compressed as MPEG2"):
        decode(content(ds))


# ---------------------------------------------------------------- greys


def test_the_window_is_the_standards():
    values = ramp(low=-1024, high=3071, dtype=np.int16)
    ds = dataset(values, WindowCenter=40, WindowWidth=400)
    shown, settings = greys(ds)
    reference = apply_voi_lut(values, ds)  # pydicom's, to the 16 bits of the stored values
    low, high = reference.min(), reference.max()
    assert np.abs(shown - np.rint((reference - low) / (high - low) * 255)).max() <= 1
    assert settings["window"] == "file 40,400"


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_every_window_function(function):
    ds = dataset(ramp(low=0, high=1000), WindowCenter=500, WindowWidth=300, VOILUTFunction=function)
    shown, settings = greys(ds)
    reference = apply_voi_lut(ramp(low=0, high=1000), ds).astype(float)
    full = 2**16 - 1
    assert np.abs(shown - np.rint(reference / full * 255)).max() <= 1
    assert settings["window"].startswith("file 500,300")


def test_rescale_goes_before_the_window():
    stored = ramp(low=0, high=4095)
    ds = dataset(stored, bits=12, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=400)
    shown, settings = greys(ds)
    assert np.array_equal(shown, windowed(stored.astype(float) - 1024, 40, 400, "LINEAR"))
    assert settings["modality"] == "applied"


def test_the_tasks_window_goes_before_the_files():
    ds = dataset(ramp(), bits=12, WindowCenter=40, WindowWidth=400)
    shown, settings = greys(ds, window=(2000.0, 1000.0))
    assert np.array_equal(shown, windowed(ramp().astype(float), 2000, 1000, "LINEAR"))
    assert settings["window"] == "task 2000,1000"


def test_without_a_window_the_frames_range_is_shown_and_said():
    shown, settings = greys(dataset(ramp(low=100, high=900), bits=12))
    assert (shown.min(), shown.max()) == (0, 255)
    assert settings["window"] == "range 100,900"


def test_eight_bits_without_a_window_are_shown_as_they_are():
    values = ramp(low=10, high=90, dtype=np.uint8)
    shown, settings = greys(dataset(values))
    assert np.array_equal(shown, values)
    assert settings == {"rule": RULE}


def test_one_value_without_a_window_is_refused_not_shown_blank():
    with pytest.raises(Undecodable, match="one value"):
        decode(content(dataset(np.full((16, 16), 70, np.uint16))))


def test_monochrome1_is_inverted():
    values = ramp(high=255, dtype=np.uint8)
    shown, settings = greys(dataset(values, PhotometricInterpretation="MONOCHROME1"))
    assert np.array_equal(shown, 255 - values)
    assert settings["inverted"] == "MONOCHROME1"
    assert greys(dataset(values, PresentationLUTShape="INVERSE"))[1]["inverted"] == "INVERSE"


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_voi_lut(bits):
    values = ramp(low=0, high=255)
    item = Dataset()
    table = np.linspace(2**bits - 1, 0, 256).astype(np.uint16)
    item.LUTDescriptor, item.LUTData = [256, 0, bits], table.tolist()
    ds = dataset(values, bits=12)
    ds.VOILUTSequence = Sequence([item])
    ds["VOILUTSequence"].value[0]["LUTDescriptor"].VR = "US"
    ds["VOILUTSequence"].value[0]["LUTData"].VR = "US"
    shown, settings = greys(ds)
    assert np.array_equal(shown, np.rint(table[values] * (255.0 / (2**bits - 1))))
    assert settings["window"] == "file LUT"


def test_overlays_in_the_high_bits_are_no_pixels():
    values = ramp(high=4095)
    ds = dataset((values | 0xF000).astype(np.uint16), bits=12, WindowCenter=2048, WindowWidth=4096)
    assert np.array_equal(greys(ds)[0], windowed(values.astype(float), 2048, 4096, "LINEAR"))
    signed = ramp(low=-1000, high=1000, dtype=np.int16)
    twelve = (signed.astype(np.uint16) & 0x0FFF).astype(np.int16)
    shown, _ = greys(dataset(twelve, bits=12, WindowCenter=0, WindowWidth=2000))
    assert np.array_equal(shown, windowed(signed.astype(float), 0, 2000, "LINEAR"))


# ---------------------------------------------------------------- colour


@pytest.mark.parametrize("planar", [0, 1])
def test_rgb(planar):
    pixels = np.random.default_rng(0).integers(0, 255, (16, 20, 3), dtype=np.uint8)
    stored = pixels if planar == 0 else np.moveaxis(pixels, -1, 0).copy()
    ds = dataset(pixels, colour=True)
    ds.PlanarConfiguration, ds.PixelData = planar, stored.tobytes()
    image, settings = decode(content(ds))
    assert np.array_equal(np.asarray(image), pixels)
    assert settings == {"rule": RULE}


def test_ybr_becomes_rgb():
    pixels = np.random.default_rng(0).integers(0, 255, (16, 20, 3), dtype=np.uint8)
    ybr = pydicom.pixels.convert_color_space(pixels, "RGB", "YBR_FULL")
    image, settings = decode(content(dataset(ybr, colour=True, PhotometricInterpretation="YBR_FULL")))
    assert np.abs(np.asarray(image).astype(int) - pixels).max() <= 3
    assert settings["colour"] == "YBR_FULL to RGB"


def test_palette_colour():
    ds = dataset(np.arange(320, dtype=np.uint16).reshape(16, 20).astype(np.uint8) % 4, PhotometricInterpretation="PALETTE COLOR")
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [9, 99, 199]], np.uint16)
    for i, name in enumerate(("Red", "Green", "Blue")):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [4, 0, 16])
        setattr(ds, f"{name}PaletteColorLookupTableData", (colours[:, i] * 257).astype("<u2").tobytes())
    image, settings = decode(content(ds))
    assert np.array_equal(np.asarray(image), colours[np.arange(320).reshape(16, 20) % 4])
    assert settings["colour"] == "PALETTE COLOR to RGB"


# ---------------------------------------------------------------- frames and series


def frames() -> np.ndarray:
    volume = np.zeros((7, 16, 20), np.uint16)
    for i in range(7):
        volume[i, : 4 + 2 * min(i, 8 - i), :] = 1000 + i
    return volume


def test_many_frames_need_a_slice_rule(tmp_path):
    write(tmp_path / "normal" / "a.dcm", dataset(frames(), bits=12))
    write(tmp_path / "pneumonia" / "b.dcm", dataset(ramp(), bits=12))
    found = load(tmp_path)
    assert [out.reason for out in found.left_out] == ['holds 7 frames: slice = "middle" takes one of each file or series']


@pytest.mark.parametrize(
    ("rule", "frame", "told"), [("middle", 3, "middle, 4 of 7"), (2, 1, "2 of 7"), ("largest", 4, "largest, 5 of 7")]
)
def test_the_slice_of_a_multi_frame_file(tmp_path, rule, frame, told):
    write(tmp_path / "normal" / "a.dcm", dataset(frames(), bits=12, WindowCenter=500, WindowWidth=2000))
    case = load(tmp_path, slice=rule).cases[0]
    assert (case.decode["slice"], case.decode["frame"]) == (told, f"{frame + 1} of 7")
    expected = windowed(frames()[frame].astype(float), 500, 2000, "LINEAR")
    assert np.array_equal(np.asarray(case.image.open())[..., 0], expected)


def series(root: Path, label: str, patient: str, n: int = 5, *, by_position: bool = True) -> None:
    one, study = uid.generate_uid(), uid.generate_uid()
    for i in range(n):
        facts = (
            {"ImagePositionPatient": [0, 0, 10.0 * (n - i)], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]} if by_position else {}
        )
        ds = dataset(
            ramp(high=1000 + i),
            bits=12,
            PatientID=patient,
            SeriesInstanceUID=one,
            StudyInstanceUID=study,
            InstanceNumber=i,
            **facts,
        )
        write(root / label / patient / f"{i}.dcm", ds)


def test_a_series_is_one_case_in_the_order_it_lies(tmp_path):
    series(tmp_path, "normal", "p1")
    series(tmp_path, "pneumonia", "p2", by_position=False)
    found = load(tmp_path, slice=1)
    assert len(found.cases) == 2
    assert {c.label: c.decode["window"] for c in found.cases} == {0: "range 0,1004", 1: "range 0,1000"}
    assert len(load(tmp_path).cases) == 10
    assert len({c.group for c in load(tmp_path).cases}) == 2
    with pytest.raises(SourceError, match="no slice 9"):
        load(tmp_path, slice=9)


def test_a_series_with_both_labels_is_an_error(tmp_path):
    series(tmp_path, "normal", "p1")
    (tmp_path / "pneumonia").mkdir()
    (tmp_path / "normal" / "p1" / "0.dcm").rename(tmp_path / "pneumonia" / "0.dcm")
    with pytest.raises(SourceError, match="has both labels"):
        load(tmp_path, slice="middle")


def test_an_enhanced_object_says_its_window_per_frame():
    ds = dataset(frames(), bits=12)
    group, shared = Dataset(), Dataset()
    item, transform = Dataset(), Dataset()
    item.WindowCenter, item.WindowWidth = 700, 900
    transform.RescaleSlope, transform.RescaleIntercept, transform.RescaleType = 2, -100, "US"
    group.FrameVOILUTSequence, shared.PixelValueTransformationSequence = Sequence([item]), Sequence([transform])
    ds.PerFrameFunctionalGroupsSequence = Sequence([Dataset()] * 3 + [group])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    shown, settings = greys(ds, frame=3)
    assert np.array_equal(shown, windowed(frames()[3] * 2.0 - 100, 700, 900, "LINEAR"))
    assert settings["window"] == "file 700,900"


# ---------------------------------------------------------------- labels, patients, privacy


@pytest.mark.parametrize("by", ["file", "SOPInstanceUID", "SeriesInstanceUID", "PatientID", "AccessionNumber"])
def test_labels_from_a_table(tmp_path, by):
    rows = []
    for i in range(6):
        ds = dataset(ramp(high=2000 + i), bits=12, PatientID=f"p{i}", AccessionNumber=f"A{i}")
        write(tmp_path / "all" / f"{i}.dcm", ds)
        rows.append((f"{i}.dcm" if by == "file" else str(ds.get(by)), "pneumonia" if i % 2 else "normal"))
    (tmp_path / "labels.csv").write_text(f"{by},label\n" + "".join(f"{key},{label}\n" for key, label in rows[:5]))
    found = load(tmp_path / "all", table=str(tmp_path / "labels.csv"))
    assert {found.names[c.id]: c.label for c in found.cases} == {f"{i}.dcm": i % 2 for i in range(5)}
    assert found.notes == ("1 files are not in the table of labels, and no cases",)


def test_a_table_that_cannot_be_used(tmp_path):
    hospital(tmp_path / "all")
    (tmp_path / "labels.csv").write_text("name,label\nx,normal\n")
    with pytest.raises(SourceError, match="cannot tell which file"):
        load(tmp_path / "all", table=str(tmp_path / "labels.csv"))
    (tmp_path / "labels.csv").write_text("PatientID,label\nx,normal\nx,pneumonia\n")
    with pytest.raises(SourceError, match="one PatientID has two labels"):
        load(tmp_path / "all", table=str(tmp_path / "labels.csv"))
    (tmp_path / "labels.csv").write_text("PatientID,label\nx,healthy\n")
    with pytest.raises(SourceError, match=r"'healthy' \(1\)"):
        load(tmp_path / "all", table=str(tmp_path / "labels.csv"))


def test_patients_are_groups_and_no_identifier_is_in_a_case(tmp_path):
    hospital(tmp_path)
    found = load(tmp_path, salt="secret", metadata=["Modality", "PatientAge"])
    assert len({c.group for c in found.cases}) == 6
    for case in found.cases:
        shown = json.dumps([case.id, case.group, case.digest, dict(case.decode), dict(case.metadata)])
        for secret in (NAME, "Doe", "person", "20240229", "19700101", "MRN", "1.2.826"):
            assert secret not in shown
    assert {c.group for c in load(tmp_path, salt="other").cases}.isdisjoint({c.group for c in found.cases})


def test_without_a_salt_the_groups_are_guessable_and_say_so(tmp_path):
    hospital(tmp_path)
    assert load(tmp_path).guessable
    assert not load(tmp_path, salt="secret").guessable


def test_two_hospitals_may_have_the_same_number(tmp_path):
    for i in range(2):
        write(tmp_path / "normal" / f"{i}.dcm", dataset(ramp(high=900 + i), PatientID="17", IssuerOfPatientID=f"hospital {i}"))
    assert len({c.group for c in load(tmp_path).cases}) == 2


def test_a_file_without_a_patient_stands_alone(tmp_path):
    for i in range(2):
        write(tmp_path / "normal" / f"{i}.dcm", dataset(ramp(high=900 + i), PatientID=""))
    found = load(tmp_path)
    assert len({c.group for c in found.cases}) == 2
    assert all(c.metadata == {"grouped": False} for c in found.cases)


@pytest.mark.parametrize(("age", "years"), [("093Y", 90), ("045Y", 45), ("018M", 1), ("400D", 1), ("old", None), ("", None)])
def test_ages_in_years_and_the_oldest_as_one(tmp_path, age, years):
    write(tmp_path / "normal" / "a.dcm", dataset(ramp(), bits=12, PatientAge=age) if age != "old" else dataset(ramp(), bits=12))
    case = load(tmp_path, metadata=["PatientAge"]).cases[0]
    assert case.metadata.get("PatientAge") == (years if age != "old" else None)


@pytest.mark.parametrize(
    "name", ["PatientName", "StudyDate", "PatientBirthDate", "SeriesDescription", "InstitutionName", "Modalit"]
)
def test_only_attributes_that_name_nobody_may_be_sliced_by(tmp_path, name):
    with pytest.raises(UnknownName, match=name):
        load(tmp_path, metadata=[name])


def test_text_burnt_into_pixels_is_told(tmp_path):
    write(tmp_path / "normal" / "a.dcm", dataset(ramp(), bits=12, BurnedInAnnotation="YES"))
    write(tmp_path / "normal" / "b.dcm", dataset(ramp(high=99), bits=12, BurnedInAnnotation="NO"))
    assert load(tmp_path).notes == (BURNED_IN,)


# ---------------------------------------------------------------- what is left out


def test_files_without_an_image_are_left_out_by_name(tmp_path):
    hospital(tmp_path)
    report = dataset(ramp())
    del report.PixelData
    write(tmp_path / "normal" / "report.dcm", report)
    (tmp_path / "normal" / "fake.dcm").write_text("not DICOM at all")
    (tmp_path / "normal" / "notes.txt").write_text("ignored")
    (tmp_path / "normal" / "nosuffix").write_bytes(content(dataset(ramp(high=77))))
    found = load(tmp_path)
    assert {out.name: out.reason for out in found.left_out} == {
        "normal/report.dcm": "holds no image",
        "normal/fake.dcm": "is no DICOM file: the mark DICM is not there",
    }
    assert "normal/nosuffix" in found.names.values()


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"Rows": 60000, "Columns": 60000}, "million"),
        ({"NumberOfFrames": 10**9}, "1,000,000,000 frames"),
        ({"Rows": 4}, "only"),
        ({"BitsAllocated": 32}, "32 bits"),
        ({"SamplesPerPixel": 4}, "4 samples"),
        ({"PhotometricInterpretation": "HSV"}, "HSV"),
        ({"Rows": 500}, "damaged"),
    ],
)
def test_absurd_claims(facts, said):
    ds = dataset(ramp(), bits=12)
    for name, value in facts.items():
        setattr(ds, name, value)
    with pytest.raises(Undecodable, match=said):
        decode(content(ds))


@pytest.mark.parametrize(
    "make", [lambda v: jpeg(v), lambda v: dataset(v, syntax=uid.JPEG2000Lossless), lambda v: dataset(v, syntax=uid.JPEGLSLossless)]
)
def test_a_frame_of_another_size_than_its_header_is_refused_before_it_is_unpacked(make):
    ds = make(ramp(64, 80, high=255, dtype=np.uint8))
    ds.Rows = 96
    with pytest.raises(Undecodable, match="80 × 96 pixels in its header and 80 × 64 in its image"):
        decode(content(ds))


def test_a_deflated_bomb_is_refused(monkeypatch):
    data = content(dataset(np.zeros((600, 600), np.uint16), syntax=uid.DeflatedExplicitVRLittleEndian))
    assert len(data) < 20_000
    monkeypatch.setattr(_dicom, "MAX_BYTES", 100_000)
    with pytest.raises(Undecodable, match="unpacks to more"):
        decode(data)


def test_sizes_of_streams_that_say_none():
    assert compressed_size(b"") is None
    assert compressed_size(b"\xff\xd8\xff\xe0\x00\x04ab") is None
    assert compressed_size(b"\x01\0\0\0") is None


def test_a_file_changed_since_planning_is_not_shown(tmp_path):
    path = write(tmp_path / "normal" / "a.dcm", dataset(ramp(), bits=12))
    case = load(tmp_path).cases[0]
    assert pickle.loads(pickle.dumps(case.image)).open().tobytes() == case.image.open().tobytes()
    write(path, dataset(ramp(high=7), bits=12))
    with pytest.raises(Undecodable, match="has changed"):
        case.image.open()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"slice": "first"}, "no rule"),
        ({"slice": 0}, "no rule"),
        ({"window": [40]}, "no window"),
        ({"window": [40, 0]}, "no window"),
        ({"window": "lung"}, "no window"),
        ({"group": "PatientName"}, "PatientName"),
        ({"metadata": "Modality"}, "no list"),
    ],
)
def test_faulty_options(tmp_path, options, said):
    hospital(tmp_path)
    with pytest.raises((SourceError, UnknownName), match=said):
        load(tmp_path, **options)


def test_without_the_package_the_error_names_the_extra(tmp_path, monkeypatch):
    hospital(tmp_path)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(SourceError, match="need the package pydicom") as fault:
        load(tmp_path)
    assert "palpate[dicom]" in fault.value.hint


def test_a_broken_file_logs_nothing(tmp_path, caplog):
    ds = dataset(ramp(64, 80), syntax=uid.JPEG2000Lossless, bits=12)
    data = bytearray(content(ds))
    data[-200:-100] = bytes(100)
    data[data.index(b"\xff\x4f\xff\x51") + 1] = 0
    with pytest.raises(Undecodable):
        decode(bytes(data))
    assert caplog.records == []


def test_a_row_without_a_number_labels_no_file_without_one(tmp_path):
    for i, patient in enumerate(("17", "18", "")):
        write(tmp_path / "all" / f"{i}.dcm", dataset(ramp(high=900 + i), PatientID=patient))
    (tmp_path / "labels.csv").write_text("PatientID,label\n17,normal\n18,pneumonia\n,pneumonia\n")
    found = load(tmp_path / "all", table=str(tmp_path / "labels.csv"))
    assert sorted(found.names.values()) == ["0.dcm", "1.dcm"]
    assert found.notes == ("1 files are not in the table of labels, and no cases",)


def test_a_patient_number_may_hold_an_at_sign_and_an_issuer(tmp_path):
    for i, patient in enumerate(("a@b", "a@c")):
        write(tmp_path / "all" / f"{i}.dcm", dataset(ramp(high=900 + i), PatientID=patient, IssuerOfPatientID="x"))
    (tmp_path / "labels.csv").write_text("PatientID,label\na@b,normal\na@c,pneumonia\n")
    found = load(tmp_path / "all", table=str(tmp_path / "labels.csv"))
    assert [case.label for case in found.cases] == [0, 1]
    assert len({case.group for case in found.cases}) == 2
