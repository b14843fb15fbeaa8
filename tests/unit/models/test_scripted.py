"""Planted rates come back within binomial error, and no answer depends on order or batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from PIL import Image

from palpate.errors import ModelError
from palpate.models.scripted import HEDGE, PARTS, REFUSAL, ScriptedKind
from palpate.nouns import Answer, Block, Case, Form, Perturbation, Polarity, Prompt, Status, Stimulus, Trial
from palpate.parts import ModelKind, ModelSpec

IMAGE = Image.new("RGB", (4, 4))
POSITIVE, NEGATIVE = Polarity.POSITIVE, Polarity.NEGATIVE
YES = Prompt("target", "Is there pneumonia?", Form.YES_NO, POSITIVE, "target", None, {"suffix": "none"})
NORMAL = Prompt("normal", "Is this normal?", Form.YES_NO, NEGATIVE, "abnormal", None, {"suffix": "one-word"})
AB = Prompt("ab", "Which? A) … B) …", Form.AB, POSITIVE, "target", ("Pneumonia", "No pneumonia"), {"suffix": "none"})
BA = Prompt("ba", "Which? A) no… B) …", Form.BA, NEGATIVE, "target", ("No pneumonia", "Pneumonia"), {"suffix": "none"})
DESCRIBE = Prompt("describe", "Describe.", Form.DESCRIBE, POSITIVE, "describe")
PROMPTS = (YES, NORMAL, AB, BA)


class NoImage:
    def open(self) -> Image.Image:
        return IMAGE


def build(options: Mapping[str, Any], seed: int = 0):
    return ScriptedKind().build(ModelSpec("planted", "scripted", options, seed))


def stimulus(index: int, prompts=PROMPTS, perturbation: Perturbation | None = None, image=IMAGE, repeats: int = 1) -> Stimulus:
    case = Case(f"c{index}", index % 2, f"patient{index // 4}", f"digest{index}", NoImage())
    how = perturbation or Perturbation()
    trials = tuple(
        Trial(f"{index}|{how}|{p.name}|{r}", "planted", "pneumonia_cxr", case.id, how, p, r)
        for p in prompts
        for r in range(repeats)
    )
    return Stimulus(Block("planted", "pneumonia_cxr", case, how, trials), image)


def says_present(answer: Answer, prompt: Prompt) -> bool:
    first = answer.text.startswith(("Yes", "A"))
    return first if prompt.polarity is POSITIVE else not first


def table(options: Mapping[str, Any], n: int = 2000, prompts=PROMPTS, **how: Any) -> tuple[np.ndarray, np.ndarray]:
    """(says present (n, P), label (n,))."""
    answers = build(options).ask([stimulus(i, prompts, **how) for i in range(n)])
    return np.array([[says_present(a, p) for a, p in zip(row, prompts, strict=True)] for row in answers]), np.arange(n) % 2


def near(rate: float, planted: float, n: int) -> bool:
    """Within 4 binomial standard errors."""
    return abs(rate - planted) <= 4 * math.sqrt(planted * (1 - planted) / n) + 1e-9


def test_is_a_model_kind() -> None:
    assert isinstance(PARTS[0], ModelKind)
    assert PARTS[0].presets() == {}
    assert PARTS[0].lineages() == ()


@pytest.mark.parametrize("accuracy", [0.5, 0.8, 0.97, 1.0])
def test_accuracy_is_recovered_for_every_prompt_and_class(accuracy: float) -> None:
    said, label = table({"accuracy": accuracy})
    for column in range(said.shape[1]):
        for y in (0, 1):
            right = (said[label == y, column] == y).mean()
            assert near(right, accuracy, 1000), (column, y, right)


def test_sensitivity_and_specificity_are_recovered() -> None:
    said, label = table({"sensitivity": 0.9, "specificity": 0.6})
    assert near(said[label == 1, 0].mean(), 0.9, 1000)
    assert near(1 - said[label == 0, 0].mean(), 0.6, 1000)


def test_d_prime_and_criterion_are_recovered() -> None:
    said, label = table({"d_prime": 2.0, "criterion": 0.5}, n=4000)
    assert near(said[label == 1, 0].mean(), 0.5 * math.erfc(-0.5 / math.sqrt(2)), 2000)  # Φ(1 − 0.5)
    assert near(said[label == 0, 0].mean(), 0.5 * math.erfc(1.5 / math.sqrt(2)), 2000)  # Φ(−1 − 0.5)


def test_margins_are_the_planted_observers() -> None:
    """The margin's AUROC is Φ(d′/√2), whatever the criterion."""
    answers = build({"d_prime": 1.5, "criterion": 0.7}).ask([stimulus(i, (YES,)) for i in range(3000)])
    margin, label = np.array([row[0].margin for row in answers]), np.arange(3000) % 2
    greater = (margin[label == 1][:, None] > margin[label == 0][None]).mean()
    assert abs(greater - 0.5 * math.erfc(-1.5 / 2)) < 0.03


def test_prompt_shifts_add_up_by_name_and_factor() -> None:
    said, label = table({"accuracy": 0.8, "prompt_shift": {"ab": -0.2, "suffix=one-word": 0.1}})
    right = (said == label[:, None]).mean(0)
    assert [near(r, p, 2000) for r, p in zip(right, (0.8, 0.9, 0.6, 0.8), strict=True)] == [True] * 4


def test_prompts_agree_on_a_case_except_for_flips() -> None:
    """Without flips equal wordings never differ; with flip rate f two of them differ on 2f(1−f) of cases, and accuracy stays."""
    steady, _ = table({"accuracy": 0.7})
    assert (steady == steady[:, :1]).all()
    said, label = table({"accuracy": 0.7, "flip_rate": 0.1}, n=4000)
    differ = np.mean([(said[:, a] != said[:, b]).mean() for a, b in combinations(range(4), 2)])
    assert near(differ, 2 * 0.1 * 0.9, 4000)
    assert near((said == label[:, None]).mean(), 0.7, 4000)


def test_repeats_differ_only_by_flips() -> None:
    rows = build({"accuracy": 0.8, "flip_rate": 0.2}).ask([stimulus(i, (YES,), repeats=2) for i in range(2000)])
    assert near(np.mean([a.text != b.text for a, b in rows]), 2 * 0.2 * 0.8, 2000)


def test_refusals_by_class_and_hedges() -> None:
    model = build({"accuracy": 0.8, "refusal_rate": {"positive": 0.3, "negative": 0.05}, "hedge_rate": 0.1})
    texts = np.array([row[0].text for row in model.ask([stimulus(i, (YES,)) for i in range(4000)])])
    label = np.arange(4000) % 2
    assert near((texts[label == 1] == REFUSAL).mean(), 0.3, 2000)
    assert near((texts[label == 0] == REFUSAL).mean(), 0.05, 2000)
    assert near((texts == HEDGE).mean(), 0.1, 4000)


def test_order_bias_says_a() -> None:
    answers = build({"accuracy": 1.0, "order_bias": 0.4}).ask([stimulus(i, (AB, BA)) for i in range(4000)])
    assert near(np.mean([row[0].text == "A" for row in answers]), 0.5 + 0.4 / 2, 4000)
    assert near(np.mean([row[1].text == "A" for row in answers]), 0.5 + 0.4 / 2, 4000)


def test_blind_answers_by_prompt_alone() -> None:
    model = build({"blind": True, "flip_rate": 0.0})
    whole = model.ask([stimulus(i) for i in range(30)])
    blank = model.ask([stimulus(i, perturbation=Perturbation("blank"), image=None) for i in range(30)])
    assert len({tuple(a.text for a in row) for row in whole + blank}) == 1


@pytest.mark.parametrize("how", [{"image": None}, {"perturbation": Perturbation("blank")}, {"perturbation": Perturbation("noise")}])
def test_without_a_visible_image_a_seeing_model_is_at_chance(how: Mapping[str, Any]) -> None:
    said, label = table({"accuracy": 0.95}, prompts=(YES,), **how)
    assert near((said[:, 0] == label).mean(), 0.5, 2000)


def test_other_perturbations_keep_the_latent_evidence() -> None:
    plain, _ = table({"accuracy": 0.7}, n=300)
    blurred, _ = table({"accuracy": 0.7}, n=300, perturbation=Perturbation("blur", 2))
    assert (plain == blurred).all()


def test_error_rate_and_attempts() -> None:
    stimuli = [stimulus(i, (YES,)) for i in range(2000)]
    always, once = build({"error_rate": 0.2}), build({"error_rate": 0.2, "error_attempts": 1})
    first = [row[0].status for row in once.ask(stimuli)]
    assert near(np.mean([s is Status.ERROR for s in first]), 0.2, 2000)
    assert all(row[0].status is Status.OK for row in once.ask(stimuli))
    assert [row[0].status for row in always.ask(stimuli)] == [row[0].status for row in always.ask(stimuli)] == first
    broken = next(row[0] for row in always.ask(stimuli) if row[0].status is Status.ERROR)
    assert broken.error == "planted error"
    assert broken.text == ""
    assert broken.margin is None


def test_group_correlation_clusters_the_errors() -> None:
    """Four cases to a group: with correlation 1 the evidence of a group is one, so equal labels get equal answers."""
    said, label = table({"accuracy": 0.7, "group_correlation": 1.0}, prompts=(YES,))
    right = (said[:, 0] == label).reshape(-1, 4)
    assert (right[:, 0] == right[:, 2]).all()
    assert (right[:, 1] == right[:, 3]).all()
    assert near(right.mean(), 0.7, 500)
    independent, _ = table({"accuracy": 0.7}, prompts=(YES,))
    right = (independent[:, 0] == label).reshape(-1, 4)
    assert near((right[:, 0] == right[:, 2]).mean(), 0.58, 500)


def test_neither_order_nor_batch_changes_an_answer() -> None:
    options = {"accuracy": 0.7, "flip_rate": 0.2, "refusal_rate": 0.1, "hedge_rate": 0.1, "error_rate": 0.1}
    stimuli = [stimulus(i) for i in range(40)]
    together = build(options).ask(stimuli)
    model = build(options)
    apart = [model.ask([s])[0] for s in reversed(stimuli)][::-1]
    assert together == apart
    assert build(options, seed=1).ask(stimuli) != together


def test_texts_follow_form_and_style() -> None:
    sure = {"accuracy": 1.0, "finding": "pneumonia"}
    prompts = (YES, NORMAL, AB, BA, DESCRIBE)
    absent, present = build(sure).ask([stimulus(0, prompts), stimulus(1, prompts)])
    assert [a.text for a in present] == ["Yes", "No", "A", "B", "The image shows pneumonia."]
    assert [a.text for a in absent] == ["No", "Yes", "B", "A", "The image shows no pneumonia."]
    sentences = build(sure | {"style": "sentence"}).ask([stimulus(1, prompts)])[0]
    assert [a.text for a in sentences[:4]] == ["Yes, it is.", "No, it is not.", "A) Pneumonia", "B) Pneumonia"]


def test_margin_agrees_with_the_text_and_is_absent_in_open_forms() -> None:
    options = {"accuracy": 0.7, "flip_rate": 0.2, "order_bias": 0.2}
    for row in build(options).ask([stimulus(i, (*PROMPTS, DESCRIBE)) for i in range(100)]):
        for answer, prompt in zip(row[:4], PROMPTS, strict=True):
            assert answer.margin is not None
            assert answer.mass is not None
            assert (answer.margin > 0) == says_present(answer, prompt)
        assert row[4].margin is None
        assert row[4].mass is None


def test_fingerprint_holds_what_is_planted() -> None:
    def identity(options: Mapping[str, Any], seed: int = 0) -> Mapping[str, Any]:
        return build(options, seed).fingerprint().identity

    assert identity({"accuracy": 0.8}) == identity({})
    assert identity({"accuracy": 0.9}) != identity({})
    assert identity({}, seed=1) != identity({})
    assert identity({"latency": 0.5}) == identity({})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"acuracy": 0.8}, ["acuracy", "accuracy"]),
        ({"accuracy": 1.2}, ["accuracy = 1.2", "0 to 1"]),
        ({"accuracy": "high"}, ["accuracy = 'high'"]),
        ({"accuracy": True}, ["accuracy = true"]),
        ({"sensitivity": 0.8}, ["specificity"]),
        ({"accuracy": 0.8, "d_prime": 1.0}, ["accuracy, d_prime"]),
        ({"refusal_rate": {"malignant": 0.1}}, ["malignant", "positive, negative"]),
        ({"flip_rate": 0.3, "accuracy": 0.9}, ["flip_rate 0.3", "at most 0.1"]),
        ({"refusal_rate": 0.6, "hedge_rate": 0.6}, ["exceed 1"]),
        ({"style": "long"}, ["'long'", "'sentence'"]),
        ({"prompt_shift": 0.1}, ["prompt_shift"]),
        ({"blind": "yes"}, ["blind", "true"]),
    ],
)
def test_impossible_options_are_named(options: Mapping[str, Any], words: list[str]) -> None:
    with pytest.raises(ModelError) as error:
        build(options)
    assert "planted" in str(error.value)
    for word in words:
        assert word in str(error.value)
