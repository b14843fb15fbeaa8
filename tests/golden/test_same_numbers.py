"""Same study, same numbers: twice, and with any number of workers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from palpate.pipeline import run
from palpate.store.folder import RunFolder
from palpate.study import Study
from small import STUDY, write_study

TEXT = (
    STUDY.replace(
        'prompts = "reference"', 'prompts = "reference"\nperturbations = ["none", "gaussian_noise-2", "noise"]\nrepeats = 2'
    )
    .replace("refusal_rate = 0.05", "refusal_rate = 0.1\nerror_rate = 0.1\nblocks_at_once = 1")
    .replace("accuracy = 0.9", "accuracy = 0.9\nblocks_at_once = 3\nflip_rate = 0.05")
    .replace("[measure]", "[ask]\nattempts = 2\n[measure]")
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("same")
    path = write_study(folder, TEXT)
    images = folder / "images"
    # The same picture twice, once under the other label: three cases that share all their answers.
    data = (images / "normal" / "person1000_0.png").read_bytes()
    (images / "normal" / "person9999_0.png").write_bytes(data)
    (images / "pneumonia" / "person9998_0.png").write_bytes(data)
    return Study.load(path)


def outcome(study: Study, out: Path, workers: int) -> tuple[list[tuple[object, ...]], bytes]:
    run(replace(study, ask=replace(study.ask, workers=workers)), out)
    folder = RunFolder(out)
    with folder.ledger() as ledger:
        texts = list(ledger.texts())
        numbers = [
            (r.key, r.attempt, r.answer.margin, r.answer.mass)
            for key in sorted({t[0] for t in texts})
            for r in ledger.responses(key)
        ]
        readings = [r for key in sorted({t[0] for t in texts}) for r in ledger.readings(key)]
    return [*texts, *numbers, *readings], (out / "estimates.json").read_bytes()


@pytest.fixture(scope="module")
def first(study: Study, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[tuple[object, ...]], bytes]:
    return outcome(study, tmp_path_factory.mktemp("first") / "run", 1)


def test_the_study_has_what_could_differ(first: tuple[list[tuple[object, ...]], bytes]) -> None:
    texts = [t for t in first[0] if isinstance(t, tuple) and len(t) == 4 and isinstance(t[2], str)]
    assert {t[1] for t in texts} == {1, 2}  # failures, asked again
    assert len({t[0] for t in texts}) == 2 * 12 * 3 * 12 * 2  # copies share their keys


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_run_again_with_so_many_workers(
    study: Study, tmp_path: Path, first: tuple[list[tuple[object, ...]], bytes], workers: int
) -> None:
    again = outcome(study, tmp_path / "run", workers)
    assert again[0] == first[0]
    assert again[1] == first[1]
