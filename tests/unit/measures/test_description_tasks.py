"""The gain of descriptions over the tasks of a model: its p agrees with its intervals, and Holm corrects each claim by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import planted_descriptions as planted
from palpate.measures._cells import cells
from palpate.measures._described import direct, gain, table
from palpate.measures._recovered import CARRIED, CLAIMS, GREY, LEAK, NOTHING, OPEN, OTHERS, Evidence, Judge
from palpate.measures.description import Description
from palpate.nouns import Estimate, Panel
from palpate.parts import MeasureSettings, Thresholds
from planted_descriptions import Planted

HELD: dict[str, Planted] = {
    CARRIED: planted.IN_DESCRIPTION,
    OTHERS: planted.STRONGER_READER,
    LEAK: planted.LEAKS,
    GREY: planted.LEAKS_FROM_ELSEWHERE,
}
"""By claim, a model of which it holds."""
WHY = "by itself an effect ({}) would be shown; after Holm's correction over tasks it is not"


def gains(panels: Sequence[Panel], name: str = "description_gain", **bounds: float) -> list[Estimate]:
    """All gains of all panels, in their order."""
    found = Description().measure(panels, MeasureSettings(thresholds=Thresholds(**bounds)))
    return [e for e in found if e.measure == name]


def verdicts(panels: Sequence[Panel], **bounds: float) -> list[Estimate]:
    return [e for e in gains(panels, **bounds) if not {"reader", "input"} & set(e.by)]


def tasks(panel: Panel, count: int) -> list[Panel]:
    """The very same answers on so many tasks."""
    return [replace(panel, task=f"t{t}") for t in range(count)]


def nearest(panel: Panel, claim: str) -> float:
    """The lowest of the low ends that the claim is held to by the bound."""
    needs = {CARRIED: ({}, {"input": "masked"}, {"reader": "own"}), OTHERS: ({}, {"input": "masked"}, {"reader": "reader"})}
    found = {tuple(sorted((k, v) for k, v in e.by.items() if k in ("reader", "input"))): e.low for e in gains([panel])}
    return min(float(found[tuple(by.items())] or 0.0) for by in needs.get(claim, ({},)))


@pytest.mark.parametrize("seed", range(6))
def test_the_p_is_below_alpha_exactly_where_the_interval_lies_above_the_bound(seed):
    """At every level and bound, also over a fitted threshold, whose low end is another statistic's."""
    panel = Planted(direct=1.2, findings=1.6, per_class=30).panel(seed)
    told = panel.descriptions
    assert told is not None
    columns = table(panel, told.diagnoses, told.prompts).only(lambda d, _: d.input == "real")
    rival = direct(next(cells(panel)))
    careful = replace(rival, best=np.minimum(rival.right + 0.05, 1.0))
    seen = set()
    for found in (gain(columns, rival), gain(columns, careful)):
        for bound in np.linspace(-0.2, 0.3, 26).tolist():
            for level in (0.5, 0.8, 0.9, 0.95, 0.99):
                low, score = found.interval(level).low, found.score_interval(level).low
                shown = float(low) > bound and float(score) > 0.5
                assert (found.p_above(bound) < 1 - level) == shown
                seen.add(shown)
    assert seen == {True, False}


def test_the_p_is_that_of_student_s_t_on_its_own_error_or_of_the_score_where_that_says_less():
    panel = planted.IN_DESCRIPTION.panel(7)
    told = panel.descriptions
    assert told is not None
    found = gain(table(panel, told.diagnoses, told.prompts).only(lambda d, _: d.input == "real"), direct(next(cells(panel))))
    interval = found.interval(0.95)
    bound = float(found.gain.value - 2 * interval.error)
    assert found.p_above(bound) == pytest.approx(2 * stats.t.sf(2, interval.freedom))
    assert found.p_above(float(found.gain.value) + 1e-9) == 1.0  # not above it: never shown, however far below
    few = Planted(direct=-1.5, findings=0.2, per_class=40).panel(3)
    told = few.descriptions
    assert told is not None
    guessed = gain(table(few, told.diagnoses, told.prompts).only(lambda d, _: d.input == "real"), direct(next(cells(few))))
    level = 1 - guessed.p_above(0.0)
    assert float(guessed.interval(level).low) > 0.1  # far more than the wrong answers it is held against …
    assert float(guessed.score_interval(level).low) == pytest.approx(0.5, abs=1e-6)  # … by little more than guessing


@pytest.mark.parametrize("claim", HELD)
def test_over_two_tasks_alike_a_gain_just_above_the_bound_is_no_longer_named(claim):
    """p is just below .05 for each alone, so Holm leaves neither; well above the bound it leaves both."""
    panel, word = HELD[claim].panel(7), CLAIMS[claim]
    end = nearest(panel, claim)
    (one,) = verdicts([panel], description_gain=end - 0.002)
    assert (one.verdict, one.reason) == (word, None)
    (past,) = verdicts([panel], description_gain=end + 0.002)
    assert past.verdict != word
    for e in verdicts(tasks(panel, 2), description_gain=end - 0.002):
        assert (e.verdict, e.reason) == (OPEN, WHY.format(word))
        assert (e.value, e.low, e.high) == (one.value, one.low, one.high)
    assert [(e.verdict, e.reason) for e in verdicts(tasks(panel, 2), description_gain=end / 2)] == [(word, None)] * 2


def test_grey_images_that_are_only_just_sure_to_tell_the_label_are_no_leak_among_many_tasks_and_nothing_is_carried():
    """At 99 % by itself; over ten tasks that is not enough, and the description is not cleared by it either."""
    plan = replace(planted.IN_DESCRIPTION, grey=0.35, per_class=60)
    for seed in range(40):
        panel = plan.panel(seed)
        (alone,) = verdicts([panel])
        among = verdicts(tasks(panel, 10))
        if alone.verdict == LEAK and among[0].verdict != LEAK:
            assert {(e.verdict, e.reason) for e in among} == {(OPEN, WHY.format(LEAK))}
            break
    else:
        pytest.fail("no such seed")


def test_other_models_and_the_gain_over_the_margin_are_families_of_their_own():
    panel = planted.IN_DESCRIPTION.panel(7)
    low = nearest(panel, CARRIED)
    among = [panel, *(replace(p, model="another") for p in tasks(planted.AS_MUCH.panel(1), 3))]
    assert verdicts(among, description_gain=low - 0.002)[0].verdict == CARRIED
    same = [panel, *tasks(planted.AS_MUCH.panel(1), 3)]
    assert verdicts(same, description_gain=low - 0.002)[0].verdict == OPEN


def test_a_task_on_which_no_gain_is_known_is_not_counted():
    panel = planted.IN_DESCRIPTION.panel(7)
    nothing = replace(panel, task="t9", label=np.zeros_like(panel.label))
    low = nearest(panel, CARRIED)
    found = verdicts([panel, nothing], description_gain=low - 0.002)
    assert [e.verdict for e in found] == [CARRIED, None]


def test_a_task_whose_control_was_not_read_is_counted_as_one_that_shows_nothing():
    panel = planted.IN_DESCRIPTION.panel(7)
    told = panel.descriptions
    assert told is not None
    bare = replace(panel, task="t9", descriptions=replace(told, diagnoses=tuple(d for d in told.diagnoses if d.input != "masked")))
    assert [e.verdict for e in verdicts([panel, bare], description_gain=nearest(panel, CARRIED) - 0.002)] == [OPEN, OPEN]


def test_a_gain_that_holm_leaves_unshown_may_still_be_shown_to_be_small():
    """As every equivalence: not corrected, and said with its reason beside it."""
    panel = planted.IN_DESCRIPTION.panel(7)
    bounds = {"description_gain": nearest(panel, CARRIED) - 0.002, "equivalence": 0.49}
    assert [e.verdict for e in verdicts([panel], **bounds)] == [CARRIED]
    assert [(e.verdict, e.reason) for e in verdicts(tasks(panel, 2), **bounds)] == [(NOTHING, WHY.format(CARRIED))] * 2


def of_own(panel: Panel, measure: str, level: float, given: str | None = None) -> Estimate:
    """The first of the model's own reader, on what it was given."""
    found = Description().measure([panel], MeasureSettings(level=level))
    return next(e for e in found if e.measure == measure and e.by.get("reader") == "own" and e.by.get("input") == given)


def test_that_the_own_reader_gains_little_and_reads_the_oracle_is_held_to_its_intervals_by_task_and_not_corrected():
    """Neither is in the p of "another reader's skill": only just so on one task, the word is said of each of ten."""
    panel = planted.STRONGER_READER.panel(7)
    high = float(of_own(panel, "description_gain", 0.9).high or 0.0)
    low = float(of_own(panel, "description_ba", 0.95, "oracle").low or 0.0)
    just = {"equivalence": high + 0.001, "oracle": low - 0.001, "chance_margin": 0.0, "chance_margin_small": 0.0}
    for count in (1, 10):
        among = tasks(panel, count)
        assert [(e.verdict, e.reason) for e in verdicts(among, **just)] == [(OTHERS, None)] * count
        assert {e.verdict for e in verdicts(among, **{**just, "equivalence": high - 0.001})} == {OPEN}
        assert {e.verdict for e in verdicts(among, **{**just, "oracle": low + 0.001})} == {OPEN}


def evidence(panel: Panel) -> Evidence:
    told = panel.descriptions
    assert told is not None
    whole, rival = table(panel, told.diagnoses, told.prompts), direct(next(cells(panel)))

    def of(given: str, reader: str = "") -> object:
        return gain(whole.only(lambda d, _: d.input == given and reader in ("", d.reader)), rival)

    return Evidence(of("real"), of("masked"), 0.001, of("real", "own"), of("real", "reader"), 0.2)  # type: ignore[arg-type]


def test_a_claim_s_p_is_the_largest_of_all_that_it_takes():
    found, judge = (
        evidence(Planted(direct=1.0, findings=1.3, conclusion=2.0, names=0.3, per_class=60).panel(4)),
        Judge(Thresholds(), 0.95),
    )
    real, masked, own, others = (g.p_above(0.0) for g in (found.real, found.masked, found.own, found.others) if g is not None)
    assert len({real, masked, own, others}) == 4
    expected = {CARRIED: max(real, masked, own), OTHERS: max(real, masked, others), LEAK: max(real, 0.001), GREY: max(real, 0.2)}
    assert judge.claims(found) == expected
    bare = judge.claims(replace(found, masked=None, lost=None, grey=None, own=None, others=None))
    assert bare == dict.fromkeys(CLAIMS, 1.0)


def test_only_its_own_claim_lets_a_word_stand():
    found, judge = evidence(planted.IN_DESCRIPTION.panel(7)), Judge(Thresholds(), 0.95)
    assert judge.claim(found) == CARRIED
    assert judge.word(found, {**dict.fromkeys(CLAIMS, 0.2), CARRIED: 0.01}) == CARRIED
    assert judge.word(found, {**dict.fromkeys(CLAIMS, 0.01), CARRIED: 0.2}) == OPEN
