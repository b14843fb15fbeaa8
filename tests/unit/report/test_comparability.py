"""Whether the models were asked alike: what stands side by side, and what a reader is told to know first."""

from __future__ import annotations

from dataclasses import replace

from palpate.nouns import Lineage
from palpate.report.comparability import comparability
from palpate.report.html import render_html
from palpate.report.markdown import render_markdown
from palpate.report.view import ModelCard, ReportView
from synthetic_report import make_view

GREEDY = {"temperature": 0.0, "max_new_tokens": [32, 256]}


def card(name: str, *, tower: str | None = "aa", generation=GREEDY, held: bool | None = True, **environment) -> ModelCard:
    checks = [{"name": "two images kept apart", "held": held, "found": "8 of 8 answers the same"}]
    facts = {
        "rendered_prompt": f"USER: <image> {name}?",
        "vision_tower": tower,
        "checks": checks,
        "parameters": 1234,
        **environment,
    }
    return ModelCard(name, {"generation": generation, "dtype": "float32"}, facts)


def view_of(*models: ModelCard, pairs: tuple[Lineage, ...] = ()) -> ReportView:
    return replace(make_view(), models=models, lineages=pairs)


def values(found, what: str) -> tuple[str, ...]:
    return next(row.values for row in found.rows if row.what == what)


def test_every_fact_stands_side_by_side() -> None:
    found = comparability(view_of(card("a"), card("b")))
    assert values(found, "the prompt as the model saw it") == ("USER: <image> a?", "USER: <image> b?")
    assert values(found, "weights") == ("complete, 1,234 parameters",) * 2
    assert values(found, "two images kept apart") == ("yes: 8 of 8 answers the same",) * 2
    same = {row.what: row.same for row in found.rows}
    assert same["decoding"] is True
    assert same["weights"] is None
    assert found.warnings == ()


def test_models_decoded_differently_are_said() -> None:
    other = {**GREEDY, "max_new_tokens": [2048, 2048]}
    found = comparability(view_of(card("a"), card("b", generation=other)))
    assert {row.what: row.same for row in found.rows}["decoding"] is False
    assert found.warnings == ("the models were not decoded alike: differences may come from that",)


def test_towers_are_compared_within_a_pair_only() -> None:
    pair = (Lineage("a", "b"),)
    assert comparability(view_of(card("a"), card("b"), pairs=pair)).warnings == ("b: its vision tower is identical to that of a",)
    differs = comparability(view_of(card("a"), card("b", tower="bb"), pairs=pair))
    assert differs.warnings == ("b: its vision tower differs from that of a",)
    assert comparability(view_of(card("a"), card("b", tower="bb"))).warnings == ()
    assert comparability(view_of(card("a"), card("b", tower=None), pairs=pair)).warnings == ()


def test_warnings_and_failed_checks_come_first() -> None:
    found = comparability(view_of(card("a", warnings=["no commit is given"]), card("b", held=False), card("c", held=None)))
    assert found.warnings == ("a: no commit is given", "b: two images kept apart: 8 of 8 answers the same")
    assert values(found, "two images kept apart") == (
        "yes: 8 of 8 answers the same",
        "NO: 8 of 8 answers the same",
        "not checked: 8 of 8 answers the same",
    )


def test_what_is_known_of_a_published_model_is_told() -> None:
    known = {"descends_from": "Mistral", "exposure": {"PMC figures": "seen in training"}, "citation": "Li et al. 2023"}
    found = comparability(view_of(card("a", **known), card("b")))
    assert values(found, "may have seen") == ("PMC figures: seen in training", "")
    assert values(found, "cite") == ("Li et al. 2023", "")


def test_models_that_say_nothing_of_themselves_have_no_table() -> None:
    assert not comparability(view_of(ModelCard("planted", {"kind": "scripted"}, {})))


def test_both_reports_show_it_and_escape_what_models_and_files_say() -> None:
    view = view_of(card("a", warnings=["<b>no commit</b>"]), card("b", rendered_prompt="<image> | `x`"))
    html, markdown = render_html(view), render_markdown(view)
    assert "Were the models asked alike?" in html
    assert "&lt;b&gt;no commit&lt;/b&gt;" in html
    assert "<b>no commit</b>" not in html
    assert "&lt;image&gt; | `x`" in html
    assert "## Were the models asked alike?" in markdown
    assert "two images kept apart" in markdown
    silent = render_html(view_of(ModelCard("planted", {"kind": "scripted"}, {})))
    assert "Were the models asked alike?" not in silent
