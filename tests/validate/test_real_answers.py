"""Real answers of real models: published figures come out again, and what the project's statistics say of them.

The data are not in the repository (licences differ): `../shared/data`, or `$PALPATE_DATA`. Nothing of them is kept; what Palpate
imports is converted on the way, in a temporary folder. `pytest -s -m "slow or not slow" tests/validate/test_real_answers.py` prints
the figures.
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from palpate.imports.answers import read_answers
from palpate.nouns import Estimate, Form, Outcome, Polarity, Prompt
from palpate.parts import Rubric
from palpate.pipeline import import_answers
from palpate.registry import part
from palpate.results import Results
from palpate.stages.importing import Naming
from palpate.stats.intervals import proportion_interval, shift_interval
from palpate.stats.permutation import cochran_q, permutation_null
from palpate.stats.resampling import Array, Replicates, draw_clusters, generator, replicate
from palpate.stats.variance import prompt_spread

DATA = Path(os.environ.get("PALPATE_DATA", Path(__file__).parents[3] / "shared" / "data")) / "responses"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="real answers are not in the repository: set PALPATE_DATA")
pytestmark = needs_data

LEVEL, DRAWS = 0.95, 2000


@cache
def rows(folder: str, name: str) -> tuple[dict[str, str], ...]:
    with (DATA / folder / name).open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


# ---------------------------------------------------------------- statistics over questions × prompts


def replicated(values: Array, purpose: str) -> Replicates:
    """Mean over questions of (n, …) values, each question a cluster of its own."""
    sums = replicate(values, draw_clusters(len(values), DRAWS, generator(0, purpose)))
    n = len(values)
    return Replicates(np.concatenate([sums.rows[: 1 + DRAWS] / n, sums.left_out / (n - 1)]), DRAWS)


def interval(values: Array, purpose: str) -> tuple[float, float, float]:
    """(mean, low, high) of a share over questions, by the project's interval of a rate."""
    found = replicated(values[:, None], purpose)
    bounds = proportion_interval(found, np.array([len(values)]), LEVEL)
    return float(found.value[0]), float(bounds.low[0]), float(bounds.high[0])


def paired(values: Array, purpose: str) -> tuple[float, float, float]:
    """(mean, low, high) of a paired difference over questions."""
    found = replicated(values[:, None], purpose)
    n = len(values)
    bounds = shift_interval(found, np.array([1 / (n + 2) ** 2]), n, LEVEL)
    return float(found.value[0]), float(bounds.low[0]), float(bounds.high[0])


def spread(right: Array, purpose: str) -> dict[str, float]:
    """σ over prompts of the accuracy of ``right`` (n, P), corrected, beside the plain one and the null's."""
    found = prompt_spread(replicated(right, purpose), len(right), LEVEL)
    null = permutation_null((right - right.mean()) / len(right), DRAWS, generator(0, purpose, "null"))
    low, high = np.quantile(null.deviations, [0.025, 0.975])
    values = {"sigma": found.sigma, "low": found.low, "high": found.high, "naive": found.naive}
    return {**values, "null_mean": float(null.deviations.mean()), "null_low": float(low), "null_high": float(high), "p": null.p}


def test_the_spread_of_one_question_per_cluster_is_the_table_measures_have() -> None:
    """The functions above against brute force: the plain deviation, Cochran's Q, and a mean that is a mean."""
    rng = np.random.default_rng(0)
    right = (rng.random((120, 5)) < np.array([0.3, 0.4, 0.5, 0.6, 0.7])).astype(float)
    found = spread(right, "brute force")
    assert found["naive"] == pytest.approx(np.std(right.mean(axis=0), ddof=1))
    assert found["low"] < found["sigma"] < found["high"]
    assert (found["p"] < 0.01) == (cochran_q(right)[1] < 0.01)
    assert interval(right[:, 0], "x")[0] == pytest.approx(right[:, 0].mean())
    assert paired(right[:, 4] - right[:, 0], "x")[0] == pytest.approx(right[:, 4].mean() - right[:, 0].mean())


# ---------------------------------------------------------------- five styles of asking, four options

PUBLISHED = {"gemma2": (0.861, 0.388), "meditron": (0.511, 0.218), "phi3_mini": (0.753, 0.497)}
"""Consistency and majority accuracy as published (arXiv 2603.00917 and its repository's table)."""
UNKNOWN = "UNKNOWN"
STYLES = ("original", "formal", "simplified", "roleplay", "direct")
Read = Mapping[tuple[str, str, str], tuple[list[str], str]]  # (model, set, question) → (answers by style, right answer)


def five_styles(read: Iterable[tuple[dict[str, str], str]]) -> Read:
    found: dict[tuple[str, str, str], dict[str, str]] = defaultdict(dict)
    right: dict[tuple[str, str, str], str] = {}
    for row, answer in read:
        key = (row["model"], row["dataset"], row["id"])
        found[key][row["style"]] = answer
        right[key] = row["correct_answer"]
    return {key: ([answers[s] for s in STYLES], right[key]) for key, answers in found.items()}


def agreement(answers: Sequence[str]) -> float:
    """Share of the five styles that give the most frequent definite answer: 0 where none is definite."""
    definite = Counter(a for a in answers if a != UNKNOWN)
    return definite.most_common(1)[0][1] / len(answers) if definite else 0.0


def majority_right(answers: Sequence[str], right: str) -> bool:
    """Whether the most frequent definite answer (of equal ones the first given) is the right one."""
    definite = Counter(a for a in answers if a != UNKNOWN)
    return bool(definite) and definite.most_common(1)[0][0] == right


def figures(read: Read, model: str) -> tuple[float, float, Array]:
    mine = [(answers, right) for (m, *_), (answers, right) in read.items() if m == model]
    right = np.array([[a == truth for a in answers] for answers, truth in mine], float)
    return float(np.mean([agreement(a) for a, _ in mine])), float(np.mean([majority_right(a, t) for a, t in mine])), right


def test_published_consistency_and_majority_accuracy_come_out_of_the_authors_readings() -> None:
    read = five_styles((row, row["extracted_by_authors"]) for row in rows("clinical_llm_5styles", "responses.csv"))
    assert len(read) == 3 * 3 * 200
    for model, (consistency, accuracy) in PUBLISHED.items():
        found = figures(read, model)
        assert round(found[0], 3) == consistency, model
        assert round(found[1], 3) == accuracy, model


MEDICAL = Rubric("the condition")


def our_reading(row: dict[str, str]) -> str:
    """The rules' reading of an answer to a yes-no-maybe or a four-option question, which is not what they were made for.

    Yes, no, maybe: positive, negative, hedge. Of four options, each in turn is called A and the others B: the option that is read
    as chosen when it is called A, and alone so, is the answer.
    """
    method = part("readings", "rules")
    if row["dataset"] == "pubmedqa":
        asked = Prompt("q", "Is it so?", Form.YES_NO, Polarity.POSITIVE, "target")
        words = {Outcome.POSITIVE: "yes", Outcome.NEGATIVE: "no", Outcome.HEDGE: "maybe"}
        return words.get(method.read(row["raw"], asked, MEDICAL).outcome, UNKNOWN)
    asked = Prompt("q", "Which?", Form.AB, Polarity.POSITIVE, "target")
    chosen = []
    for letter in "ABCD":
        # Only capitals that stand alone can be option letters here; “a” stays the word it is.
        text = re.sub(r"(?<![\w'’])[A-D](?![\w'’])", lambda found, mine=letter: "A" if found[0] == mine else "B", row["raw"])
        if method.read(text, asked, MEDICAL).outcome is Outcome.POSITIVE:
            chosen.append(letter)
    return chosen[0] if len(chosen) == 1 else UNKNOWN


@pytest.mark.slow
def test_what_our_reading_makes_of_the_same_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """The authors' reader takes the word “a” for option A; where it does not, the two readers nearly always agree."""
    data = rows("clinical_llm_5styles", "responses.csv")
    ours = [our_reading(row) for row in data]
    read = five_styles(zip(data, ours, strict=True))
    theirs = five_styles((row, row["extracted_by_authors"]) for row in data)
    lines = []
    for model in PUBLISHED:
        consistency, accuracy, right = figures(read, model)
        found, published = spread(right, model), spread(figures(theirs, model)[2], model)
        mine = [(a, row["extracted_by_authors"]) for a, row in zip(ours, data, strict=True) if row["model"] == model]
        agree = np.mean([a == b for a, b in mine])
        unknown = np.mean([a == UNKNOWN for a, _ in mine])
        lines.append(
            f"{model}: consistency {PUBLISHED[model][0]:.3f} → {consistency:.3f}, "
            f"majority {PUBLISHED[model][1]:.1%} → {accuracy:.1%}, "
            f"same reading {agree:.1%}, no answer {unknown:.1%}; σ over styles {shown(published)} → {shown(found)}"
        )
    words = [(a, row) for a, row in zip(ours, data, strict=True) if row["dataset"] != "pubmedqa" and word_a(row)]
    kept = sum(a == "A" for a, _ in words)
    lines.append(f"the word “a” read as option A: {len(words)} by the authors, {kept} of them by the rules")
    with capsys.disabled():
        print("\n" + "\n".join(lines))
    assert len(words) > 700
    assert kept <= 0.02 * len(words)


def word_a(row: dict[str, str]) -> bool:
    """Read as A by the authors, with no capital A standing alone in the text."""
    return row["extracted_by_authors"] == "A" and not re.search(r"(?<![\w'’])A(?![\w'’])", row["raw"])


def shown(s: Mapping[str, float]) -> str:
    null = f"null {s['null_mean']:.3f} [{s['null_low']:.3f}, {s['null_high']:.3f}]"
    return f"{s['sigma']:.3f} [{s['low']:.3f}, {s['high']:.3f}] (plain {s['naive']:.3f}, {null}, p {s['p']:.4f})"


# ---------------------------------------------------------------- one model, many pipelines, with and without the image

LETTERS = "ABCD"


def twins() -> Iterator[tuple[str, NDArray[np.str_], NDArray[np.str_], NDArray[np.str_]]]:
    """(country and language, gold (n,), answers with the image (n, P), without it (n, P)); conditions differ in that alone."""
    answers: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    for row in rows("worldmedqav_llava_matrix", "answers.csv"):
        answers[row["condition"]][row["question"]] = row["predicted"], row["gold"]
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for condition in answers:
        if "/with_image/" in condition and (other := condition.replace("/with_image/", "/no_image/")) in answers:
            groups["/".join(condition.split("/")[:2])].append((condition, other))
    for name, pairs in sorted(groups.items()):
        if len(pairs) < 2:
            continue
        questions = sorted(set.intersection(*(set(answers[c]) for pair in pairs for c in pair)), key=int)
        gold = np.array([answers[pairs[0][0]][q][1] for q in questions])
        sides = (np.array([[answers[pair[side]][q][0] for pair in pairs] for q in questions]) for side in (0, 1))
        yield name, gold, *sides


def order_bias(picked: NDArray[np.str_], gold: NDArray[np.str_]) -> tuple[float, float, float]:
    """(share of definite answers that are A, share of right answers that are A, RStd: deviation of recall over gold positions).

    RStd as in PriDe (arXiv 2309.03882), in proportions.
    """
    definite = np.isin(picked, list(LETTERS))
    recall = [float((picked[gold == letter] == letter).mean()) for letter in LETTERS]
    return float((picked == "A").sum() / definite.sum()), float((gold == "A").mean()), float(np.std(recall))


def test_prompt_spread_order_bias_and_image_reliance_of_a_real_model(capsys: pytest.CaptureFixture[str]) -> None:
    lines, moved, gained = [], [], []
    for name, gold, seen, blind in twins():
        right, right_blind = ((side == gold[:, None]).astype(float) for side in (seen, blind))
        s = spread(right, name)
        first, truly, rstd = order_bias(seen, gold)
        changed = interval((seen != blind).mean(axis=1), f"{name} changed")
        gain = paired((right - right_blind).mean(axis=1), f"{name} gain")
        accuracy = interval(right.mean(axis=1), f"{name} accuracy")
        lines.append(
            f"{name}: {len(gold)} questions × {seen.shape[1]} pipelines, accuracy {bounded(accuracy)}; σ {shown(s)}; "
            f"says A {first:.0%} where {truly:.0%} are A, RStd {rstd:.2f}; answers moved by the image {bounded(changed)}, "
            f"accuracy with − without it {bounded(gain)}"
        )
        moved.append(changed)
        gained.append(gain)
        assert first > truly + 0.15, "this model is known to choose the first option far too often"
        assert rstd > 0.2
    with capsys.disabled():
        print("\n" + "\n".join(lines))
    assert len(lines) == 4
    assert all(low > 0.02 for _, low, _ in moved)  # the image moves some answers …
    assert all(low <= 0.05 for _, low, _ in gained)  # … and is not shown to make more than five points of them right


def bounded(found: tuple[float, float, float]) -> str:
    return f"{found[0]:.3f} [{found[1]:.3f}, {found[2]:.3f}]"


# ---------------------------------------------------------------- a base and a tuned model, through `palpate import`


def yes_no_table(target: Path, models: Sequence[str]) -> int:
    """The yes-no questions of two sets as a table of Palpate's columns: each question its own, so all in one wording's words."""
    head = ("model", "task", "case", "target", "prompt", "question", "form", "polarity", "cell", "response")
    count = 0
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        for row in rows("medvqa_llavamed_tinyllava", "responses.csv"):
            truth = row["gt"].strip().rstrip(".").casefold()
            if row["model"] in models and row["dataset"] in ("vqa_rad", "slake") and truth in ("yes", "no"):
                fixed = ("{question}", row["question"], "yes-no", "positive", "target")
                writer.writerow((row["model"], row["dataset"], row["index"], truth, *fixed, row["response"]))
                count += 1
    return count


def test_tuning_is_judged_from_imported_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "answers.csv"
    count = yes_no_table(table, ("tinyllava", "tinyllava_ft"))
    given = read_answers([table])
    pairs = (("tinyllava", "tinyllava_ft"),)
    results = import_answers([table], tmp_path / "run", given, naming=Naming(), name="tinyllava", pairs=pairs)
    assert len(given.answers) == count == 2 * (251 + 355)
    found = {(e.measure, e.by["task"]): e for e in results.measure("tuning")}
    with capsys.disabled():
        print("\n" + "\n".join(_tuning(results, found, task) for task in ("vqa_rad", "slake")))
    for task in ("vqa_rad", "slake"):
        delta = found["delta_ba_all", task]
        assert delta.value == pytest.approx(_plain_difference(task), abs=0.06)  # by a reader of first words alone
        assert delta.verdict == "better"
        assert found["delta_coverage", task].verdict in ("higher", "equivalent")


def _tuning(results: Results, found: Mapping[tuple[str, str], Estimate], task: str) -> str:
    sides = {e.by["model"]: e for e in results.measure("ba_all") if e.by["task"] == task and "prompt" not in e.by}
    delta, mde, coverage = (found[name, task] for name in ("delta_ba_all", "delta_ba_all_mde", "delta_coverage"))
    values = " → ".join(f"{sides[m].value:.3f}" for m in ("tinyllava", "tinyllava_ft"))
    return (
        f"{task}: {delta.n_cases} questions, ba_all {values}, Δ {delta.value:+.3f} [{delta.low:+.3f}, {delta.high:+.3f}] "
        f"{delta.verdict} (detectable {mde.value:.3f}), coverage {coverage.value:+.3f} {coverage.verdict}"
    )


def _plain_difference(task: str) -> float:
    """Tuned − base of the mean of sensitivity and specificity, by whether the text begins with yes or no."""
    scores: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for row in rows("medvqa_llavamed_tinyllava", "responses.csv"):
        truth = row["gt"].strip().rstrip(".").casefold()
        if row["dataset"] == task and truth in ("yes", "no"):
            first = re.match(r"\W*(\w+)", row["response"])
            scores[row["model"], truth].append(first is not None and first[1].casefold() == truth)
    each = {m: np.mean([np.mean(scores[m, truth]) for truth in ("yes", "no")]) for m in ("tinyllava", "tinyllava_ft")}
    return float(each["tinyllava_ft"] - each["tinyllava"])
