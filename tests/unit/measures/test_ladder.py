"""The ladder on models whose loss is known: where it is named, what it is worth, and when nothing is said."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from palpate.descriptions import Descriptions, Diagnoses
from palpate.measures.ladder import CHOSEN, WALKED, Ladder
from palpate.nouns import Estimate, Panel
from palpate.parts import Measure, MeasureSettings
from palpate.rung import Rung
from planted import panel
from planted_ladder import AFTER_PROJECTOR, BLIND, IN_PROJECTOR, NOT_READ_OUT, NOTHING_LOST, REFUSING, SHIFTED, PlantedLadder

SETTINGS = MeasureSettings(seed=0, draws=100)


@cache
def planted(plan_name: str) -> Panel:
    return {
        "blind": BLIND,
        "after projector": AFTER_PROJECTOR,
        "in projector": IN_PROJECTOR,
        "not read out": NOT_READ_OUT,
        "shifted": SHIFTED,
        "refusing": REFUSING,
        "nothing": replace(NOTHING_LOST, control=True),
    }[plan_name].panel(1)


@cache
def estimates(plan_name: str) -> tuple[Estimate, ...]:
    return tuple(Ladder().measure([planted(plan_name)], SETTINGS))


def one(found: tuple[Estimate, ...], measure: str, **by: str) -> Estimate:
    (e,) = (e for e in found if e.measure == measure and all(e.by.get(k) == v for k, v in by.items()))
    return e


def verdicts(found: tuple[Estimate, ...]) -> dict[str, str | None]:
    return {e.by["step"]: e.verdict for e in found if e.measure == "ladder_loss"}


def bottlenecks(found: tuple[Estimate, ...]) -> list[str]:
    return [step for step, word in verdicts(found).items() if word == "bottleneck"]


def test_it_is_a_measure_of_question_six() -> None:
    assert isinstance(Ladder(), Measure)
    assert Ladder.question == 6
    assert set(CHOSEN) - {"hidden"} < set(WALKED)


@pytest.mark.parametrize(
    ("plan", "step"),
    [
        ("after projector", "projector>image"),
        ("in projector", "read>projector"),
        ("not read out", "last>margin"),
        ("shifted", "margin>text"),
        ("refusing", "margin>text"),
    ],
)
def test_the_loss_is_found_where_it_was_put(plan: str, step: str) -> None:
    found = estimates(plan)
    assert bottlenecks(found) == [step]
    loss = one(found, "ladder_loss", step=step)
    assert loss.low is not None
    assert loss.low > 0


def test_a_model_that_guesses_and_leaves_much_open_has_nothing_to_lose() -> None:
    silent = replace(BLIND, refuses=(0.5, 0.7))
    found = tuple(Ladder().measure([silent.panel(1)], SETTINGS))
    assert one(found, "ladder_loss", step="margin>text").value > 0.2
    assert verdicts(found)["margin>text"] == "loss"  # balanced accuracy is lost, no knowledge is
    assert bottlenecks(found) == []


def test_what_is_gone_by_the_margin_is_not_blamed_on_answers_left_open() -> None:
    silent = replace(NOT_READ_OUT, refuses=(0.9, 0.9))
    found = tuple(Ladder().measure([silent.panel(1)], SETTINGS))
    lost = {step: one(found, "ladder_loss", step=step).value for step in ("last>margin", "margin>text")}
    assert lost["margin>text"] > lost["last>margin"] > 0.25
    assert bottlenecks(found) == ["last>margin"]


@pytest.mark.parametrize("plan", ["blind", "nothing"])
def test_where_nothing_is_lost_on_the_way_no_bottleneck_is_named(plan: str) -> None:
    assert bottlenecks(estimates(plan)) == []


def test_a_blind_encoder_sees_nothing_beyond_colours_and_a_seeing_one_does() -> None:
    assert one(estimates("blind"), "ladder_gain", stage="read").verdict != "sees"
    assert one(estimates("after projector"), "ladder_gain", stage="read").verdict == "sees"
    assert one(estimates("after projector"), "ladder_gain", stage="image").verdict != "sees"


def test_what_is_known_and_not_said_is_latent() -> None:
    assert one(estimates("not read out"), "representation_loss").verdict == "latent"
    assert one(estimates("shifted"), "representation_loss").verdict != "latent"
    assert one(estimates("nothing"), "representation_loss").verdict != "latent"


def test_values_are_those_of_the_rungs_by_scikit_learn() -> None:
    shown, found = planted("nothing"), estimates("nothing")
    for rung in shown.rungs["target"]:
        wanted = roc_auc_score(shown.label, rung.score)
        assert one(found, "ladder_auroc", stage=rung.stage).value == pytest.approx(wanted)
        by_class = [rung.right[shown.label == y].mean() for y in (0, 1)]
        assert one(found, "ladder_ba", stage=rung.stage).value == pytest.approx(np.mean(by_class))
        if rung.control is not None:
            assert one(found, "ladder_selectivity", stage=rung.stage).value == pytest.approx(wanted - rung.control)
    text = one(found, "ladder_ba", stage="text")
    assert text.value == pytest.approx(balanced_accuracy_score(shown.label, (shown.outcome[:, 0, 0] == 0).astype(int)))
    assert one(found, "ladder_auroc", stage="margin").value == pytest.approx(roc_auc_score(shown.label, shown.margin[:, 0, 0]))


def test_values_are_those_planted() -> None:
    found = estimates("nothing")
    for stage in ("read", "projector", "last", "margin"):
        assert one(found, "ladder_auroc", stage=stage).value == pytest.approx(norm.cdf(2 / np.sqrt(2)), abs=0.04)
        assert one(found, "ladder_ba", stage=stage).value == pytest.approx(norm.cdf(1), abs=0.05)
    assert one(found, "ladder_auroc", stage="metadata").value == pytest.approx(0.5, abs=0.1)


def test_a_loss_is_the_difference_of_its_stages_and_all_losses_add_up() -> None:
    found = estimates("shifted")
    steps = [e for e in found if e.measure == "ladder_loss"]
    assert [e.by["step"] for e in steps] == [f"{a}>{b}" for a, b in pairwise(WALKED[:7])]
    for e in steps:
        first, second = (one(found, "ladder_ba", stage=s).value for s in e.by["step"].split(">"))
        assert e.value == pytest.approx(first - second)  # type: ignore[operator]
    whole = one(found, "ladder_ba", stage="vision").value - one(found, "ladder_ba", stage="text").value  # type: ignore[operator]
    assert sum(e.value for e in steps if e.value is not None) == pytest.approx(whole)


def test_a_refusal_is_a_loss_of_the_text_and_not_of_the_margin() -> None:
    found = estimates("refusing")
    assert one(found, "ladder_loss", step="last>margin").verdict != "bottleneck"
    assert one(found, "ladder_ba", stage="text").value < one(found, "ladder_ba", stage="margin").value - 0.2  # type: ignore[operator]


def test_a_twin_with_random_weights_is_a_baseline() -> None:
    shown = planted("nothing")
    rng = np.random.default_rng(0)
    rungs = tuple(replace(r, twin=rng.standard_normal(r.score.size)) if r.stage == "read" else r for r in shown.rungs["target"])
    found = tuple(Ladder().measure([replace(shown, rungs={"target": rungs})], SETTINGS))
    gain = one(found, "ladder_gain_over_random", stage="read")
    assert gain.low is not None
    assert gain.low > 0.2
    assert gain.verdict is None


def test_without_inner_states_nothing_is_said() -> None:
    plain = replace(planted("nothing"), rungs={})
    assert list(Ladder().measure([plain], SETTINGS)) == []
    other = replace(planted("nothing"), rungs={"abnormal": planted("nothing").rungs["target"]})
    assert list(Ladder().measure([other], SETTINGS)) == []


def test_a_model_without_margins_is_walked_from_its_last_layer_to_its_text() -> None:
    shown = planted("nothing")
    found = tuple(Ladder().measure([replace(shown, margin=np.full(shown.margin.shape, np.nan))], SETTINGS))
    assert "last>text" in verdicts(found)
    assert not [e for e in found if e.measure == "representation_loss" or e.by.get("stage") == "margin"]


def test_cases_without_states_are_left_out_and_counted() -> None:
    shown = planted("nothing")
    gone = np.zeros(shown.label.size, bool)
    gone[:40] = True

    def without(rung: Rung) -> Rung:
        return replace(rung, score=np.where(gone, np.nan, rung.score), right=np.where(gone, np.nan, rung.right))

    found = tuple(Ladder().measure([replace(shown, rungs={"target": tuple(map(without, shown.rungs["target"]))})], SETTINGS))
    read = one(found, "ladder_auroc", stage="read")
    assert (read.n_cases, read.n_left_out) == (460, 40)
    assert one(found, "ladder_ba", stage="text").n_cases == 500
    assert one(found, "ladder_loss", step="margin>text").n_left_out == 0
    assert one(found, "ladder_loss", step="read>projector").n_left_out == 40


def test_a_stage_of_many_directions_for_its_cases_is_called_wide() -> None:
    made = planted("nothing")
    rungs = tuple(replace(r, width={"read": 49.0, "projector": 51.0}.get(r.stage)) for r in made.rungs["target"])
    found = tuple(Ladder().measure([replace(made, rungs={"target": rungs})], SETTINGS))
    widths = {e.by["stage"]: (e.value, e.low, e.verdict, e.n_cases) for e in found if e.measure == "ladder_width"}
    assert widths == {"read": (49.0, None, "narrow", 500), "projector": (51.0, None, "wide", 500)}


def test_one_group_of_a_class_gives_a_reason_and_no_number() -> None:
    label = np.array([0] * 6 + [1] * 4)
    rung = Rung("read", np.arange(10.0), np.ones(10))
    made = panel(np.zeros((10, 1)), label, np.array([0, 1, 2, 3, 4, 5, 6, 6, 6, 6]), rungs={"target": (rung,)})
    for e in Ladder().measure([made], SETTINGS):
        assert e.value is None
        assert e.reason


def test_intervals_are_wider_where_patients_have_many_images() -> None:
    width = {}
    for per_group in (1, 10):
        found = tuple(Ladder().measure([PlantedLadder(per_class=150, per_group=per_group).panel(3)], SETTINGS))
        e = one(found, "ladder_auroc", stage="read")
        assert e.n_clusters == 300 // per_group
        width[per_group] = e.high - e.low  # type: ignore[operator]
    assert width[10] > 0


# ---------------------------------------------------------------- what others make of its descriptions


def described(right: float) -> Panel:
    """Nothing lost on the way, and two readers right in that share of its descriptions."""
    one = planted("nothing")
    rng = np.random.default_rng(4)
    read = []
    for reader in ("a", "b"):
        truth = np.where(one.label == 1, 0, 1)[:, None, None]  # codes of positive and negative
        outcome = np.where(rng.random((one.label.size, 2, 1)) < right, truth, 1 - truth).astype(np.int8)
        nothing = np.full(outcome.shape, np.nan)
        read.append(Diagnoses(reader, "one_word", "real", False, outcome, nothing, nothing))
        read.append(Diagnoses(reader, "disease", "real", False, 1 - outcome, nothing, nothing))  # another question
        read.append(Diagnoses(reader, "one_word", "oracle", False, truth.repeat(2, axis=1).astype(np.int8), nothing, nothing))
    shape = (one.label.size, 2, 1)
    return replace(one, descriptions=Descriptions(("d1", "d2"), np.full(shape, -1, np.int8), np.ones(shape, bool), tuple(read)))


def test_descriptions_are_the_last_row_with_the_mean_of_all_readers():
    one = described(0.7)
    found = {e.by["stage"]: e for e in Ladder().measure([one], SETTINGS) if e.measure == "ladder_ba"}
    assert list(found)[-1] == "description"
    assert one.descriptions is not None
    columns = [d.outcome[:, k, 0] for d in one.descriptions.diagnoses[::3] for k in range(2)]
    each = [balanced_accuracy_score(one.label, column == 0) for column in columns]
    assert len(each) == 4
    assert found["description"].value == pytest.approx(np.mean(each))


@pytest.mark.parametrize(("right", "words"), [(0.5, {"loss"}), (0.99, {"gain"}), (0.835, {"kept", "no loss shown"})])
def test_what_readers_miss_is_no_bottleneck(right, words):
    steps = {e.by["step"]: e for e in Ladder().measure([described(right)], SETTINGS) if e.measure == "ladder_loss"}
    assert steps["text>description"].verdict in words
    assert not any(e.verdict == "bottleneck" for e in steps.values())


def test_without_readers_there_is_no_such_row():
    assert not any("description" in str(e.by) for e in estimates("nothing"))
