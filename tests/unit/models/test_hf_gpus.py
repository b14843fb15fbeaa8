"""Several GPUs: each worker process takes the one of its number. No GPU is needed to test who takes which."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from palpate.executors._processes import WORKER, WORKERS, _prepare
from palpate.models import _hf_checks, _hf_load, _hf_plain
from palpate.parts import FeatureRequest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.local


@pytest.mark.parametrize(
    ("worker", "device", "count", "own"),
    [
        ("0", "cuda", 4, "cuda:0"),
        ("3", "cuda", 4, "cuda:3"),
        ("5", "cuda", 4, "cuda:1"),  # more workers than GPUs: they go round
        ("1", "cuda:3", 4, "cuda:3"),  # a device of the user's own choice stays
        ("1", "cpu", 4, "cpu"),
        ("1", "cuda", 0, "cuda"),  # none there: loading will say so
        (None, "cuda", 4, "cuda"),  # no worker: torch's current device
    ],
)
def test_a_worker_takes_the_gpu_of_its_number(worker, device, count, own, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv(WORKER, raising=False)
    if worker is not None:
        monkeypatch.setenv(WORKER, worker)
    assert _hf_load._own_gpu(device) == own


def test_workers_know_their_number_and_how_many_they_are(monkeypatch) -> None:
    import os

    numbers = []
    for name in (WORKER, WORKERS, "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("palpate.executors._processes._end_with_parent", lambda: None)
    for number in range(3):
        _prepare(number, 3)
        numbers.append((os.environ[WORKER], os.environ[WORKERS]))
    assert numbers == [("0", "3"), ("1", "3"), ("2", "3")]


def test_a_models_gpu_is_current_while_it_works(build, images, monkeypatch) -> None:
    """Else events, captured steps and Triton's kernels go to the first GPU, whichever the model is on."""
    current: list[str] = []
    told: list[tuple[str, list[str]]] = []

    @contextmanager
    def device(which):
        current.append(which)
        try:
            yield
        finally:
            current.pop()

    model, stimuli = build("llava", attend="unrepeated", max_new_tokens=2), images(1)
    loaded = replace(model._loaded().loaded, device="cuda:1")
    ready = replace(model._loaded(), loaded=loaded)
    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(model, "_loaded", lambda: ready)
    monkeypatch.setattr(model, "_asked", lambda *_: told.append(("ask", list(current))))
    monkeypatch.setattr(model, "_look", lambda *_: (told.append(("look", list(current))), ([], None))[1])
    monkeypatch.setattr(_hf_plain, "answer_single", lambda *_: told.append(("check", list(current))))
    monkeypatch.setattr(_hf_checks, "found_by", lambda *_, **__: ([], True))
    monkeypatch.setattr(_hf_checks, "facts", lambda *_: {})
    model._run(ready, stimuli)
    model.look(stimuli, [FeatureRequest()])
    model.check(stimuli)
    assert told == [("ask", ["cuda:1"]), ("look", ["cuda:1"]), ("check", ["cuda:1"])]
    assert not current
    with model._ready.loaded.current():
        assert not current, "a processor is no GPU"
    ahead = ready.ahead
    monkeypatch.setattr(ahead, "encoder", SimpleNamespace(loaded=loaded))
    monkeypatch.setattr(ahead, "_prepared", lambda *_: list(current))
    assert ahead._one(["?"], stimuli[0].image) == ["cuda:1"], "its thread's too"
