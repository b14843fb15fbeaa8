"""What changed, shown: every difference with both its values, nothing left out in silence, nothing of the runs' text as markup."""

from __future__ import annotations

import json
from dataclasses import replace

from palpate.nouns import Comparison, Estimate, Joined
from palpate.report.compared import (
    changes,
    comparison_html,
    comparison_json,
    comparison_markdown,
    render_comparison,
    shared,
    summary,
)

PLACE = {"before": "old", "after": "new", "task": "t<b>", "cell": "target"}


def estimate(name: str, value: float | None, by: dict[str, str] | None = None, **more: object) -> Estimate:
    bounds = (None, None) if value is None else (value - 0.1, value + 0.1)
    return Estimate(name, by or PLACE, value, *bounds, 0.95, "boot | strap", 10, 5, **more)  # type: ignore[arg-type]


def side(run: str, value: float) -> Estimate:
    model = {"before": "old", "after": "new"}[run]
    return estimate("ba_all", value, {"run": run, "model": model, "task": "t<b>", "cell": "target"})


JOINED = Joined("old", "new", "t<b>", "none", 8, 10, 12, 3, 4, 5, relabelled=2, regrouped=True)
FOUND = Comparison(
    "runs/A",
    "runs/B",
    (JOINED, replace(JOINED, before="x", after="y"), replace(JOINED, task="u", cases=0, why="no image in common")),
    (
        estimate("delta_ba_all", 0.08, verdict="undetermined"),
        estimate("delta_ba_all_mde", 0.15),
        estimate("delta_refusal_rate", -0.02, verdict="lower"),
        estimate("delta_coverage", None, reason="no case was read"),
        side("before", 0.7),
        side("after", 0.78),
    ),
    ("read by another | version",),
    ("only in runs/A: model x",),
)


def test_a_change_has_both_its_values_and_what_could_have_been_seen() -> None:
    first, second, third = changes(FOUND)
    assert first.cells() == (
        *("old → new", "t<b>", "target", "balanced accuracy", "0.70", "0.78", "+8", "−2 to +18"),
        "? undetermined (80 % power from 15 points)",
    )
    assert second.cells()[4:] == ("–", "–", "−2", "−12 to +8", "lower")
    assert third.cells()[-1] == "not measured: no case was read"
    assert summary(FOUND) == "Balanced accuracy: 1 undetermined."
    assert summary(replace(FOUND, estimates=())) == "Nothing could be compared."


def test_the_terminal_says_what_was_shared_and_what_was_not() -> None:
    shown = " ".join(render_comparison(FOUND).split())
    assert shown.count("8 images (10 before, 12 after), 3 wordings (4 before, 5 after)") == 1  # said once for all models
    assert "2 labels changed in between" in shown
    assert "patients are grouped differently" in shown
    assert "u: 0 images (10 before, 12 after), 3 wordings (4 before, 5 after); not compared: no image in common." in shown
    assert "Only in runs/A: model x." in shown
    assert "note: read by another | version" in shown
    assert "coverage" not in shown
    assert "coverage" in render_comparison(FOUND, every=True)


def test_where_models_share_different_images_each_is_named() -> None:
    short = replace(JOINED, before="x", after="y", cases=3, cases_after=3)
    same = replace(JOINED, before="z", after="z", perturbation="blur")
    told = list(shared(replace(FOUND, joined=(JOINED, short, same))))
    assert [line.partition(" images")[0] for line in told[:3]] == ["t<b> · old → new: 8", "t<b> · x → y: 3", "t<b> · blur: 8"]


def test_markdown_and_page_hold_the_same_and_no_markup_of_the_runs() -> None:
    text, page = comparison_markdown(FOUND), comparison_html(FOUND)
    assert "| old → new | t\\<b\\> | target | balanced accuracy | 0.70 | 0.78 |" in text
    assert "- boot \\| strap" in text
    assert "t&lt;b&gt;" in page
    assert "<b>" not in page
    assert "default-src 'none'" in page.replace("&#39;", "'")
    for shown in ("+8", "−2 to +18", "80 % power from 15 points", "2 labels changed"):
        assert shown in text
        assert shown in page


def test_json_holds_everything() -> None:
    found = json.loads(comparison_json(FOUND))
    assert len(found["estimates"]) == 6
    assert found["joined"][0]["relabelled"] == 2
    assert found["estimates"][3]["value"] is None


def test_an_interval_without_0_and_no_verdict_say_why() -> None:
    alone = "by itself an effect would be shown; after Holm's correction over tasks it is not"
    held_back = replace(FOUND, estimates=(estimate("delta_refusal_rate", 0.2, verdict="undetermined", reason=alone),))
    assert [change.verdict for change in changes(held_back)] == [f"? undetermined ({alone})"]
