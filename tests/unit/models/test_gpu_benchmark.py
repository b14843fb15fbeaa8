"""The GPU benchmark runs: at tiny size on the CPU, both sides, with a table and JSON. Its figures mean nothing here."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.local


def test_every_side_answers_everything_and_the_table_is_written(tmp_path, capsys, monkeypatch) -> None:
    from benchmarks import gpu_speed

    from palpate.models import _hf_load

    monkeypatch.setattr(_hf_load, "_twin", _hf_load._twin)  # the benchmark puts its own in place: undone afterwards
    target = tmp_path / "figures" / "gpu.json"
    small = ["--images", "3", "--at-once", "2", "--prompts", "4", "--new", "3", "--device", "cpu"]
    rows = gpu_speed.main(["--size", "tiny", *small, "--no-vllm", "--json", str(target)])
    assert [(row.model, row.responses) for row in rows] == [
        *(("gemma", n) for n in (4, 12, 12)),
        *(("llava", n) for n in (4, 12, 12)),
    ]
    assert all(row.seconds > 0 for row in rows)
    written = json.loads(target.read_text())
    assert written["device"] == "cpu"
    assert written["vllm"]
    assert [row["way"] for row in written["rows"][:3]] == [row.way for row in rows[:3]]
    assert "responses/s" in capsys.readouterr().out


def test_an_answer_that_failed_ends_the_benchmark(monkeypatch) -> None:
    from benchmarks import gpu_speed

    from palpate.nouns import Answer, Status

    class Failing:
        def ask(self, asked):
            return [[Answer(Status.ERROR, error="out of memory") for _ in s.block.trials] for s in asked]

    with pytest.raises(SystemExit, match="8 answers failed: out of memory"):
        gpu_speed.ours(Failing(), gpu_speed.stimuli("llava", 2, 4, 8))


def test_the_wait_for_a_batch_is_measured_and_nothing_is_left_begun(tmp_path) -> None:
    """Of ``benchmarks.preparing``, as far as it goes without real-time priorities."""
    from benchmarks import preparing
    from PIL import Image

    preparing.MAKERS["llava"](tmp_path / "llava", tiny=True)
    encoder = preparing.encoder_of("llava", tmp_path / "llava")
    images = [Image.new("RGB", (64, 64), (shade, 0, 0)) for shade in range(3)]
    with preparing.preparing(encoder, 2, 0, True) as ahead:
        assert preparing.first(ahead, [encoder.render("Is it?", image=True)], images) > 0
        assert not ahead._begun
