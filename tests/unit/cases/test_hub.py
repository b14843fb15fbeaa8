"""Data sets as the hub keeps them: read from local copies of every kind; the hub itself only where a study names it."""

from __future__ import annotations

import io
import json
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from palpate.cases import hub
from palpate.cases.hub import PRESETS, HubSource
from palpate.errors import SourceError, UnknownName
from palpate.parts import Labels, Sample

LABELS = Labels(("pneumonia", "present", "1"), ("normal", "0"))
FEATURES = {"info": {"features": {"label": {"names": ["normal", "pneumonia"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}}}


def png(seed: int, size: int = 12) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()


def table(n: int = 12, *, named: bool = True, **columns) -> pa.Table:
    images = [{"bytes": png(i), "path": f"patient{i // 2:03d}_{i}.png"} for i in range(n)]
    found = pa.table({"image": images, "label": [i % 2 for i in range(n)], **columns})
    return found.replace_schema_metadata({"huggingface": json.dumps(FEATURES)}) if named else found


def load(options, sample=None, labels=LABELS):
    return HubSource().load(options, labels, sample or Sample())


def parquet(path: Path, found: pa.Table, rows: int = 5) -> Path:
    pq.write_table(found, path, row_group_size=rows)
    return path


# ---------------------------------------------------------------- every kind of local copy


def test_every_kind_of_copy_gives_the_same_cases(tmp_path):
    datasets = pytest.importorskip("datasets")
    found = table()
    one = load({"path": str(parquet(tmp_path / "x.parquet", found))}, Sample(3, 1))
    folder = tmp_path / "files"
    folder.mkdir()
    parquet(folder / "train-00000-of-00002.parquet", found.slice(0, 7))
    parquet(folder / "train-00001-of-00002.parquet", found.slice(7))
    parquet(folder / "test-00000-of-00001.parquet", found.slice(0, 2))
    datasets.disable_progress_bars()
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["normal", "pneumonia"])})
    saved = datasets.Dataset.from_dict(found.to_pydict(), features=features)
    saved.save_to_disk(tmp_path / "saved")
    datasets.DatasetDict({"train": saved, "test": saved.select([0, 1])}).save_to_disk(tmp_path / "splits")
    for path in ("files", "saved", "splits"):
        other = load({"path": str(tmp_path / path)}, Sample(3, 1))
        assert other.cases == one.cases
        assert [c.image.open().tobytes() for c in other.cases] == [c.image.open().tobytes() for c in one.cases]
    assert len(load({"path": str(tmp_path / "splits"), "split": "test"}).cases) == 2
    with pytest.raises(UnknownName, match="val"):
        load({"path": str(tmp_path / "splits"), "split": "val"})
    with pytest.raises(SourceError, match="'validation'"):
        load({"path": str(tmp_path / "files"), "split": "validation"})


def test_the_pixels_and_the_label_are_the_rows(tmp_path):
    found = load({"path": str(parquet(tmp_path / "x.parquet", table()))})
    by_name = {found.names[c.id]: c for c in found.cases}
    for i in range(12):
        case = by_name[f"row-{i:07d}"]
        assert case.label == i % 2
        assert case.image.open().tobytes() == Image.open(io.BytesIO(png(i))).tobytes()


@pytest.mark.parametrize("kind", ["stream", "file"])
def test_arrow_files_of_both_kinds(tmp_path, kind):
    path = tmp_path / "x.arrow"
    found = table()
    writer = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
    with pa.OSFile(str(path), "wb") as file, writer(file, found.schema) as out:
        out.write_table(found)
    assert len(load({"path": str(path)}).cases) == 12


def test_labels_by_number_where_the_file_names_no_classes(tmp_path):
    assert len(load({"path": str(parquet(tmp_path / "x.parquet", table(named=False)))}).cases) == 12


def test_an_unknown_class_stops_and_is_counted(tmp_path):
    path = parquet(tmp_path / "x.parquet", table(named=False))
    with pytest.raises(SourceError, match=r"'1' \(6\)"):
        load({"path": str(path)}, labels=Labels(("yes",), ("0",)))


def test_patients_by_the_images_own_name_by_column_and_by_pattern_on_it(tmp_path):
    where = [f"set/patient{i // 4:02d}/view.png" for i in range(12)]
    path = str(parquet(tmp_path / "x.parquet", table(Path=where)))
    assert len({c.group for c in load({"path": path, "group_regex": r"(patient\d+)"}).cases}) == 6
    assert len({c.group for c in load({"path": path, "group": "Path"}).cases}) == 3
    assert len({c.group for c in load({"path": path, "group": "Path", "group_regex": r"set/(p)"}).cases}) == 1
    with pytest.raises(SourceError, match="fits none of 12"):
        load({"path": path, "group_regex": r"slide(\d+)"})


def test_metadata_by_name_and_never_the_group(tmp_path):
    path = str(parquet(tmp_path / "x.parquet", table(Age=[float(40 + i) for i in range(12)], Path=["p"] * 12)))
    ages = sorted(c.metadata["Age"] for c in load({"path": path, "metadata": ["Age"]}).cases)
    assert ages == [40.0 + i for i in range(12)]
    with pytest.raises(SourceError, match="images or patients"):
        load({"path": path, "metadata": ["Path"], "group": "Path"})


# ---------------------------------------------------------------- CheXpert's rule


def chexpert(tmp_path: Path) -> str:
    findings = {"Pneumonia": [3, 3, 0, 0, 1, 2, 3], "No Finding": [0, 0, 3, 3, 0, 0, 3]}
    names = ["unlabeled", "uncertain", "absent", "present"]
    features = {c: {"names": names, "_type": "ClassLabel"} for c in findings}
    images = [{"bytes": png(i), "path": None} for i in range(7)]
    paths = [f"CheXpert-v1.0-small/train/patient{i // 2:05d}/study1/view1_frontal.jpg" for i in range(7)]
    found = pa.table({"image": images, **findings, "Path": paths})
    found = found.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    return str(parquet(tmp_path / "x.parquet", found))


def test_chexpert_is_pneumonia_present_against_no_finding_present(tmp_path):
    found = load({"id": "danjacobellis/chexpert", "path": chexpert(tmp_path)})
    labels = {found.names[c.id]: c.label for c in found.cases}
    # Uncertain and absent pneumonia is neither; a row that is both is neither.
    assert labels == {"row-0000000": 1, "row-0000001": 1, "row-0000002": 0, "row-0000003": 0}
    assert found.notes == ("3 rows are of neither class, and no cases",)
    assert len({c.group for c in found.cases}) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"positive": "Pneumonia=present"}, "missing"),
        ({"positive": "Pneumonia", "negative": "No Finding=present"}, "no rule"),
        ({"positive": "Lung=present", "negative": "No Finding=present"}, "Lung"),
        ({"manifest": "fragility-2025"}, "fragility-2025"),
        ({"manifest": "fragility-2026", "split": "test"}, "split"),
        ({"metadata": "Age"}, "no list"),
        ({"label": "target"}, "target"),
        ({"image": "picture"}, "picture"),
        ({"group": "patient"}, "patient"),
    ],
)
def test_faulty_options_say_what_is_wrong(tmp_path, options, said):
    with pytest.raises((SourceError, UnknownName), match=said):
        load({"path": chexpert(tmp_path), "label": "Pneumonia", **options}, labels=Labels(("3",), ("0", "1", "2")))


# ---------------------------------------------------------------- the reference study's manifest


def test_the_manifest_is_what_pandas_draws(tmp_path):
    n = 400
    labels = np.random.default_rng(5).integers(0, 2, n)
    tiny = [{"bytes": png(i, 8), "path": None} for i in range(n)]
    path = parquet(tmp_path / "x.parquet", pa.table({"image": tiny, "label": labels}), rows=100)
    found = load({"path": str(path), "manifest": "fragility-2026"}, Sample(3, 9))  # in place of the study's sample
    frame = pd.DataFrame({"label": labels})
    expected = [i for label in (0, 1) for i in frame[frame["label"] == label].sample(50, random_state=42).index]
    assert [found.names[c.id] for c in found.cases] == [f"row-{i:07d}" for i in expected]
    assert [c.label for c in found.cases] == [0] * 50 + [1] * 50


def test_the_manifest_of_too_few_images_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="takes 50 of each class, and there are 6"):
        load({"path": str(parquet(tmp_path / "x.parquet", table())), "manifest": "fragility-2026"})


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize(
    "value", [{"bytes": b"no image", "path": "x"}, {"bytes": None, "path": "x.png"}, {"bytes": b"", "path": ""}, None]
)
def test_a_row_without_an_image_is_left_out(tmp_path, value):
    found = table(4)
    images = [*found["image"].to_pylist()[:3], value]
    path = parquet(tmp_path / "x.parquet", pa.table({"image": images, "label": [0, 1, 0, 1]}))
    got = load({"path": str(path)})
    assert [out.name for out in got.left_out] == ["row-0000003"]
    assert len(got.cases) == 3


def test_a_damaged_file_is_an_error_that_names_it(tmp_path):
    path = parquet(tmp_path / "x.parquet", table())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SourceError, match=r"x\.parquet"):
        load({"path": str(path)})


def test_state_json_names_no_file_outside(tmp_path):
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../secret.arrow"}]}))
    with pytest.raises(SourceError, match="outside the folder"):
        load({"path": str(tmp_path)})


def test_a_file_changed_since_planning_is_not_shown(tmp_path):
    path = parquet(tmp_path / "x.parquet", table())
    case = load({"path": str(path)}).cases[0]
    parquet(path, pa.table({"image": [{"bytes": png(99 + i), "path": ""} for i in range(12)], "label": [0] * 12}))
    with pytest.raises(ValueError, match="has changed"):
        case.image.open()


# ---------------------------------------------------------------- the hub


class _Hub:
    """Stands in for the packages that reach the hub."""

    def __init__(self, monkeypatch, file: Path, fault: Exception | None = None) -> None:
        self.asked: list[tuple] = []
        info = lambda _, identity, revision: self._say(fault, ("info", identity, revision), types.SimpleNamespace(sha="c" * 40))  # noqa: E731
        api = type("HfApi", (), {"dataset_info": info})
        monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(HfApi=api))
        found = types.SimpleNamespace(cache_files=[{"filename": str(file)}])
        loader = lambda identity, config, *, split, revision: self._say(fault, ("load", identity, split, revision), found)  # noqa: E731
        monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=loader))

    def _say(self, fault, asked, answer):
        self.asked.append(asked)
        if fault is not None:
            raise fault
        return answer


def test_a_pinned_revision_is_loaded_and_told(tmp_path, monkeypatch):
    fake = _Hub(monkeypatch, parquet(tmp_path / "x.parquet", table()))
    found = load({"id": "org/x", "revision": "a" * 40})
    assert fake.asked == [("load", "org/x", "train", "a" * 40)]
    assert found.notes == (f"org/x at revision {'a' * 40}",)


def test_an_unpinned_revision_is_resolved_and_the_study_is_told_to_pin_it(tmp_path, monkeypatch):
    fake = _Hub(monkeypatch, parquet(tmp_path / "x.parquet", table()))
    found = load({"id": "Falah/skin-cancer"})
    assert fake.asked == [("info", "Falah/skin-cancer", "refs/convert/parquet"), ("load", "Falah/skin-cancer", "train", "c" * 40)]
    assert f'revision = "{"c" * 40}" pins it' in found.notes[1]


def test_without_a_network_the_error_says_what_to_do(tmp_path, monkeypatch):
    _Hub(monkeypatch, tmp_path, OSError("Name or service not known"))
    with pytest.raises(SourceError, match="cannot be had: OSError: Name or service") as fault:
        load({"id": "Falah/skin-cancer"})
    assert "a local copy" in fault.value.hint


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(SourceError, match="need the package datasets") as fault:
        load({"id": "Falah/skin-cancer"})
    assert "palpate[hub]" in fault.value.hint


def test_neither_id_nor_path():
    with pytest.raises(SourceError, match="neither id nor path"):
        load({})


def test_the_hub_is_reached_from_one_place_only():
    text = Path(hub.__file__).read_text(encoding="utf-8")
    assert text.count("load_dataset(") == 1
    assert set(PRESETS) == {
        "tanzuhuggingface/brainmri",
        "danjacobellis/chexpert",
        "Falah/skin-cancer",
        "dbzadnen/breast-histopathology-images",
    }
