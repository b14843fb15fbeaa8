"""The example studies: the reference protocol has exactly the reference's counts, and the ladder asks what it says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from palpate.nouns import Form
from palpate.registry import parts
from palpate.results import planned_summary
from palpate.stages.plan import Plan, plan
from palpate.study import Study

EXAMPLES = Path(__file__).parents[2] / "examples"
ROLES = ("phantom-llava", "phantom-llava-med", "phantom-gemma", "phantom-medgemma")


@pytest.fixture(scope="module")
def planned() -> Plan:
    pytest.importorskip("torch")
    if not set(ROLES) <= set(parts("models")["bundled"].presets()):
        pytest.skip("the weights of the four bundled models are not in this installation")
    return plan(Study.load(EXAMPLES / "fragility-2026.toml"))


@pytest.mark.local
def test_the_reference_protocol_has_the_reference_s_counts(planned: Plan) -> None:
    study = planned.study
    assert [m.name for m in study.models] == list(ROLES)
    asked: Counter[bool] = Counter()
    for model in study.models:
        for block in planned.blocks(model):
            asked.update(t.prompt.form.closed for t in block.trials)
    assert asked[True] == 19_200
    assert asked[False] == 3_200
    readers = [r for r in study.readings if r.method == "diagnose"]
    assert [r.options["variant"] for r in readers] == ["one_word", "tight", "disease"]
    assert asked[False] * len(readers) == 9_600
    assert planned.n_trials == 22_400
    assert planned_summary(planned).diagnoses == 9_600
    assert "9,600 diagnoses" in str(planned_summary(planned))


@pytest.mark.local
def test_the_ladder_asks_what_its_page_says(planned: Plan) -> None:  # `planned`: the bundled models are there
    ladder = plan(Study.load(EXAMPLES / "ladder.toml"))
    assert ladder.n_trials == 4 * 2 * 120 * (7 * 2 + 2 * 2) == 17_280
    assert planned_summary(ladder).diagnoses == 4 * 2 * 120 * 2 * 2 * 4


@pytest.mark.local
def test_the_wordings_are_the_reference_s(planned: Plan) -> None:
    for task in planned.study.tasks:
        forms = Counter(p.form for p in task.prompts)
        assert forms == {Form.YES_NO: 8, Form.AB: 2, Form.BA: 2, Form.DESCRIBE: 2}
        cases = planned.cases[task.name].cases
        assert Counter(c.label for c in cases) == {0: 50, 1: 50}
