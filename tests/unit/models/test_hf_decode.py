"""The rule for the next token, and margins, on logits made by hand: against closed forms and scipy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from scipy.stats import chisquare

from palpate.models._hf_settings import settings_from
from palpate.parts import ModelSpec

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.local

from palpate.models._hf_decode import Chooser, Row, usable  # noqa: E402
from palpate.models._hf_score import AnswerTokens, margin_and_mass  # noqa: E402

EOS = frozenset({4})
LOGITS = np.array([2.0, 1.0, 0.5, -1.0, 0.0])


def chooser(**options) -> Chooser:
    return Chooser(settings_from(ModelSpec("m", "hf", {"path": "org/name", **options})), EOS)


def rows(n: int, one) -> list[Row]:
    """n rows of one block that differ in their repeat, as the repeats of one question do."""
    trial = one.block.trials[0]
    return [Row(one.block, replace(trial, repeat=i), "", 8) for i in range(n)]


def chosen(n: int, one, step: int = 0, logits=LOGITS, **options) -> np.ndarray:
    scores = chooser(**options).scores(rows(n, one), torch.tensor(np.tile(logits, (n, 1))), step)
    return scores.argmax(-1).numpy()


def test_greedy_takes_the_most_probable(without_image) -> None:
    assert chosen(3, without_image(0)).tolist() == [0, 0, 0]


def test_the_end_is_held_back_only_before_min_new_tokens(without_image) -> None:
    ends = np.array([0.0, 1.0, 0.5, 0.2, 9.0])
    assert chosen(1, without_image(0), step=1, logits=ends, min_new_tokens=2).tolist() == [1]
    assert chosen(1, without_image(0), step=2, logits=ends, min_new_tokens=2).tolist() == [4]


NO, INF = float("nan"), float("inf")


@pytest.mark.parametrize("held_back", [0, 5])
def test_what_is_chosen_is_the_first_of_the_largest_where_logits_are_sound(held_back, without_image) -> None:
    """In one look at the vocabulary where nothing is held back, in two where something is: the same tokens and verdicts."""
    none = [-INF] * 5
    given = torch.tensor([[1, 3, 3, 0, -9], [2, NO, 3, 0, 0], none, [0, INF, 1, 2, 3], [-INF, -INF, 4, 4, -INF]])
    tokens, sound = chooser(min_new_tokens=held_back).chosen(rows(5, without_image(0)), given.clone(), 1)
    assert sound.tolist() == usable(given).tolist() == [True, False, False, False, True]
    assert [token for token, fine in zip(tokens.tolist(), sound.tolist(), strict=True) if fine] == [1, 2]
    assert torch.equal(tokens[sound], given.argmax(-1)[sound])


def test_holding_back_leaves_the_models_own_logits_alone(without_image) -> None:
    given = torch.tensor(LOGITS[None]).float()
    chooser(min_new_tokens=5).scores(rows(1, without_image(0)), given, 0)
    assert torch.equal(given, torch.tensor(LOGITS[None]).float())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_tempered_distribution(temperature, without_image) -> None:
    counts = np.bincount(chosen(4000, without_image(0), temperature=temperature), minlength=5)
    assert chisquare(counts, 4000 * softmax(LOGITS / temperature)).pvalue > 1e-4


def test_the_nucleus_is_the_smallest_set_that_reaches_top_p(without_image) -> None:
    """p = .51, .19, .11, .07 …: 0.6 needs two tokens, 0.5 only one, 1 all."""
    p = softmax(LOGITS)
    assert p[0] < 0.6 < p[0] + p[1]
    assert set(chosen(600, without_image(0), temperature=1.0, top_p=0.6)) == {0, 1}
    assert set(chosen(600, without_image(0), temperature=1.0, top_p=0.5)) == {0}
    assert set(chosen(600, without_image(0), temperature=1.0, top_p=1e-6)) == {0}
    assert set(chosen(600, without_image(0), temperature=1.0)) == set(range(5))
    counts = np.bincount(chosen(4000, without_image(0), temperature=1.0, top_p=0.6), minlength=2)
    assert chisquare(counts, 4000 * p[:2] / p[:2].sum()).pvalue > 1e-4


def test_a_draw_is_the_rows_own(without_image) -> None:
    """The same trial draws the same whatever stands beside it; another seed, repeat or image draws anew."""
    first = chosen(50, without_image(0), temperature=2.0)
    assert (chosen(20, without_image(0), temperature=2.0) == first[:20]).all()
    assert (chosen(50, without_image(1), temperature=2.0) != first).any()
    other = Chooser(settings_from(ModelSpec("m", "hf", {"path": "org/name", "temperature": 2.0}, seed=1)), EOS)
    again = other.scores(rows(50, without_image(0)), torch.tensor(np.tile(LOGITS, (50, 1))), 0).argmax(-1).numpy()
    assert (again != first).any()


def test_steps_of_one_row_draw_independently(without_image) -> None:
    one = rows(200, without_image(0))
    rule, logits = chooser(temperature=5.0), torch.tensor(np.tile(LOGITS, (200, 1)))
    assert (rule.scores(one, logits, 0).argmax(-1) != rule.scores(one, logits, 1).argmax(-1)).any()


def test_usable_logits() -> None:
    inf, nan = math.inf, math.nan
    given = torch.tensor([[1.0, 2.0], [nan, 1.0], [inf, 1.0], [-inf, 1.0], [-inf, -inf]])
    assert usable(given).tolist() == [True, False, False, True, False]


def test_margin_and_mass_are_log_ratio_and_sum() -> None:
    rng = np.random.default_rng(0)
    for scale in (1, 30):
        logits = rng.normal(size=40) * scale
        margin, mass = margin_and_mass(torch.tensor(logits), AnswerTokens((1, 5), (2, 7, 9)))
        assert margin == pytest.approx(logsumexp(logits[[1, 5]]) - logsumexp(logits[[2, 7, 9]]))
        assert mass == pytest.approx(softmax(logits)[[1, 5, 2, 7, 9]].sum())


def test_a_side_ruled_out_leaves_the_margin_undefined() -> None:
    assert margin_and_mass(torch.tensor([0.0, -math.inf, 1.0]), AnswerTokens((0,), (1,))) == (None, None)
