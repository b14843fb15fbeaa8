"""Options with which the contract tests try each source and each kind of model.

A part that works without options needs no entry here. One that does not adds one line: its name, and a function that takes an
empty folder and gives the options.
"""

from __future__ import annotations

import atexit
import csv
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from chat_server import ChatServer
from palpate.registry import part
from small import make_images

Example = Callable[[Path], Mapping[str, Any]]


def _table(folder: Path) -> Mapping[str, Any]:
    images = sorted(make_images(folder / "images").rglob("*.png"))
    with (folder / "cases.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "label", "patient"])
        rows.writerows([i.relative_to(folder).as_posix(), i.parent.name, i.stem.split("_")[0]] for i in images)
    return {"path": str(folder / "cases.csv"), "group": "patient"}


def _hub(folder: Path) -> Mapping[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    images = sorted(make_images(folder / "images").rglob("*.png"))
    cells = [{"bytes": i.read_bytes(), "path": i.name} for i in images]
    pq.write_table(pa.table({"image": cells, "label": [i.parent.name for i in images]}), folder / "x.parquet")
    return {"path": str(folder / "x.parquet"), "group_regex": r"(person\d+)"}


def _medmnist(folder: Path) -> Mapping[str, Any]:
    import numpy as np

    images = np.random.default_rng(0).integers(0, 255, (12, 28, 28), dtype=np.uint8)
    np.savez(folder / "x.npz", test_images=images, test_labels=np.arange(12, dtype=np.uint8)[:, None] % 2)
    return {"path": str(folder / "x.npz")}


def _dicom(folder: Path) -> Mapping[str, Any]:
    pytest.importorskip("pydicom")
    from dicom_files import hospital

    return {**hospital(folder / "files"), "salt": "secret"}


def _nifti(folder: Path) -> Mapping[str, Any]:
    nibabel = pytest.importorskip("nibabel")
    import numpy as np

    for k, label in enumerate(("pneumonia", "normal")):
        (folder / label).mkdir()
        for i in range(6):
            values = np.random.default_rng([k, i]).integers(0, 1000, (12, 12, 5)).astype(np.int16)
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / label / f"person{k}{i // 2:03d}_{i}.nii.gz")
    return {"path": str(folder), "group_regex": r"(person\d+)"}


def _hf(folder: Path) -> Mapping[str, Any]:
    pytest.importorskip("torch")
    where = Path(__file__).parent / "unit" / "models" / "conftest.py"
    spec = importlib.util.spec_from_file_location("tiny_checkpoints", where)
    assert spec is not None
    assert spec.loader is not None
    tiny = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny)
    tiny.make_llava(folder / "llava")
    return {"path": str(folder / "llava"), "max_new_tokens": 4, "device": "cpu", "threads": 1}


def _endpoint(folder: Path) -> Mapping[str, Any]:
    pytest.importorskip("openai")
    serving = ChatServer().running()
    server = serving.__enter__()
    atexit.register(serving.__exit__, None, None, None)
    return {"base_url": server.url, "model": "served-model"}


def _bundled(folder: Path) -> Mapping[str, Any]:
    pytest.importorskip("torch")
    weights = Path(str(importlib.util.find_spec("palpate.models").submodule_search_locations[0])) / "bundled" / "phantom-llava"  # type: ignore[index, union-attr]
    if not (weights / "config.json").exists():
        pytest.skip("the weights are not in this installation")
    return {"checkpoint": "phantom-llava", "max_new_tokens": 4, "device": "cpu", "threads": 1}


EXAMPLES: Mapping[str, Mapping[str, Example]] = {
    "cases": {
        "dicom": _dicom,
        "folder": lambda folder: {"path": str(make_images(folder / "images")), "group_regex": r"(person\d+)"},
        "hub": _hub,
        "medmnist": _medmnist,
        "nifti": _nifti,
        "phantom": lambda folder: {"modality": "chest_xray", "size": 32},
        "table": _table,
    },
    "models": {
        "endpoint": _endpoint,
        "bundled": _bundled,
        "hf": _hf,
        "scripted": lambda folder: {"accuracy": 0.8, "refusal_rate": 0.1},
    },
}


def example(folder: str, name: str, at: Path) -> Mapping[str, Any]:
    """Example options of one part. Fails with what to add where a part has none and does need some."""
    if name in EXAMPLES[folder]:
        return EXAMPLES[folder][name](at)
    if part(folder, name).options:
        return {}
    pytest.fail(f"the part {name!r} in {folder}/ has no example options: add a line to EXAMPLES in tests/example_options.py")
