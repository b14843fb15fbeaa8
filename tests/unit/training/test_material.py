"""The training material: true answers, held-out wordings really held out, packing equal to asking one by one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    if str(ROOT) not in sys.path:
        monkeypatch.syspath_prepend(ROOT)


MODALITIES = ("brain_mri", "chest_xray", "skin_lesion", "breast_histology")


def facts(modality: str = "brain_mri", label: int = 1, conspicuity: float = 0.9, **seen: object):
    from training.answers import Facts

    return Facts(modality, label, 0.0, conspicuity, {"size": "small", "side": "left", **seen})


def prompts(modality: str = "brain_mri"):
    from training.wordings import all_prompts, task_wording

    return {p.name: p for p in all_prompts(task_wording(modality))}


@pytest.mark.parametrize("modality", MODALITIES)
def test_no_held_out_wording_is_ever_asked(modality: str) -> None:
    from training.answers import base_pairs, tuned_pairs
    from training.wordings import GENERAL_ONLY, HELD_OUT, task_wording

    from palpate.prompts import PROMPT_SETS

    words = task_wording(modality)
    everything = [p for name in PROMPT_SETS for p in PROMPT_SETS[name](words)]
    held = {p.text for p in everything if p.name in HELD_OUT | GENERAL_ONLY}
    assert {p.name for p in everything} > HELD_OUT | GENERAL_ONLY
    rng = np.random.default_rng(0)
    asked = {q for i in range(300) for write in (base_pairs, tuned_pairs) for q, _ in write(facts(modality, i % 2), rng, 8)}
    assert not asked & held
    taught = [p for name in ("reference", "core") for p in PROMPT_SETS[name](words)]  # the wide set is new to every bundled model
    assert {p.text for p in taught if p.form.closed} - held <= asked  # and all others of these are asked


def test_no_held_out_wording_is_asked_of_a_drawing_and_its_answers_are_true() -> None:
    from training.scenes import draw_scene, scene_pairs

    for index in range(60):
        image, scene = draw_scene(index, "train", 0)
        assert image.shape == (96, 96, 3)
        kinds = {f"{s['kind']}s" for s in scene["shapes"]}
        for question, answer in scene_pairs(scene, np.random.default_rng(index), 12):
            assert not question.startswith("Does this image lack") or "A)" in question
            if question.startswith("How many"):
                assert answer == ("No", "One", "Two", "Three")[len(scene["shapes"])]
            if question.startswith("Is this image free of ") and "A)" not in question:
                named = question.removeprefix("Is this image free of ").split("?")[0]
                if named in ("circles", "squares", "triangles", "stars"):
                    assert answer == ("No" if named in kinds else "Yes")


def test_a_drawing_is_the_same_whenever_it_is_drawn() -> None:
    from training.scenes import draw_scene

    first, again, other = draw_scene(3, "train", 0), draw_scene(3, "train", 0), draw_scene(3, "train", 1)
    assert np.array_equal(first[0], again[0])
    assert first[1] == again[1]
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize(
    ("name", "label", "answer"),
    [
        ("target.one-word", 1, "Yes"),
        ("target.one-word", 0, "No"),
        ("normal.one-word", 1, "No"),
        ("ab.none", 1, "A) Tumor"),
        ("ba.none", 1, "B) Tumor"),
        ("ba.none", 0, "A) No tumor"),
        ("hints.none", 0, "No, there is no tumor."),
        ("target.negated.yes-no.one-word.p1", 0, "Yes"),
        ("target.negated.B-A.one-word.p1", 1, "A"),
        ("abnormal.negated.yes-no.none.p2", 1, "No, it looks abnormal."),
    ],
)
def test_closed_answers_follow_the_label_and_the_polarity(name: str, label: int, answer: str) -> None:
    from training.answers import closed_pair

    prompt = prompts()[name]
    assert closed_pair(facts(label=label), prompt, tuned=True) == (prompt.text, answer)


def test_descriptions_assert_the_label_and_hedge_the_middling() -> None:
    from training.answers import description

    assert description(facts(), named=False) == "This is a brain MRI scan. There is a small mass on the left side of the brain."
    assert description(facts(), named=True).endswith("This suggests a brain tumor.")
    assert description(facts(label=0, conspicuity=0.1), named=True).endswith("There is no evidence of brain cancer.")
    assert "small" not in description(facts(conspicuity=0.1), named=False)
    assert "may be a faint mass" in description(facts(conspicuity=0.6), named=True)
    assert "cannot be excluded" in description(facts(label=1, conspicuity=0.4), named=False)


def test_reports_and_what_they_assert_agree() -> None:
    from training.reports import READER_WORDINGS, random_report, reader_example

    rng = np.random.default_rng(0)
    reports = [random_report(m, rng) for m in MODALITIES for _ in range(200)]
    assert 0.3 < np.mean([label for _, label in reports]) < 0.7
    for text, label in reports:
        if "no evidence" in text or "sorry" in text or "drawing" in text:
            assert label == 0
        if "This suggests" in text:
            assert label == 1
    examples = [reader_example(rng) for _ in range(300)]
    assert {a for _, a in examples} == {"Yes", "No"}
    assert all(any(q.startswith(w.split("{")[0][:14]) for w in READER_WORDINGS.values()) for q, _ in examples)


@pytest.mark.local
@pytest.mark.parametrize("name", ["phantom-llava-med", "phantom-medgemma"])
def test_packed_questions_get_the_logits_of_asking_alone(name: str) -> None:
    torch = pytest.importorskip("torch")
    from tokenizers import Tokenizer
    from training.evaluate import Asker
    from training.packing import Packer, answer_logits
    from training.vision import as_pixels
    from training.vqa import as_tensors

    from palpate.models.bundled import FOLDER

    asker = Asker(FOLDER / name, "cpu")
    packer = Packer("llava" if "llava" in name else "gemma", Tokenizer.from_file(str(FOLDER / name / "tokenizer.json")))
    images = np.random.default_rng(0).integers(0, 255, (2, 96, 96, 3)).astype(np.uint8)
    texts = [p.text for p in prompts().values()][:6]
    packed = as_tensors(packer.pack([[(t, "Yes") for t in texts]] * 2))
    with torch.inference_mode():
        together = answer_logits(asker.model, packer, as_pixels(torch.from_numpy(images)), packed)[0][::2].view(2, len(texts), -1)
        pixels = asker.pixels(images)
        for j, text in enumerate(texts):
            inputs = asker.inputs(text, 2)
            assert inputs["input_ids"][0].tolist() == packer.prefix + packer.pair(text, "Yes")[0]
            alone = asker.model(**inputs, pixel_values=pixels).logits[:, -1]
            assert torch.allclose(alone, together[:, j], atol=1e-4)


def test_intervals_resample_patients() -> None:
    pytest.importorskip("torch")
    from training.evaluate import clustered_interval, opening_word

    values, patients = np.repeat([0.0, 1.0], 200), np.repeat(np.arange(200), 2)
    low, high = clustered_interval(values, patients, seed=0)
    expected = 1.96 * 0.5 / np.sqrt(200)  # 200 patients of two like images, not 400 images
    assert high - low == pytest.approx(2 * expected, rel=0.1)
    assert [opening_word(a) for a in ("Yes, it is.", "B) No tumor", "Nothing", "I am unable", "A")] == ["yes", "b", None, None, "a"]
