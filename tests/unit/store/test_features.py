"""The store of inner states: what was written is read back, what was not finished is not there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from palpate.errors import RunError
from palpate.parts import Features, FeatureStage
from palpate.store import features as store
from palpate.store.features import FeatureStore, FeatureWriter

STAGES = (
    FeatureStage("vision", 0),
    FeatureStage("vision", 1, "max"),
    FeatureStage("read"),
    FeatureStage("projector"),
    FeatureStage("image", 2),
    FeatureStage("prompt", 3, "last", "a/b?"),
)
CASES = tuple(f"case {i}" for i in range(5))


def row(seed: int, factor: float = 1.0) -> Features:
    rng = np.random.default_rng(seed)
    return {stage: (factor * rng.normal(size=3 + i)).astype(np.float32) for i, stage in enumerate(STAGES)}


def writer(folder: Path, key: str = "k", cases: tuple[str, ...] = CASES) -> FeatureWriter:
    return FeatureWriter(folder, "a model", "task", cases, key)


def test_names_say_where_in_the_model() -> None:
    assert [s.name for s in STAGES] == ["vision-00", "vision-01/max", "read", "projector", "image-02", "prompt-03@a/b?"]


def test_what_was_written_is_read_back_by_case(tmp_path) -> None:
    made = writer(tmp_path)
    made.add([(CASES[3], row(3)), (CASES[0], row(0))])
    made.add([(CASES[1], row(1))])
    held = FeatureStore.open(tmp_path)
    assert held.held() == [("a model", "task")]
    assert held.stages("a model", "task") == STAGES
    assert held.cases("a model", "task") == CASES
    assert held.done("a model", "task").tolist() == [True, True, False, True, False]
    for i, stage in enumerate(STAGES):
        array = held.array("a model", "task", stage)
        assert isinstance(array, np.memmap)
        assert (array.shape, array.dtype) == ((5, 3 + i), np.float16)
        for case in (0, 1, 3):
            np.testing.assert_array_equal(array[case], row(case)[stage].astype(np.float16))
        np.testing.assert_array_equal(held.array("a model", "task", stage.name), array)
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


def test_a_later_process_goes_on_and_writes_no_row_twice(tmp_path) -> None:
    writer(tmp_path).add([(CASES[0], row(0))])
    later = writer(tmp_path)
    assert [later.wants(case) for case in (*CASES, "another")] == [False, True, True, True, True, False]
    later.add([(CASES[0], row(99)), (CASES[1], row(1)), ("another", row(2))])
    held = FeatureStore.open(tmp_path)
    np.testing.assert_array_equal(held.array("a model", "task", "read")[0], row(0)[STAGES[2]].astype(np.float16))
    assert held.done("a model", "task").tolist() == [True, True, False, False, False]


def test_a_row_without_its_mark_was_never_written(tmp_path, monkeypatch) -> None:
    """Killed between the row and the mark: the case is looked at again."""
    made = writer(tmp_path)
    made.add([(CASES[0], row(0))])

    class Killed(BaseException):
        pass

    opened = store._opened

    def killed(file: Path, size: int):
        if file.name == "done.u8":
            raise Killed
        return opened(file, size)

    monkeypatch.setattr(store, "_opened", killed)
    with pytest.raises(Killed):
        made.add([(CASES[1], row(1))])
    monkeypatch.undo()
    later = writer(tmp_path)
    assert later.wants(CASES[1])
    assert FeatureStore.open(tmp_path).done("a model", "task").tolist() == [True, False, False, False, False]
    later.add([(CASES[1], row(7))])
    np.testing.assert_array_equal(
        FeatureStore.open(tmp_path).array("a model", "task", "read")[1], row(7)[STAGES[2]].astype(np.float16)
    )


def test_what_shapes_the_states_has_a_folder_of_its_own(tmp_path) -> None:
    """Another key, other cases: the old rows stay, and the last plan's are the current ones."""
    writer(tmp_path).add([(CASES[0], row(0))])
    writer(tmp_path, "other").add([(CASES[0], row(1))])
    held = FeatureStore.open(tmp_path)
    np.testing.assert_array_equal(held.array("a model", "task", "read")[0], row(1)[STAGES[2]].astype(np.float16))
    writer(tmp_path).make_current()
    held = FeatureStore.open(tmp_path)
    np.testing.assert_array_equal(held.array("a model", "task", "read")[0], row(0)[STAGES[2]].astype(np.float16))
    assert writer(tmp_path, cases=CASES[:2]).wants(CASES[0])


def test_large_states_are_scaled_by_a_power_of_two_and_never_infinite(tmp_path) -> None:
    made = writer(tmp_path)
    made.add([(CASES[0], row(0, 1e6)), (CASES[1], row(1, 4e6)), (CASES[2], row(2, 1e12))])
    held = FeatureStore.open(tmp_path)
    for stage in STAGES:
        scale = held.scale("a model", "task", stage)
        assert np.log2(scale) == int(np.log2(scale)) > 0
        array = held.array("a model", "task", stage)
        assert np.isfinite(array).all()
        for case, factor in ((0, 1e6), (1, 4e6)):
            np.testing.assert_allclose(array[case].astype(float) * scale, row(case, factor)[stage], rtol=1e-3, atol=scale * 1e-3)
    writer(tmp_path, "small").add([(CASES[0], row(0))])
    assert FeatureStore.open(tmp_path).scale("a model", "task", "read") == 1.0


def test_the_file_takes_room_only_for_what_is_written(tmp_path) -> None:
    cases = tuple(map(str, range(100_000)))
    made = FeatureWriter(tmp_path, "m", "t", cases, "k")
    made.add([("99999", row(0))])
    states = next(tmp_path.glob("features/*/states.f16"))
    assert states.stat().st_size == 100_000 * 2 * sum(3 + i for i in range(len(STAGES)))
    assert states.stat().st_blocks * 512 < 100_000


def test_a_full_disk_is_a_run_error_and_later_rows_go_on(tmp_path, monkeypatch) -> None:
    made = writer(tmp_path)
    made.add([(CASES[0], row(0))])
    with monkeypatch.context() as patch:
        patch.setattr(store, "_to_disk", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(RunError, match="cannot be written: No space left on device"):
            made.add([(CASES[1], row(1))])
    assert made.wants(CASES[1])
    made.add([(CASES[1], row(1))])
    assert not made.wants(CASES[1])


@pytest.mark.parametrize("fault", ["other stages", "another width"])
def test_rows_that_do_not_fit_are_an_error(tmp_path, fault) -> None:
    made = writer(tmp_path)
    made.add([(CASES[0], row(0))])
    wrong = dict(row(1))
    if fault == "other stages":
        del wrong[STAGES[0]]
    else:
        wrong[STAGES[0]] = np.zeros(9, np.float32)
    with pytest.raises(RunError, match=r"differ|width"):
        made.add([(CASES[1], wrong)])


def test_what_is_not_there_is_said(tmp_path) -> None:
    with pytest.raises(RunError, match="no inner states were kept"):
        FeatureStore.open(tmp_path)
    writer(tmp_path).add([(CASES[0], row(0))])
    held = FeatureStore.open(tmp_path)
    with pytest.raises(RunError, match="no stage 'nowhere'") as error:
        held.array("a model", "task", "nowhere")
    assert "vision-00" in str(error.value)
    with pytest.raises(RunError, match="'another' on 'task'") as error:
        held.stages("another", "task")
    assert "a model on task" in str(error.value)
    index = next(tmp_path.glob("features/*/index.json"))
    index.write_text(json.dumps({**json.loads(index.read_text()), "format": 99}))
    with pytest.raises(RunError, match="has format 99"):
        held.stages("a model", "task")
    index.write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        held.stages("a model", "task")
