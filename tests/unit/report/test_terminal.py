"""The terminal: a summary as wide as it is and never cropped, progress with and without a terminal."""

from __future__ import annotations

import io
import re
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len

from palpate.nouns import Estimate, Tally
from palpate.report import terminal
from palpate.report.findings import findings
from palpate.report.terminal import progress, render_summary
from palpate.report.view import ReportView
from synthetic_report import HOSTILE, MODELS, NO_ANSWER, TASKS, estimate, make_view

ESCAPE = "\x1b"


@pytest.fixture(autouse=True)
def no_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a pipe: no width is told."""
    monkeypatch.delenv("COLUMNS", raising=False)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes standard output a terminal that knows colours."""
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_it_fits_eighty_columns(view: ReportView, hostile: ReportView, bare: ReportView) -> None:
    for shown in (view, hostile, bare):
        for line in render_summary(shown, "runs/" + "a-long-folder/" * 8 + "report.html").splitlines():
            assert cell_len(line) <= 80, line


def test_many_tasks_are_shown_four_at_a_time(view: ReportView) -> None:
    more = tuple(replace(t, name=f"{t.name}{k}", condition=f"{t.condition} {k}") for k in range(3) for t in view.tasks)
    text = render_summary(replace(view, tasks=more, prompts={t.name: view.prompts[TASKS[0][0]] for t in more}))
    assert all(cell_len(line) <= 80 for line in text.splitlines())
    assert all(f"{k}" in text for k in range(3))
    assert text.count("phantom-gemma") >= 3 * 3


def strained() -> ReportView:
    """Four tasks, every verdict a wide one and every interval the widest that is printed."""
    made = make_view()
    more: list[Estimate] = []
    for task, *_ in TASKS:
        for model in MODELS:
            by = {"model": model, "task": task, "cell": "target"}
            more += [
                replace(estimate("ba_all", 0.52, 0.06, "undetermined", **by), reason=None),
                estimate("ba_answered", 0.634, 0.064, **by),
                replace(estimate("prompt_spread", 0.0012, 0.0, "robust", **by), low=0.0013, high=0.1234),
                estimate("prompt_spread_naive", 0.01, **by),
                replace(estimate("criterion_loss", 0.0031, 0.0, "nothing lost", **by), low=-0.124, high=0.136),
                replace(estimate("ba_own_threshold", 0.53, 0.0, **by), low=0.48),
                replace(
                    estimate("auroc_failure", 0.994, 0.0, "not shown to be usable", confidence="margin", **by),
                    low=0.23,
                    high=0.9999,
                ),
                estimate("image_dependence", 0.32, 0.11, "sees, but says the opposite", **by),
                estimate("image_dependence", 0.32, 0.11, None, null_image="grey", **by),
            ]
    told = {(e.measure, frozenset(e.by.items())) for e in more}
    kept = tuple(e for e in made.estimates if (e.measure, frozenset(e.by.items())) not in told)
    return replace(made, estimates=(*kept, *more))


ROW = r"\S+ +[✓✗≈?–] "  # begins with a model's name and the first task's symbol


def cells_of(text: str) -> Counter[str]:
    """Every cell of every table, its folded lines joined: what a reader's eye puts together. Some of what is no cell, too."""
    joined: Counter[str] = Counter()
    for block in re.split(rf"\n(?={ROW})", text)[1:]:
        first, *more = block.split("\n")
        lines = [first]
        for line in more:
            if not line.startswith((" ", "− ")):
                break
            lines.append(line)
        gaps = [at for at in range(1, max(map(len, lines))) if all(line[at - 1 : at] in (" ", "") for line in lines)]
        edges = [at for at in gaps if first[at : at + 2].strip() in set("✓✗≈?–")]
        for begin, end in zip(edges, [*edges[1:], None], strict=True):
            joined[" ".join(" ".join(line[begin:end] for line in lines).split())] += 1
    return joined


@pytest.mark.parametrize("width", [60, 80, 100, 150])
def test_no_verdict_and_no_interval_is_cropped_at_any_width(width: int) -> None:
    """Each is there whole, as often as it was found; where it is folded, between words."""
    shown = strained()
    text = render_summary(shown, width=width)
    assert all(cell_len(line) <= width for line in text.splitlines())
    whole: Counter[str] = Counter()
    for f in findings(shown):
        between = f.between if f.question == 1 or not f.between else f"({f.between})"
        numbers = [f.short] if f.question == 3 else [f.number, between, f.also, f.also_between]
        whole[" ".join(filter(None, [f.symbol, f.verdict, *numbers]))] += 1
    assert {f.question for f in findings(shown)} >= {1, 2, 3, 4, 5, 6, 7}
    assert max(map(len, whole)) > 45, "as wide as they come"
    assert not whole - cells_of(text), text


def test_it_is_as_wide_as_the_terminal(view: ReportView, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a wide one a task's name and an interval stand on one line, on a narrow one they fold."""
    monkeypatch.setenv("COLUMNS", "150")
    one_line = r"malignant skin lesion +invasive ductal carcinoma"
    assert re.search(one_line, render_summary(view))
    monkeypatch.setenv("COLUMNS", "60")
    narrow = render_summary(view)
    assert max(cell_len(line) for line in narrow.splitlines()) <= 60
    assert not re.search(one_line, narrow)
    monkeypatch.delenv("COLUMNS")
    assert 60 < max(cell_len(line) for line in render_summary(view).splitlines()) <= 80, "nobody told a width"


@pytest.mark.parametrize("width", [12, 20, 33])
def test_even_a_sliver_of_a_terminal_loses_no_letter(view: ReportView, width: int) -> None:
    text = render_summary(view, width=width)
    assert all(cell_len(line) <= width for line in text.splitlines())
    shown = Counter("".join(text.split()))
    for f in findings(view):
        assert not Counter(f.between.replace(" ", "")) - shown
    assert text.count("0") >= render_summary(view, width=200).count("0")


def test_what_a_tick_rests_on_is_said_and_shown_with_its_interval(view: ReportView) -> None:
    """0.52 (0.46–0.58) and above chance would contradict each other, were the second number not explained."""
    first = next(e for e in view.estimates if e.measure == "ba_answered" and e.by["cell"] == "target" and e.value is not None)
    told = replace(first, value=0.634, low=0.561, high=0.702)
    text = render_summary(replace(view, estimates=tuple(told if e is first else e for e in view.estimates)))
    assert re.search(r"answered 0\.63\s[^✓✗≈?]*0\.56–0\.70", text)
    assert terminal.RESTS in " ".join(text.split())
    same = tuple(e for e in view.estimates if e.measure != "ba_answered")
    assert "“answered”" not in render_summary(replace(view, estimates=same)), "nothing is explained that is not there"


def test_every_question_has_its_matrix(view: ReportView) -> None:
    text = render_summary(view, "runs/phantom/report.html")
    for heading in ("Better than chance?", "Depends on the wording?", "Refuses?", "Did tuning help?"):
        assert f"\n{heading}" in text
    assert "0.90 0.85–0.95" in text
    assert "✗ fragile" in text
    assert "6 (4–8)" in text
    assert "✗ selective" in text
    assert "12 % open" in text
    assert "+12 (8 to 16)" in text
    assert "best 0.975" in text
    assert "answered 0.78" in text, "the number the verdict rests on, where it differs"


def test_what_went_wrong_and_what_is_missing_is_said(view: ReportView) -> None:
    text = " ".join(render_summary(view, "runs/phantom/report.html").split())
    assert "error, 17 times: image could not be sent" in text
    assert "Images left out because they could not be used: 2 of" in text
    assert "– not measured" in text
    assert f"not measured, 3 of 56 verdicts: {NO_ANSWER}" in text
    assert "Not examined: Looks at the image? Knows more than it says? Knows when to abstain?" in text
    assert re.search(r"fail: ba_all\.low >= 0\.8 \(.*phantom.*\) – ", text), "which estimate a condition speaks of is named"
    assert text.endswith("report: runs/phantom/report.html")


def test_names_break_after_a_hyphen(view: ReportView) -> None:
    longer = replace(view, models=tuple(replace(m, name=f"{m.name}-of-today") for m in view.models))
    text = render_summary(longer)
    assert re.search(r"^phantom-llava-\s", text, re.MULTILINE)
    assert re.search(r"^med-of-today\s", text, re.MULTILINE)


def test_the_bundled_names_stand_whole(view: ReportView) -> None:
    """Wide verdicts take no room from the names: no ``phantom-medgemm`` over ``a``."""
    text = render_summary(view)
    starts = {line.split(" ")[0] for line in text.splitlines() if line.startswith("phantom-")}
    assert starts == {m.name for m in view.models}


def test_no_colour_where_there_is_no_terminal(view: ReportView) -> None:
    assert ESCAPE not in render_summary(view)


def test_colour_on_a_terminal(view: ReportView, monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal(monkeypatch)
    assert re.search(f"{ESCAPE}\\[[0-9;]*3[12]m", render_summary(view))


def test_no_color_is_honoured(view: ReportView, monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    text = render_summary(view)
    assert not re.search(f"{ESCAPE}\\[[0-9;]*[34][0-9]", text)
    assert "✗ fragile" in re.sub(f"{ESCAPE}\\[[0-9;]*m", "", text), "symbol and word say it without colour"


def test_no_text_steers_the_terminal(hostile: ReportView) -> None:
    named = replace(hostile, models=(*hostile.models[:1], replace(hostile.models[1], name="a\x1b[2Jb[red]c")))
    text = render_summary(named)
    assert ESCAPE not in text
    assert "\x07" not in text
    assert "\u202e" not in text
    assert "[red]" in "".join(text.split()), "a name is no markup"


def test_a_study_not_yet_asked_has_a_summary(bare: ReportView) -> None:
    assert "7,200 not asked yet" in render_summary(bare)


# ---------------------------------------------------------------- progress


def test_quiet_says_nothing() -> None:
    out = Terminal()
    with progress(quiet=True, file=out) as advance:
        advance(Tally(5, 10, 0, 0, MODELS[0]))
    assert out.getvalue() == ""


def test_plain_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    out = io.StringIO()
    with progress(file=out) as advance:
        for second in range(41):
            now[0] = 100.0 + second
            advance(Tally(20 + 2 * second, 100, 20, 1, MODELS[0]))
        now[0] = 145.0
        advance(Tally(100, 100, 20, 2, MODELS[0]))
        advance(Tally(100, 100, 20, 2, MODELS[0]))
    assert out.getvalue().splitlines() == [
        "phantom-llava: 40 of 100 asked, 2/s, 30 s left, 1 error",
        "phantom-llava: 60 of 100 asked, 2/s, 20 s left, 1 error",
        "phantom-llava: 80 of 100 asked, 2/s, 10 s left, 1 error",
        "phantom-llava: 100 of 100 asked, 2/s, 1 error",
    ]


def test_what_a_model_does_before_its_first_answers_is_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    out = io.StringIO()
    with progress(file=out) as advance:
        for doing in ("loading", "self-test", "self-test", "first batch, 96 questions", ""):
            now[0] += 4
            advance(Tally(40, 100, 40, 0, "b\x1bad", doing=doing))
        advance(Tally(40, 100, 40, 0, "next", doing="loading"))
    assert out.getvalue().splitlines() == [
        "b\ufffdad: loading",
        "b\ufffdad: self-test",
        "b\ufffdad: first batch, 96 questions",
        "next: loading",
    ]


@pytest.mark.parametrize(
    ("told", "ends"),
    [
        ([Tally(0, 100, 0, 0, "m", doing="first batch, 96 questions"), Tally(0, 100, 0, 0, "m", 100)], "m: 0 of 100 asked"),
        ([Tally(40, 100, 40, 0, "m"), Tally(60, 100, 40, 2, "m", 40, (("USD", 1.5),))], "m: 60 of 100 asked, 1.50 USD, 2 errors"),
        ([Tally(100, 100, 40, 0, "m"), Tally(100, 100, 40, 0, "m")], "m: 100 of 100 asked"),
        ([Tally(100, 100, 100, 0, "m"), Tally(100, 100, 100, 0, "next", doing="loading")], "next: loading"),
    ],
)
@pytest.mark.parametrize("fault", [None, KeyboardInterrupt])
def test_the_last_line_is_how_far_it_got(monkeypatch: pytest.MonkeyPatch, told: list[Tally], ends: str, fault: Any) -> None:
    """However soon after the line before it, and however it ended; what was said is not said twice."""
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    out = io.StringIO()
    with pytest.raises(fault) if fault else nullcontext(), progress(file=out) as advance:
        for tally in told:
            advance(tally)
        if fault:
            raise fault
    lines = out.getvalue().splitlines()
    assert lines[-1].startswith(ends)
    assert len(lines) == len(set(lines))
    assert "left" not in lines[-1]


def test_the_bar_says_it_in_the_place_of_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    out = Terminal()
    with progress(file=out) as advance:
        advance(Tally(40, 100, 40, 0, "m", doing="loading"))
        shown = re.sub(f"{ESCAPE}\\[[0-9;?]*[A-Za-z]", "", out.getvalue())
        assert "loading" in shown
        assert "40/100" in shown
        advance(Tally(60, 100, 40, 0, "m"))
        time.sleep(0.3)
    after = re.sub(f"{ESCAPE}\\[[0-9;?]*[A-Za-z]", "", out.getvalue()).rpartition("60/100")
    assert "/s" in after[2]
    assert "loading" not in after[2]


def test_what_was_answered_before_is_no_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 10.0)
    pace = terminal._Pace()
    monkeypatch.setattr(time, "monotonic", lambda: 20.0)
    assert pace.rate(Tally(60, 100, 50, 0, "m")) == 1.0
    assert pace.rate(Tally(50, 100, 50, 0, "m")) == 0.0
    assert pace.rate(Tally(20, 100, 50, 0, "m")) == 0.0


@pytest.mark.parametrize(
    ("done", "told"),
    [
        (2200, "10/s, 1 min left"),
        (300, "30/min, 1 h 30 min left"),
        (210, "3/min, 15 h 30 min left"),
        (202, "36/h, 77 h 43 min left"),
    ],
)
def test_a_slow_model_has_a_rate_too(monkeypatch: pytest.MonkeyPatch, done: int, told: str) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    pace = terminal._Pace()
    monkeypatch.setattr(time, "monotonic", lambda: 200.0)
    assert pace.told(Tally(done, 3000, 200, 0, "m")) == told


def test_money_stands_beside_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    with progress(file=out) as advance:
        advance(Tally(10, 10, 10, 0, "m", money=(("USD", 1.234), ("E\x1bUR", 0.0042))))
    assert out.getvalue() == "m: 10 of 10 asked, 1.23 USD, 0.0042 E\ufffdUR\n"


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    out = Terminal()
    with progress(file=out) as advance:
        for done in range(0, 101, 10):
            advance(Tally(done, 100, 0, 3, "odd[name]"))
    seen = re.sub(f"{ESCAPE}\\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    assert "odd[name]" in seen
    assert "/100" in seen
    assert "/s" in seen
    assert "3 errors" in seen


@pytest.mark.parametrize("bad", HOSTILE)
def test_a_model_named_in_bad_faith_breaks_no_line(bad: str) -> None:
    out = io.StringIO()
    with progress(file=out) as advance:
        advance(Tally(1, 1, 0, 0, bad))
    assert out.getvalue().count("\n") == 1
    assert ESCAPE not in out.getvalue()


def test_it_is_said_where_only_the_correction_keeps_an_effect_from_being_shown(view: ReportView) -> None:
    told = "by itself would show an effect; after Holm's correction: not."
    assert told not in render_summary(view)
    first = view.estimates[0]
    held = replace(first, reason="by itself an effect would be shown; after Holm's correction over tasks it is not")
    assert f"1 interval {told}" in render_summary(replace(view, estimates=(held, *view.estimates[1:])))
