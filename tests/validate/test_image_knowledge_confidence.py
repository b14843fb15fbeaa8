"""Questions 5 to 7, fair comparison and signal detection: coverage of the 95 % intervals, planted models, null cases.

Every test prints its line for docs/methods.md, of 600 studies (PALPATE_STUDIES: another number). Held to: false verdicts at most
5 %, coverage 93 to 97 %, each with two Monte Carlo errors (0.9 points of a coverage of 95 %). Intervals that are wider than need be
by their making are held to the lower end alone, and named where that is so.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.stats import norm

from figures_found import record
from palpate.measures.calibration import Calibration
from palpate.measures.confidence import Confidence
from palpate.measures.corruption import Corruption
from palpate.measures.detection import Detection
from palpate.measures.discrimination import Discrimination
from palpate.measures.fair import Fair
from palpate.measures.image import Image
from palpate.measures.knowledge import Knowledge
from palpate.measures.occlusion import Occlusion
from palpate.measures.quadrants import Quadrants
from palpate.measures.suggestion import Suggestion
from palpate.nouns import Estimate, Lineage, Panel, Perturbation
from palpate.parts import Measure, MeasureSettings
from palpate.stats.power import size_for_knowledge
from planted import panel
from planted_margins import Blind, Seen, null, with_texts
from simulated import Tally

STUDIES = int(os.environ.get("PALPATE_STUDIES", "600"))


def false(studies: int = STUDIES, rate: float = 0.05) -> float:
    """A rate of 5 % is not seen above this in so many studies (two standard errors)."""
    return rate + 2 * (rate * (1 - rate) / studies) ** 0.5


FALSE = false()

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run(
    measure: Measure, make: Callable[[int], Sequence[Panel]], truths: dict[str, float], studies: int = STUDIES, **by: str
) -> dict[str, Tally]:
    """Coverage and verdicts of the cell's estimates named in ``truths`` over studies 0, 1, …"""
    tallies = {name: Tally() for name in truths}
    for s in range(studies):
        settings = MeasureSettings(lineages=(Lineage("base", "tuned"),), seed=s)
        for e in measure.measure(list(make(s)), settings):
            finer = {"prompt", "null_image", "quadrant"} & set(e.by) - set(by)
            if e.measure in truths and not finer and all(e.by.get(k) == v for k, v in by.items()):
                tallies[e.measure].add(e, truths[e.measure])
    return tallies


def show(line: str, tallies: dict[str, Tally]) -> None:
    for name, t in tallies.items():
        print(f"{line} | {name} | {t} | {dict(t.verdicts.most_common())}")


def held(tallies: dict[str, Tally], *, wide: Sequence[str] = (), least: int = STUDIES) -> None:
    """Coverage of 93 to 97 %, with two Monte Carlo errors; of those in ``wide`` no upper end is asked."""
    for name, t in tallies.items():
        assert t.studies > 0.9 * least, name
        slack = 2 * (0.05 * 0.95 / t.studies) ** 0.5
        assert t.coverage >= 0.93 - slack, (name, t.coverage)
        assert name in wide or t.coverage <= 0.97 + slack, (name, t.coverage)


def share(tally: Tally, *words: str) -> float:
    return sum(tally.verdicts[w] for w in words) / tally.studies


DESIGNS = {
    "100 single images": Seen(100, 1, 6, 1.5, within_cluster=0.0),
    "60 patients x 3": Seen(60, 3, 6, 1.5),
    "60 patients x 3, label by patient": Seen(60, 3, 6, 1.5, label_by_cluster=True),
    "250 single images": Seen(250, 1, 6, 1.0, within_cluster=0.0),
}


# ---------------------------------------------------------------- discrimination, d′ and criterion


@pytest.mark.parametrize("name", DESIGNS)
def test_auroc_d_prime_and_criterion_hold_their_level(name):
    plan = DESIGNS[name]
    plan = replace(plan, criterion=(-0.4, -0.2, 0.0, 0.2, 0.4, 0.6))
    signal = float(np.asarray(plan.signal))
    # The cell's AUROC is that of the mean margin: its noise is the common part and a sixth of the rest.
    spread = (plan.within_case + (1 - plan.within_case) / 6) ** 0.5
    area = run(Discrimination(), lambda s: [plan.panel(s)], {"auroc": float(norm.cdf(signal / spread / 2**0.5))})
    found = run(Detection(), lambda s: [plan.panel(s)], {"d_prime": signal, "criterion": 0.1})
    show(name, area | found)
    held(area | found)


@pytest.mark.parametrize("n", [100, 500])
def test_a_moving_criterion_is_bias_driven_a_moving_signal_is_not_and_no_effect_is_neither(n):
    shifted = Seen(n, 1, 12, 1.5, criterion=tuple(np.linspace(-0.8, 0.8, 12)), within_cluster=0.0)
    sharpened = Seen(n, 1, 12, signal=tuple(np.linspace(0.2, 2.8, 12)), within_cluster=0.0)
    alike = Seen(n, 1, 12, 1.5, within_cluster=0.0)
    true = float(np.std(shifted.criterion, ddof=1))
    tallies = {
        word: run(Detection(), lambda s, p=plan: [p.panel(s)], {"criterion_spread": true}, 200)["criterion_spread"]
        for word, plan in (("criterion moves", shifted), ("signal moves", sharpened), ("nothing moves", alike))
    }
    show(f"{n} single images", tallies)
    assert share(tallies["criterion moves"], "bias-driven") >= 0.95
    assert share(tallies["signal moves"], "bias-driven") <= 0.05
    assert share(tallies["nothing moves"], "bias-driven", "sensitivity varies") <= 0.05


# ---------------------------------------------------------------- threshold or knowledge


def spreads(make: Callable[[np.random.Generator], Seen], studies: int) -> tuple[np.ndarray, list[Estimate]]:
    """Mean signed variances and plain variances of BA and AUROC over the prompts, and the estimates of their difference."""
    from palpate.measures.wording import Wording

    rows, found = [], []
    for s in range(studies):
        one = make(np.random.default_rng([s, 8])).panel(s)
        made = {e.measure: e for e in Knowledge().measure([one], MeasureSettings(seed=s)) if "prompt" not in e.by}
        ba = {e.measure: e for e in Wording().measure([one], MeasureSettings(seed=s, draws=200)) if "prompt" not in e.by}
        area = made["auroc_spread"]
        signed = [float(e.method.split("signed variance ")[1].split(";")[0]) for e in (ba["prompt_spread"], area)]
        rows.append([*signed, ba["prompt_spread_naive"].value ** 2])
        found.append(made["spread_difference"])
    return np.array(rows).mean(axis=0), found


def root(variance: float) -> float:
    return float(np.sign(variance) * abs(variance) ** 0.5)


def test_the_working_notes_figures_of_both_spreads_are_reproduced():
    """60 patients × 5 images, 12 prompts: criterion shifts alone (.018/.000), and a signal that varies (.067/.088)."""
    # With d′ = 1.5, balanced accuracy at criterion c is [Φ(.75 − c) + Φ(.75 + c)]/2: a normal c of this width moves it by .018.
    base = Seen(60, 5, 12, 1.5, within_case=0.4)
    width = 0.358
    shifts, found = spreads(lambda rng: replace(base, criterion=tuple(rng.normal(0, width, 12))), 300)
    c = np.random.default_rng(0).normal(0, width, 200_000)
    true = float(np.std((norm.cdf(0.75 - c) + norm.cdf(0.75 + c)) / 2))
    word = np.mean([e.verdict == "threshold problem" for e in found])
    print(
        f"criterion shifts, true {true:.3f}/.000 | BA {root(shifts[0]):.3f} (plain {shifts[2] ** 0.5:.3f}) "
        f"| AUROC {root(shifts[1]):.3f}"
    )
    print(f"criterion shifts | called a threshold problem {word:.3f}")
    assert root(shifts[0]) == pytest.approx(true, abs=0.004)
    assert abs(root(shifts[1])) < 0.008
    moved, found = spreads(lambda rng: replace(base, signal=tuple(rng.normal(0.7, 0.357, 12))), 300)
    d = np.random.default_rng(1).normal(0.7, 0.357, 200_000)
    true_ba, true_area = float(np.std(norm.cdf(d / 2))), float(np.std(norm.cdf(d / 2**0.5)))
    wrong = np.mean([e.verdict == "threshold problem" for e in found])
    print(
        f"signal varies, true {true_ba:.3f}/{true_area:.3f} | BA {root(moved[0]):.3f} | AUROC {root(moved[1]):.3f} "
        f"| wrong {wrong:.3f}"
    )
    assert root(moved[0]) == pytest.approx(true_ba, abs=0.004)
    assert root(moved[1]) == pytest.approx(true_area, abs=0.006)
    assert wrong <= 0.05
    cover = np.mean([e.low <= true_ba - true_area <= e.high for e in found])
    print(f"signal varies | difference of spreads covered {cover:.3f}")
    assert cover >= 0.93


@pytest.mark.parametrize("n", [100, 500])
def test_no_prompt_effect_makes_no_threshold_problem(n):
    alike = Seen(n, 1, 12, 1.2, within_cluster=0.0)
    tallies = run(Knowledge(), lambda s: [alike.panel(s)], {"spread_difference": 0.0, "criterion_loss": 0.0})
    show(f"nothing moves, {n} single images", tallies)
    assert share(tallies["spread_difference"], "threshold problem", "wording changes what is seen") <= FALSE
    assert share(tallies["criterion_loss"], "threshold problem") <= FALSE
    held(tallies, wide=tuple(tallies))  # the threshold is already the best; a spread of 0 has no other side


@pytest.mark.parametrize(("n", "shift"), [(100, 1.2), (250, 0.8), (500, 1.2)])
def test_the_criterion_loss_holds_its_level(n, shift):
    plan = Seen(n, 1, 6, 1.5, criterion=(shift,) * 6, within_cluster=0.0)
    own = float(norm.cdf(0.75))
    said = float(norm.cdf(0.75 - shift) + norm.cdf(0.75 + shift)) / 2
    tallies = run(Knowledge(), lambda s: [plan.panel(s)], {"criterion_loss": own - said, "ba_own_threshold": own})
    show(f"{n} single images, criterion {shift}", tallies)
    held(tallies, wide=("criterion_loss",))  # its high end is that of a threshold fitted on the cases themselves
    assert share(tallies["criterion_loss"], "threshold problem") >= 0.95


def test_no_knowledge_is_no_threshold_problem_and_is_called_a_knowledge_problem():
    plan = Seen(250, 1, 6, 0.0001, criterion=(1.0,) * 6, within_cluster=0.0)
    tallies = run(Knowledge(), lambda s: [plan.panel(s)], {"criterion_loss": 0.0})
    show("no knowledge, 250 single images", tallies)
    assert share(tallies["criterion_loss"], "threshold problem") <= FALSE
    held(tallies, wide=("criterion_loss",))
    # What a threshold fitted on the cases themselves seems to gain is allowed for, so that a third stay undetermined.
    assert share(tallies["criterion_loss"], "knowledge problem") >= 0.5


@pytest.mark.parametrize("prompts", [1, 3, 6, 12])
def test_a_lack_of_knowledge_is_called_so_where_the_plan_foretells_it(prompts):
    """``palpate plan`` gives the images from which four studies of five say it."""
    n = 2 * (size_for_knowledge(prompts) // 2)
    words: Counter[str] = Counter()
    for s in range(400):
        plan = Seen(n, 1, prompts, 0.0001, criterion=(1.0,) * prompts, within_cluster=0.0)
        found = Knowledge().measure([plan.panel(s)], MeasureSettings(seed=s))
        words[str(next(e.verdict for e in found if e.measure == "criterion_loss"))] += 1
    power = words["knowledge problem"] / 400
    record("No knowledge: called a knowledge problem, 80 % foretold", f"{n} images, {prompts} wordings", share=power)
    assert 0.74 <= power <= 0.9
    assert words["threshold problem"] / 400 <= FALSE


# ---------------------------------------------------------------- image


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize(("clusters", "size"), [(100, 1), (60, 3)])
def test_a_model_that_does_not_look_is_named_so(clusters, size, repeats):
    prior = (0.0, 1.0, 1.0, 0.0) if repeats == 1 else (0.2, 0.5, 0.7, 0.0)
    plan = Blind(clusters, size, prior, repeats)
    tallies = run(Image(), plan.panels, {"image_dependence": 0.0, "label_dependence": 0.0, "answer_information": 0.0})
    if repeats == 1:
        del tallies["answer_information"]
    show(f"blind, {clusters} x {size}, {repeats} repeats", tallies)
    wrong = share(tallies["image_dependence"], "uses the image", "looks but blind")
    assert wrong <= FALSE
    held(tallies, wide=("image_dependence", "answer_information"))  # no answer differs, or by the rerun alone
    assert share(tallies["image_dependence"], "ignores the image") >= (0.9 if repeats == 1 or clusters * size > 150 else 0.5)


@pytest.mark.parametrize(("clusters", "size"), [(100, 1), (500, 1), (100, 5)])
def test_a_model_that_looks_but_sees_nothing_is_rarely_said_to_use_the_image(clusters, size):
    plan = Seen(clusters, size, 6, 1.0, within_cluster=0.2 if size > 1 else 0.0)

    def make(s: int) -> list[Panel]:
        one = plan.panel(s)
        other = np.random.default_rng([s, 4]).permutation(np.arange(clusters * size) % 2).astype(np.int8)
        one = replace(one, label=other)  # what it sees has nothing to do with the condition
        return [one, null(one, s)]

    tallies = run(Image(), make, {"image_dependence": 0.5, "label_dependence": 0.0})
    show(f"looks but blind, {clusters} x {size}", tallies)
    # What the model sees has as many of each kind in every study, and no label that could tell: its share varies less than chance.
    held(tallies, wide=("image_dependence",))
    words = "uses the image", "sees, but says the opposite", "ignores the image"
    assert share(tallies["image_dependence"], *words) <= FALSE
    if clusters == 500:
        assert share(tallies["image_dependence"], "looks but blind") >= 0.9


def test_a_model_that_sees_uses_the_image():
    plan = Seen(60, 3, 6, 1.5)
    spread = (0.5 + 0.5 / 6) ** 0.5
    truth = {"image_dependence": 0.5, "label_dependence": float(norm.cdf(1.5 / spread / 2**0.5)) - 0.5}
    tallies = run(Image(), lambda s: [plan.panel(s), null(plan.panel(s), s)], truth)
    show("sees, 60 patients x 3", tallies)
    held(tallies)
    assert share(tallies["image_dependence"], "uses the image") >= 0.95


def test_quadrants_hold_their_level():
    plan = Seen(60, 3, 10, 1.5, within_case=0.8)

    @cache
    def truth() -> dict[str, float]:
        one = replace(plan, clusters=20_000).panel(123)
        found = Quadrants().measure([one, null(one)], MeasureSettings())
        return {e.by["quadrant"]: float(e.value) for e in found}

    for quadrant, true in truth().items():
        tallies = run(Quadrants(), lambda s: [plan.panel(s), null(plan.panel(s), s)], {"quadrant_share": true}, quadrant=quadrant)
        show(f"quadrant {quadrant}, true {true:.3f}", tallies)
        held(tallies)


# ---------------------------------------------------------------- text, corruption, occlusion


@pytest.mark.parametrize("pull", [0.0, 1.0, 3.0])
def test_the_pull_of_the_text_holds_its_level(pull):
    plan = Seen(60, 3, 2, 1.5)
    image = 1.5**2
    truths = {"suggestion_sway": pull, "text_share": 2 * pull / (2 * pull + image)}
    t = pull / 1.5  # the shift of the evidence
    noise = (1 + (0.3 / 1.5) ** 2) ** 0.5  # the evidence's own and the text's
    truths["suggestion_effect"] = float(norm.cdf((0.75 + t) / noise) - norm.cdf((0.75 - t) / noise))
    studies = 1000
    fresh = {}

    def make(s: int) -> list[Panel]:
        rng = np.random.default_rng([s, 6])
        one = plan.panel(s)
        # The text moves it by a different amount for each case.
        moved = with_texts(one, pull)
        jitter = rng.normal(0, 0.3, (one.label.size, 1, 1)) * np.array([1.0, -1.0])[None, :, None]
        margin = moved.margin + jitter
        fresh[s] = replace(moved, margin=margin, outcome=np.where(margin > 0, 0, 1).astype(np.int8))
        return [fresh.pop(s)]

    tallies = run(Suggestion(), make, truths, studies)
    show(f"pull {pull}", tallies)
    held(tallies)
    if pull == 0.0:
        assert share(tallies["suggestion_effect"], "swayed by the text", "contrary to the text") <= false(studies)
        assert share(tallies["text_share"], "follows the text") <= false(studies)
    if pull == 3.0:
        assert share(tallies["text_share"], "follows the text") >= 0.95


@pytest.mark.parametrize("loss", [0.0, 0.4])
@pytest.mark.parametrize(("clusters", "size"), [(100, 1), (60, 3)])
def test_the_corruption_slope_holds_its_level(loss, clusters, size):
    """Level k adds loss · k of noise; with loss 0 the noise of each prompt is merely drawn anew."""
    plan = Seen(clusters, size, 4, 2.0, within_cluster=0.2 if size > 1 else 0.0)
    ba = norm.cdf(1 / np.sqrt(1 + (loss * np.arange(6)) ** 2))
    slope = float(np.polyfit(range(6), ba, 1)[0])

    def make(s: int) -> list[Panel]:
        rng = np.random.default_rng([s, 2])
        label, cluster = plan.cases(rng)
        x = plan.evidence(label, cluster, rng)
        found = [plan.of(x, label, cluster)]
        for k in range(1, 6):
            noise = rng.standard_normal(x.shape)
            worse = plan.evidence(label, cluster, rng) if loss == 0 else x + loss * k * noise
            found.append(plan.of(worse, label, cluster, perturbation=Perturbation("blur", k)))
        return found

    tallies = run(Corruption(), make, {"corruption_slope": slope}, 400, family="blur")
    tallies |= run(Corruption(), make, {"corruption_drop": float(ba[0] - ba[3])}, 400, perturbation="blur-3")
    show(f"corruption, loss {loss}, {clusters} x {size}", tallies)
    held(tallies, least=400)
    verdict = tallies["corruption_slope"]
    assert share(verdict, "falls") >= 0.95 if loss else share(verdict, "falls", "rises") <= false(400)


@pytest.mark.parametrize(("lesion", "elsewhere"), [(0.2, 0.2), (0.4, 0.1)])
def test_grounding_holds_its_level(lesion, elsewhere):
    def make(s: int) -> list[Panel]:
        rng = np.random.default_rng([s, 1])
        label, cluster = np.tile([0, 1, 1], 60), np.repeat(np.arange(60), 3)
        codes = np.where((rng.random((180, 4)) < 0.8) == (label == 1)[:, None], 0, 1)
        one = panel(codes, label, cluster)
        found = [one]
        for name, loss in (("occlude_lesion", lesion), ("occlude_matched", elsewhere)):
            own = norm.ppf(loss) > 0.6 * rng.standard_normal((180, 1)) + 0.8 * rng.standard_normal((180, 4))
            outcome = np.where(own & (codes == 0), 1, codes)[:, :, None].astype(np.int8)
            found.append(replace(one, perturbation=Perturbation(name), outcome=outcome))
        return found

    tallies = run(Occlusion(), make, {"occlusion_grounding": lesion - elsewhere, "occlusion_change_lesion": lesion})
    show(f"occlusion {lesion}/{elsewhere}", tallies)
    held(tallies)
    word = share(tallies["occlusion_grounding"], "looks at the lesion")
    assert word <= false(rate=0.025) if lesion == elsewhere else word >= 0.95


# ---------------------------------------------------------------- confidence


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_calibration_holds_its_level(name, scale):
    plan = replace(DESIGNS[name], scale=scale)

    @cache
    def skill() -> float:
        one = replace(plan, clusters=40_000, per_cluster=1, prompts=1).panel(9)
        found = Calibration().measure([one], MeasureSettings())
        return next(float(e.value) for e in found if e.measure == "brier_skill" and "prompt" not in e.by)

    truths = {"calibration_slope": 1 / scale, "calibration_intercept": 0.0, "brier_skill": skill()}
    tallies = run(Calibration(), lambda s: [plan.panel(s)], truths)
    show(f"{name}, margins × {scale}", tallies)
    held(tallies)
    slope = tallies["calibration_slope"]
    if scale == 3.0:
        assert share(slope, "overconfident") >= 0.95
    else:
        assert share(slope, "overconfident", "underconfident") <= FALSE


@pytest.mark.parametrize("name", DESIGNS)
def test_failure_and_risk_hold_their_level(name):
    plan = DESIGNS[name]

    @cache
    def truth() -> dict[str, float]:
        one = replace(plan, clusters=60_000, per_cluster=1, prompts=1).panel(9)
        wanted = ("auroc_failure", "augrc", "risk_at_80")
        found = Confidence().measure([one], MeasureSettings())
        return {
            e.measure: float(e.value)
            for e in found
            if e.measure in wanted and e.by.get("confidence") == "margin" and "prompt" not in e.by
        }

    tallies = run(Confidence(), lambda s: [plan.panel(s)], truth(), confidence="margin")
    show(name, tallies)
    held(tallies)


@pytest.mark.parametrize("n", [100, 500])
def test_confidence_that_says_nothing_is_rarely_called_usable(n):
    plan = Seen(n, 1, 6, 1.2, within_cluster=0.0)

    def make(s: int) -> list[Panel]:
        one = plan.panel(s)
        return [replace(one, margin=np.sign(one.margin) * np.random.default_rng([s, 3]).random((n, 1, 1)))]

    tallies = run(Confidence(), make, {"auroc_failure": 0.5}, confidence="margin")
    show(f"uninformative confidence, {n} single images", tallies)
    held(tallies)
    assert share(tallies["auroc_failure"], "usable") <= false(rate=0.025)


@pytest.mark.parametrize("informed", [False, True])
@pytest.mark.parametrize(("clusters", "size"), [(100, 1), (60, 3)])
def test_refusals_are_called_informed_where_they_are(informed, clusters, size):
    plan = Seen(clusters, size, 6, 1.5, within_cluster=0.2 if size > 1 else 0.0)

    def make(s: int, plan: Seen = plan) -> list[Panel]:
        one = plan.panel(s)
        rng = np.random.default_rng([s, 7])
        chance = np.where(np.abs(one.margin) < 0.8, 0.5, 0.1) if informed else 0.25
        return [replace(one, outcome=np.where(rng.random(one.outcome.shape) < chance, 3, one.outcome).astype(np.int8))]

    large = replace(plan, clusters=60_000, per_cluster=1, prompts=1)
    found = Confidence().measure(make(1, large), MeasureSettings())
    truth = next(float(e.value) for e in found if e.measure == "informed_refusal") if informed else 0.0
    tallies = run(Confidence(), make, {"informed_refusal": truth})
    show(f"informed {informed}, {clusters} x {size}, true {truth:.3f}", tallies)
    held(tallies)
    if not informed:
        assert share(tallies["informed_refusal"], "informed", "misplaced") <= FALSE


# ---------------------------------------------------------------- tuning


@pytest.mark.parametrize("gain", [0.0, 0.5])
@pytest.mark.parametrize(("clusters", "size"), [(100, 1), (60, 3)])
def test_the_difference_of_areas_and_of_best_prompts_holds_its_level(gain, clusters, size):
    base = Seen(clusters, size, 6, 1.2, within_cluster=0.2 if size > 1 else 0.0)
    tuned = replace(base, signal=1.2 + gain)
    spread = (0.5 + 0.5 / 6) ** 0.5
    truths = {
        "delta_auroc": float(norm.cdf((1.2 + gain) / spread / 2**0.5) - norm.cdf(1.2 / spread / 2**0.5)),
        "delta_ba_best_prompts": float(norm.cdf(0.6 + gain / 2) - norm.cdf(0.6)),
    }

    def make(s: int) -> list[Panel]:
        rng = np.random.default_rng([s, 1])
        label, cluster = base.cases(rng)
        return [p.of(p.evidence(label, cluster, rng), label, cluster, model=m) for m, p in (("base", base), ("tuned", tuned))]

    tallies = run(Fair(), make, truths)
    show(f"gain of d′ {gain}, {clusters} x {size}", tallies)
    held(tallies)
    if gain == 0.0:
        for t in tallies.values():
            assert share(t, "better", "worse") <= FALSE
