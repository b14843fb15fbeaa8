"""What a finished run is: its estimates, its report, its gate, and every trial behind them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from palpate.errors import PalpateError, RunError
from palpate.inspection.card import DataCard, cards_from_json
from palpate.nouns import Case, CaseSet, Comparison, Condition, ConditionResult, Estimate, Panel, Tally, Trial
from palpate.questions import Conclusion
from palpate.report.gated import GatedRun, gate_json, render_junit
from palpate.report.gather import gather
from palpate.report.html import render_html
from palpate.report.markdown import render_markdown
from palpate.report.paper import estimate_rows, paper_tables, render_latex, render_paper_markdown
from palpate.report.planned import ASSUMED, IN_OTHERS, IN_PILOT, Expense, Outlook
from palpate.report.tables import LETTERS, FoundAnswers, PlanSummary, TrialHistory
from palpate.report.view import ReportView
from palpate.stages import gate as gating
from palpate.stages.checks import heeded
from palpate.stages.compare import Side, compare
from palpate.stages.conclude import conclude
from palpate.stages.costs import diagnoses, open_questions, sendings, spent
from palpate.stages.measure import choose, measure, panels
from palpate.stages.outlook import resolutions, supposed, usage
from palpate.stages.pilot import Pilot
from palpate.stages.pilot import pilot as pilot_of
from palpate.stages.plan import Plan, by_content_alone, draw_cases, plan
from palpate.stages.read import read
from palpate.stages.ready import lacks, to_install
from palpate.store import shown
from palpate.store.browsing import Columns, Wanted
from palpate.store.export import Table, write_table
from palpate.store.export import readings as export_readings
from palpate.store.export import trials as export_trials
from palpate.store.folder import RunFolder
from palpate.store.integrity import Checked, Damage, check_ledger
from palpate.store.ledger import Ledger
from palpate.store.partitions import write_partitions
from palpate.store.planned import Planned
from palpate.store.salvage import Salvaged, salvage
from palpate.store.selection import selection
from palpate.study import Study


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's answer: every condition against every estimate it selects, and the exit code they amount to."""

    results: tuple[ConditionResult, ...]
    run: GatedRun = field(default_factory=GatedRun)

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 2 not evaluable (or no condition at all: nothing was demanded, so nothing was shown)."""
        return gating.exit_code(self.results) if self.results else 2

    def to_json(self) -> str:
        """Machine-readable: the exit code, which run it speaks of, and one object per condition and estimate."""
        return gate_json(self.results, self.run, self.exit_code)

    def to_junit(self) -> str:
        """JUnit XML: one test case per condition and estimate; what could not be evaluated is an error, so that it never passes."""
        return render_junit(self.results, self.run)


LARGE = 2_000_000  # trials: what is exported of more is divided


class Results:
    """A run folder, opened. Everything but ``report`` with images works without models or images."""

    def __init__(
        self,
        folder: RunFolder,
        study: Study,
        estimates: Sequence[Estimate] | None = None,
        cases: Mapping[str, CaseSet] | None = None,
    ) -> None:
        self.folder, self.study, self._cases = folder, study, cases
        self._given = None if estimates is None else tuple(estimates)

    @classmethod
    def open(
        cls, path: str | Path, estimates: Sequence[Estimate] | None = None, cases: Mapping[str, CaseSet] | None = None
    ) -> Results:
        """Open a run folder; ``estimates`` saves measuring, ``cases`` drawing again. Raises RunError where there is no run."""
        folder = RunFolder(path)
        return cls(folder, Study.load(folder.study_path, with_models=False), estimates, cases)

    @cached_property
    def estimates(self) -> tuple[Estimate, ...]:
        """Every estimate of the run."""
        if self._given is not None:
            return self._given
        with self.folder.ledger() as ledger:
            return tuple(measure(self.study, ledger))

    def measure(self, *names: str, by: Iterable[str] | None = None, where: Mapping[str, str] | None = None) -> list[Estimate]:
        """Estimates by measure or estimate name (all where none is named).

        ``by``: only those grouped by exactly these keys; ``where``: only those of this group. Raises UnknownName.
        """
        if names and self._given is None and "estimates" not in self.__dict__:
            with self.folder.ledger() as ledger:
                found = measure(self.study, ledger, names)
        else:
            kept = choose(names)[1]
            found = [e for e in self.estimates if not kept or e.measure in kept]
        keys = None if by is None else set(by)
        chosen = dict(where or {})
        return [e for e in found if (keys is None or set(e.by) == keys) and all(e.by.get(k) == v for k, v in chosen.items())]

    def read(self, on_progress: Callable[[Tally], None] | None = None) -> int:
        """Read what is not read yet, by every reading of the study; returns how many readings were made."""
        with self.folder.ledger():  # raises where there is none: only asking begins a run
            pass
        with self.folder.writing(self.study.name, self.study.to_toml()) as ledger:
            found = read(self.study, ledger, on_progress)
        if found:  # what was measured before is no longer what the ledger says
            self._given = None
            for measured in ("estimates", "panels", "_view"):
                self.__dict__.pop(measured, None)
        return found

    def unread(self) -> dict[str, int]:
        """Reading → how many answers of the ledger it has not read, for each that left any."""
        with self.folder.ledger() as ledger:
            left = {s.name: ledger.n_unread(self.study.reading_by(ledger, s.name), selection(s)) for s in self.study.all_readings}
        return {name: n for name, n in left.items() if n}

    def gate(self, conditions: Iterable[Condition] = (), *, only: bool = False) -> Verdict:
        """The study's conditions, and those given here, against the estimates. ``only``: those given here alone."""
        held = [*(() if only else self.study.conditions), *conditions]
        with self.folder.ledger() as ledger:
            sessions, by, planned = ledger.sessions(), self.study.reading_by(ledger), Planned(ledger)
            asked = planned.n_trials, planned.n_unasked(ledger), all(m.kind == "imported" for m in self.study.models)
        run = GatedRun(self.study.name, by, sessions[-1]["started"] if sessions else "", *asked)
        return Verdict(tuple(gating.gate(held, self.estimates)), run)

    def questions(self, *numbers: int, where: Mapping[str, str] | None = None) -> list[Conclusion]:
        """What the run says to the seven questions (or to those numbered), by question, model or pair, task and cell.

        ``where``: only about this group. A question that nothing in the study speaks to has one Conclusion, "not examined".
        """
        found = [c for c in conclude(self.estimates) if not numbers or c.question in numbers]
        chosen = dict(where or {})
        return [c for c in found if all(c.by.get(k) == v for k, v in chosen.items())]

    def view(self) -> ReportView:
        """Everything a report shows. Opens images only where the study asks for them in the report."""
        return self._view

    @cached_property
    def _view(self) -> ReportView:
        return self._gathered(self.study.report.images)

    def _gathered(self, images: bool) -> ReportView:
        with self.folder.ledger() as ledger:
            conditions = gating.gate(self.study.conditions, self.estimates)
            shown = self._images() if images else {}
            view = gather(self.study, ledger, self.estimates, self.panels, conditions, shown, spent(self.study, ledger))
        return replace(view, data=self._cards())

    def _cards(self) -> tuple[DataCard, ...]:
        try:
            return cards_from_json(self.folder.text("data.json") or "[]")
        except ValueError:  # of another version
            return ()

    def report(self, out: str | Path | None = None, *, images: bool | None = None) -> Path:
        """Write the report (HTML, and Markdown beside it) and the estimates. Returns the HTML's path.

        ``images``: whether example cases are shown with their images; None: as the study has it, and without one not at all.
        With ``out`` a run that may only be read, such as one in an archive, can be reported on.
        """
        view = self.view() if images is None else self._gathered(images)
        with suppress(RunError) if out is not None else nullcontext():
            self.folder.write_estimates(self.estimates)
        if out is None:
            self.folder.write("report.md", render_markdown(view))
            return self.folder.write("report.html", render_html(view))
        target = Path(out)
        beside = RunFolder(target.parent)
        beside.write(target.with_suffix(".md").name, render_markdown(view))
        return beside.write(target.name, render_html(view))

    def export(
        self, what: Iterable[str], out: str | Path, *, form: str = "parquet", with_text: bool = False, partition: bool | None = None
    ) -> list[tuple[Path, int]]:
        """Write ``trials``, ``readings``, ``estimates`` or ``tables`` into the folder ``out``; returns (file, rows) of each.

        Rows go into ``form`` files (parquet or csv), streamed; estimates also into JSON, tables into LaTeX and Markdown. No text
        of a question or an answer unless ``with_text``. ``partition``: trials as a folder of Parquet files, one folder a model
        and task; None: where the plan has more than two million. Raises RunError where a file cannot be written.
        """
        if partition and form != "parquet":
            raise RunError("is of Parquet files", where="partition", expected="the format parquet")
        target, wanted = Path(out), set(what)
        written: list[tuple[Path, int]] = []
        with self.folder.ledger() as ledger:
            if "trials" in wanted:
                table = export_trials(ledger, self.study.reading_by(ledger), with_text=with_text)
                if partition is None:
                    partition = form == "parquet" and Planned(ledger).n_trials > LARGE
                path = target / ("trials" if partition else f"trials.{form}")
                written.append((path, write_partitions(table, path, ("model", "task")) if partition else write_table(table, path)))
            if "readings" in wanted:
                path = target / f"readings.{form}"
                written.append((path, write_table(export_readings(ledger, with_text=with_text), path)))
        written += self._export_estimates(wanted, target, form)
        return written

    def _export_estimates(self, wanted: set[str], target: Path, form: str) -> list[tuple[Path, int]]:
        written: list[tuple[Path, int]] = []
        if "estimates" in wanted:
            columns, rows = estimate_rows(self.estimates)
            path = target / f"estimates.{form}"
            written.append((path, write_table(Table(columns, lambda: rows), path)))
            written.append((RunFolder(target).write_estimates(self.estimates), len(self.estimates)))
        for table in paper_tables(self.estimates, self.study.name) if "tables" in wanted else ():
            (target / "tables").mkdir(parents=True, exist_ok=True)
            for ending, text in (("tex", render_latex(table)), ("md", render_paper_markdown(table))):
                written.append((RunFolder(target / "tables").write(f"{table.name}.{ending}", text), len(table.rows)))
        return written

    def trial(self, key: str) -> TrialHistory:
        """One trial by its key, or by an unambiguous beginning of it. Raises RunError."""
        with self.folder.ledger() as ledger:
            trial, label = _find(ledger, key, str(self.folder.path))
            return TrialHistory(trial, label, tuple(ledger.responses(trial.key)), tuple(ledger.readings(trial.key)))

    def answers(self, wanted: Wanted, most: int = 20) -> FoundAnswers:
        """How many answers are as ``wanted``, and the first of them in the order asked."""
        columns = Columns()
        with self.folder.ledger() as ledger:
            read_by = methods(self.study, ledger)
            columns.catch_up(ledger, read_by)
            page = columns.page(wanted, most)
            found = tuple((a, columns.label(a.case_row)) for a in shown.answers(ledger, page.rows, LETTERS))
        return FoundAnswers(page.total, found, read_by[0])

    def _images(self) -> Mapping[str, Mapping[str, Case]]:
        cases = self._cases or {t.name: draw_cases(by_content_alone(t), self.study) for t in self.study.tasks}
        return {task: {c.id: c for c in drawn.cases} for task, drawn in cases.items()}

    @cached_property
    def panels(self) -> tuple[Panel, ...]:
        """The table of readings the estimates rest on, as arrays."""
        with self.folder.ledger() as ledger:
            return tuple(panels(self.study, ledger))


def methods(study: Study, ledger: Ledger) -> list[str]:
    """Under which names the study's readings are kept, the primary one first."""
    return [study.reading_by(ledger, spec.name) for spec in study.all_readings]


def compare_runs(before: str | Path, after: str | Path, match: Mapping[str, str] | None = None) -> Comparison:
    """What changed between two runs of one study: paired differences with verdicts. Needs neither models nor images.

    ``match``: earlier model → later model, where their names differ. Raises RunError, UnknownName.
    """
    sides = [(str(path), Results.open(path)) for path in (before, after)]
    with sides[0][1].folder.ledger() as old, sides[1][1].folder.ledger() as new:
        named = [Side(name, run.study, ledger) for (name, run), ledger in zip(sides, (old, new), strict=True)]
        return compare(named[0], named[1], match or {})


def _find(ledger: Ledger, key: str, where: str) -> tuple[Trial, int]:
    found = ledger.find(key)
    if len(found) != 1:
        problem = f"no trial has a key that begins with {key!r}" if not found else f"{key!r} begins the keys of several trials"
        hint = f"`palpate show {where}` lists trials with their keys; `palpate view` shows them with their cases"
        raise RunError(problem, where=where, expected="a trial's key, or a unique beginning of it", hint=hint)
    return found[0]


def plan_summary(
    study: Study,
    out: str | Path | None = None,
    *,
    pilot: str | Path | None = None,
    assume: Mapping[str, str] | None = None,
) -> PlanSummary:
    """Plan a study: what it asks, what the run folder ``out`` answers already, what it takes and what it can show.

    ``pilot``: a run folder whose answers say how alike, long and dear answers will be; ``out`` where none is named and it has
    answers. ``assume``: such values given outright. Runs no model. Prints as tables.
    """
    planned = plan(study)
    summary, left = _counted(planned, out)
    source = pilot if pilot is not None else out if summary.answered else None
    found = _pilot(source, needed=pilot is not None)
    alike = supposed(assume or {}, found, tuple(t.name for t in study.tasks))
    origin = f"from {source}" if found is not None and source is not None else ASSUMED
    basis = f"{origin}, some given" if assume else origin
    expenses = tuple(_expense(planned, m.name, left[m.name], found) for m in study.models)
    outlook = Outlook(expenses, resolutions(planned, alike), alike, basis, study.ask.workers or 1, study.thresholds)
    missing = lacks(study)
    return replace(summary, outlook=outlook, lacks=tuple(map(str, missing)), install=to_install(missing))


def _pilot(source: str | Path | None, *, needed: bool) -> Pilot | None:
    """What a run says of answers to come; None where it has been asked and not read, unless it was named for this."""
    if source is None:
        return None
    run = Results.open(source)
    with run.folder.ledger() as ledger:
        try:
            return pilot_of(run.study, ledger)
        except RunError:
            if needed:
                raise
            return None


def _expense(planned: Plan, model: str, left: float, found: Pilot | None) -> Expense:
    """What the open questions of one model take; ``left``: which share of its questions is open."""
    each, origin = usage(planned, model, found)
    times = len(planned.study.perturbations) * planned.study.repeats * left
    asks = [(len(planned.cases[t.name].cases), p.form.closed) for t in planned.study.tasks for p in t.prompts]
    counts = {closed: times * sum(cases for cases, form in asks if form is closed) for closed in (True, False)}

    def total(name: str) -> float | None:
        parts = [(counts[c], getattr(each[c], name)) for c in counts if counts[c]]
        return None if any(v is None for _, v in parts) else sum(n * v for n, v in parts)

    tokens_in, tokens_out, price = total("tokens_in"), total("tokens_out"), planned.study.prices.get(model)
    known = price is not None and tokens_in is not None and tokens_out is not None
    money = price.of(tokens_in or 0.0, tokens_out or 0.0) if known and price is not None else None
    named = {"own": IN_PILOT, "others": IN_OTHERS}.get(origin, ASSUMED)
    asked = round(sum(counts.values()))
    return Expense(model, asked, tokens_in, tokens_out, total("seconds"), money, price.currency if price else "", named)


def planned_summary(planned: Plan, out: str | Path | None = None) -> PlanSummary:
    """What a plan already made asks, and what ``out`` answers already."""
    return _counted(planned, out)[0]


def _counted(planned: Plan, out: str | Path | None) -> tuple[PlanSummary, dict[str, float]]:
    """(the plan in numbers, by model the share of its questions that are open)."""
    planned = planned if out is None else heeded(planned, RunFolder(out))
    models = planned.study.models
    each = planned.n_trials / max(len(models), 1)
    answered = dict.fromkeys((m.name for m in models), 0)
    to_send = sendings(planned, None)
    if out is not None and RunFolder(out).begun():
        with RunFolder(out).ledger() as ledger:
            held = ledger.answered()
            answered = {m.name: round(each) - sum(map(len, open_questions(planned, m, ledger, held))) for m in models}
            to_send = sendings(planned, ledger) if to_send else []
    rows = []
    for task in planned.study.tasks:
        found = planned.cases[task.name]
        groups = len({c.group for c in found.cases})
        positive = sum(c.label for c in found.cases)
        rows.append((task.name, len(found.cases), positive, groups, len(task.prompts), len(found.left_out)))
    counts = (planned.n_trials, planned.n_blocks, sum(answered.values()))
    named = planned.study.name, tuple(answered), tuple(rows)
    summary = PlanSummary(*named, *counts, str(out or ""), tuple(to_send), diagnoses=diagnoses(planned))
    return summary, {name: 1 - done / each if each else 0.0 for name, done in answered.items()}


def check_run(run: str | Path) -> Checked:
    """Is everything in a run's folder whole? Raises RunError or LedgerError where there is no run to check."""
    folder = RunFolder(run)
    if not folder.exists():
        _ = folder.study_path  # raises where there is no run at all
        folder.ledger().close()  # raises: a study without a ledger is no run that could be whole
    checked = check_ledger(folder.ledger_path)
    try:
        Study.load(folder.study_path, with_models=False)
    except PalpateError as fault:
        return replace(checked, damage=(*checked.damage, Damage("the study cannot be read", 1, (str(fault.problem),))))
    return checked


def salvage_run(run: str | Path, out: str | Path) -> Salvaged:
    """A new run folder with all that is whole in a damaged one; `palpate run` goes on from there. Raises PalpateError."""
    damaged, fresh = RunFolder(run), RunFolder(out)
    if not damaged.exists():
        raise RunError("no run here", where=str(damaged.path), expected="a folder made by `palpate run`")
    if fresh.path.exists() and (not fresh.path.is_dir() or any(fresh.path.iterdir())):
        raise RunError("is not empty", where=str(fresh.path), expected="a new folder")
    fresh.path.mkdir(parents=True, exist_ok=True)
    found = salvage(damaged.ledger_path, fresh.ledger_path)
    for name in ("study.toml", "cases.csv"):
        if (damaged.path / name).is_file():
            shutil.copyfile(damaged.path / name, fresh.path / name)
    return found
