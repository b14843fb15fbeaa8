"""What asking costs: expected from what is open, spent from what is in the ledger, allowed from the budget."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from palpate.errors import StudyError
from palpate.nouns import Answer, Price, Response, Status
from palpate.parts import Allowance, ModelSpec
from palpate.results import plan_summary
from palpate.spending import Budget, Cost
from palpate.stages.costs import allowance, check_prices, sendings, spent
from palpate.stages.plan import Plan, plan
from palpate.store.folder import RunFolder
from palpate.store.ledger import Ledger
from palpate.study import Study

NEAR = ModelSpec("near", "endpoint", {"base_url": "http://127.0.0.1:9/v1", "tokens_per_image": 100, "max_new_tokens": 4})
FAR = ModelSpec("far", "endpoint", {"base_url": "https://vlm.example.org/v1", "tokens_per_image": 100, "max_new_tokens": 4})
TRIALS = 12 * 12


@pytest.fixture
def study(small_study: Path) -> Study:
    loaded = Study.load(small_study)
    return replace(loaded, models=(loaded.models[0], NEAR, FAR), lineages=(), prices={"far": Price(2.0, 10.0, "EUR")})


def answer(planned: Plan, ledger: Ledger, model: ModelSpec, count: int, given: Answer) -> None:
    trials = [t for block in planned.blocks(model) for t in block.trials][:count]
    ledger.append((t, Response(t.key, 1, given)) for t in trials)


def test_what_would_be_sent(study: Study) -> None:
    planned = plan(study)
    near, far = sendings(planned, None)
    assert [(s.host, s.remote, s.images, s.cost.questions) for s in (near, far)] == [
        ("127.0.0.1", False, 12, TRIALS),
        ("vlm.example.org", True, 12, TRIALS),
    ]
    assert far.cost.tokens_out == 4 * TRIALS
    assert 100 * TRIALS < far.cost.tokens_in < 200 * TRIALS
    assert (near.cost.money, far.cost.currency) == (None, "EUR")
    assert far.cost.money == pytest.approx((2 * far.cost.tokens_in + 10 * far.cost.tokens_out) / 1e6)


def test_only_what_is_open_is_counted_at_what_was_seen(study: Study, tmp_path: Path) -> None:
    planned = plan(study)
    with Ledger(tmp_path / "l.sqlite", create=True) as ledger:
        planned.write(ledger)
        answer(planned, ledger, FAR, 30, Answer(Status.OK, "Yes", tokens_in=700, tokens_out=1))  # two images, and half of a third
        _, far = sendings(planned, ledger)
        assert (far.images, far.cost.questions, far.cost.tokens_in) == (10, TRIALS - 30, 700 * (TRIALS - 30))
        answer(planned, ledger, NEAR, TRIALS, Answer(Status.OK, "Yes"))
        assert [s.cost.model for s in sendings(planned, ledger)] == ["far"]


def test_an_error_is_still_open(study: Study, tmp_path: Path) -> None:
    planned = plan(study)
    with Ledger(tmp_path / "l.sqlite", create=True) as ledger:
        planned.write(ledger)
        answer(planned, ledger, FAR, TRIALS, Answer(Status.ERROR, error="http 500"))
        assert sendings(planned, ledger)[1].cost.questions == TRIALS
        assert spent(study, ledger) == []  # nothing was counted


def test_what_was_spent_and_what_is_left(study: Study, tmp_path: Path) -> None:
    planned = plan(study)
    with Ledger(tmp_path / "l.sqlite", create=True) as ledger:
        planned.write(ledger)
        answer(planned, ledger, FAR, 10, Answer(Status.OK, "Yes", tokens_in=1000, tokens_out=10))
        assert spent(study, ledger) == [Cost("far", 10, 10_000, 100, pytest.approx(0.021), "EUR")]
        assert allowance(study, ledger, FAR) == Allowance()
        limited = replace(study, budget=Budget(tokens=20_000, money=0.05))
        assert allowance(limited, ledger, FAR) == Allowance(9_900, pytest.approx(0.029), Price(2.0, 10.0, "EUR"))
        assert allowance(limited, ledger, NEAR).price is None  # a model of one's own costs tokens, and no money
        overspent = replace(study, budget=Budget(tokens=5))
        assert allowance(overspent, ledger, FAR) == Allowance(0, None, Price(2.0, 10.0, "EUR"))


def test_answers_whose_tokens_were_not_counted_are_reckoned_at_the_mean(study: Study, tmp_path: Path) -> None:
    planned = plan(study)
    with Ledger(tmp_path / "l.sqlite", create=True) as ledger:
        planned.write(ledger)
        trials = [t for block in planned.blocks(FAR) for t in block.trials]
        ledger.append((t, Response(t.key, 1, Answer(Status.OK, "Yes", tokens_in=600, tokens_out=2))) for t in trials[:5])
        ledger.append((t, Response(t.key, 1, Answer(Status.OK, "Yes"))) for t in trials[5:20])
        (cost,) = spent(study, ledger)
        assert (cost.questions, cost.tokens_in, cost.tokens_out) == (20, 12_000, 40)


def test_a_model_that_has_gone_since_is_no_obstacle(study: Study, tmp_path: Path) -> None:
    planned = plan(study)
    gone = replace(study, models=(*study.models, ModelSpec("gone", "hf", {"path": "/gone/checkpoint"})))
    with Ledger(tmp_path / "l.sqlite", create=True) as ledger:
        planned.write(ledger)
        ledger.add_model("gone", {"kind": "hf"}, {})
        row = next(t for block in planned.blocks(FAR) for t in block.trials)
        ledger.append([(replace(row, model="gone"), Response(row.key, 1, Answer(Status.OK, "Yes", tokens_in=1, tokens_out=1)))])
        assert spent(gone, ledger) == []


def test_a_budget_in_money_needs_prices_of_what_is_elsewhere(study: Study) -> None:
    check_prices(study)
    check_prices(replace(study, budget=Budget(money=1.0)))
    check_prices(replace(study, prices={}, budget=Budget(tokens=1)))
    with pytest.raises(StudyError, match="'far'") as fault:
        check_prices(replace(study, prices={}, budget=Budget(money=1.0)))
    assert "[prices.far]" in fault.value.expected


def test_the_plan_counts_what_is_answered(small_study: Path, tmp_path: Path) -> None:
    loaded = Study.load(small_study)
    run = RunFolder(tmp_path / "run")
    assert plan_summary(loaded, run.path).answered == 0
    planned = plan(loaded)
    with run.writing(loaded.name, loaded.to_toml()) as ledger:
        planned.write(ledger)
        answer(planned, ledger, loaded.models[0], 7, Answer(Status.OK, "Yes"))
        answer(planned, ledger, loaded.models[1], 5, Answer(Status.ERROR, error="x"))
    assert plan_summary(loaded, run.path).answered == 7
