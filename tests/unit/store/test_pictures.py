"""Pictures on the disk: what was written comes back, and a broken file says what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from palpate.errors import RunError
from palpate.store.features import FeatureWriter
from palpate.store.pictures import Picture, PictureStore
from planted import panel


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    one = panel(np.zeros((6, 1), int), np.arange(6) % 2)
    store = PictureStore(tmp_path)
    assert store.path(one, ("tsne",), 0) is None  # no states were kept
    states = tmp_path / "features"
    states.mkdir()
    (states / "current.json").write_text('{"m": {"t": "abc"}}', encoding="utf-8")
    file = store.path(one, ("tsne", "umap"), 0)
    assert file is not None
    assert store.pictures(one, ("tsne", "umap"), 0) == ()
    rng = np.random.default_rng(0)
    given = [
        Picture("m", "t", stage, kind, rng.standard_normal((6, 2)).astype(np.float32), one.label, 0.5, 0.75, 30.0, prompt)
        for stage, prompt in (("read", ""), ("last-02", "target0"))
        for kind in ("tsne", "umap")
    ]
    store.write(file, given)
    found = store.pictures(one, ("tsne", "umap"), 0)
    assert len(found) == 4
    for a, b in zip(given, found, strict=True):
        assert (a.model, a.task, a.stage, a.kind, a.near, a.near_before, a.perplexity, a.prompt) == (
            *(b.model, b.task, b.stage, b.kind, b.near, b.near_before, b.perplexity, b.prompt),
        )
        assert np.array_equal(a.place, b.place)
        assert np.array_equal(a.label, b.label)
    assert list(store.folder.iterdir()) == [file]  # nothing half-written stays beside it
    file.write_bytes(b"broken")
    with pytest.raises(RunError, match="delete it and run again"):
        store.pictures(one, ("tsne", "umap"), 0)


def test_states_of_another_plan_have_other_pictures(tmp_path: Path) -> None:
    one = panel(np.zeros((6, 1), int), np.arange(6) % 2)
    store, paths = PictureStore(tmp_path), set()
    for key in ("first", "second"):
        writer = FeatureWriter(tmp_path, "m", "t", one.cases, key)
        writer.folder.mkdir(parents=True)
        writer.make_current()
        paths.add(store.path(one, ("tsne",), 0))
    assert len(paths) == 2
