"""The whole pipeline on one screen: plan → ask → read → measure → report."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from palpate.errors import RunError
from palpate.executors import Executor
from palpate.executors.local import LocalExecutor
from palpate.executors.ray_pool import RayExecutor, RaySettings
from palpate.imports.answers import Answers
from palpate.inspection.card import DataCard, cards_from_json, cards_json
from palpate.nouns import Tally
from palpate.results import Results
from palpate.stages import ask as asking
from palpate.stages.checks import heeded
from palpate.stages.importing import Naming, files_digest, imported_plan, imported_study, write_answers
from palpate.stages.inspect import inspect_plan, refuse_faults
from palpate.stages.measure import measure
from palpate.stages.picture import picture, ready
from palpate.stages.plan import Plan, plan
from palpate.stages.probe import probe
from palpate.stages.read import read
from palpate.stages.ready import refuse
from palpate.stages.resume import changed_since
from palpate.store.folder import RunFolder
from palpate.store.keys import secret_group
from palpate.study import Study

OnProgress = Callable[[Tally], None]
OnNote = Callable[[str], None]
Cards = tuple[DataCard, ...]
Pairs = Sequence[tuple[str, str]]  # (base, tuned)


def run(
    study: Study,
    out: str | Path,
    *,
    on_plan: Callable[[Plan], None] | None = None,
    on_progress: OnProgress | None = None,
    on_cards: Callable[[Cards], None] | None = None,
    on_note: OnNote | None = None,
    stopping: asking.Stopping | None = None,
) -> Results:
    """Examine: everything from the study to its report, in the folder ``out``. Run again, it goes on where it stopped.

    ``on_note`` is told which images changed since the run was begun, and which model is not asked as the study says.
    Raises PalpateError; what was answered by then is kept. ``stopping``: see ``palpate.stages.ask``.
    """
    ready(study)
    planned = prepared(study, out)  # before anything is written: a study that cannot run leaves no folder behind
    if on_plan is not None:
        on_plan(planned)
    folder = RunFolder(out)
    ask(planned, folder, on_progress, on_cards, stopping, on_note)
    with folder.writing(study.name, study.to_toml()) as ledger:
        read(study, ledger, on_progress)
        probe(study, ledger, planned.cases)
        picture(study, ledger)
        estimates = measure(study, ledger)
        folder.write_estimates(estimates)
    results = Results.open(out, estimates, planned.cases)
    results.report()
    return results


def prepared(study: Study, out: str | Path) -> Plan:
    """The plan of a study that can be run here. Raises StudyError for what is not installed, before an image is opened.

    A run that was begun may have all its answers, and then needs no model: what it still needs is found out on the way.
    """
    if not RunFolder(out).begun():
        refuse(study)
    return plan(study)


def ask(
    planned: Plan,
    folder: RunFolder,
    on_progress: OnProgress | None = None,
    on_cards: Callable[[Cards], None] | None = None,
    stopping: asking.Stopping | None = None,
    on_note: OnNote | None = None,
) -> Tally:
    """The stages that need the models: look at the images, write down the plan, and ask what is not answered yet.

    Raises ModelError where a model that answered here is another now, SourceError where the images have faults and the study
    stops on them: then nothing has been written.
    """
    planned = heeded(planned, folder)
    before = [f"{name}: {told}" for name, other in planned.instead.items() for told in other.warnings]
    for note in [*before, *changed_since(planned, folder)]:
        if on_note is not None:
            on_note(note)
    cards = inspected(planned, folder)
    if on_cards is not None:
        on_cards(cards)
    planned = with_secret_groups(planned, folder)
    executor = executor_for(planned)
    with folder.writing(planned.study.name, planned.study.to_toml()) as ledger:
        ledger.add_session(datetime.now(UTC).isoformat(timespec="seconds"), environment())
        planned.write(ledger)
        folder.write_cases(planned.cases)
        if cards:
            folder.write("data.json", cards_json(cards))
        try:
            return asking.ask(planned, ledger, executor, on_progress, stopping, on_note)
        finally:
            executor.close()


def executor_for(planned: Plan) -> Executor:
    """Where the study's ``[ask]`` wants its models to be asked."""
    study, wanted = planned.study, planned.study.ask
    if wanted.executor == "local":
        return LocalExecutor(wanted.workers or 1, study.seed)
    identities = {planned.settled(model): planned.fingerprints[model.name].identity for model in study.models}
    cluster = RaySettings(wanted.address, wanted.workers, wanted.cpus, wanted.gpus)
    return RayExecutor(cluster, study.seed, identities)


def inspected(planned: Plan, folder: RunFolder) -> Cards:
    """The data cards of the plan's images, those the run holds already among them; none where the study wants none."""
    if not planned.study.data.inspect:
        return ()
    try:
        known = cards_from_json(folder.text("data.json") or "[]")
    except ValueError:  # of another version: looked at anew
        known = ()
    cards = inspect_plan(planned, known)
    refuse_faults(cards, planned.study)
    return cards


def with_secret_groups(planned: Plan, folder: RunFolder) -> Plan:
    """The plan with patients under the run's own secret where their source had none."""
    if not any(found.guessable for found in planned.cases.values()):
        return planned
    secret = folder.secret()
    cases = {
        task: replace(found, cases=tuple(replace(c, group=secret_group(c.group, secret)) for c in found.cases), guessable=False)
        if found.guessable
        else found
        for task, found in planned.cases.items()
    }
    return replace(planned, cases=cases)


def import_answers(files: Sequence[Path], out: str | Path, given: Answers, *, naming: Naming, name: str, pairs: Pairs) -> Results:
    """Answers made elsewhere, read from ``files``, become a run in the folder ``out``: read, measured and reported.

    Raises PalpateError; then ``out`` is as it was, for the run appears there whole.
    """
    target = RunFolder(out).path
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RunError("is not empty", where=str(target), expected="a new folder", hint="choose another --out")
    study = imported_study(given, name, files_digest(files), pairs, ", ".join(map(str, files)))
    planned = imported_plan(study, given, naming)
    fresh = target.with_name(f".{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)  # of an import that was killed
    try:
        folder = RunFolder(fresh)
        with folder.writing(study.name, study.to_toml()) as ledger:
            ledger.add_session(datetime.now(UTC).isoformat(timespec="seconds"), environment())
            write_answers(planned, given, naming, ledger)
            read(study, ledger)
        folder.write_cases(planned.cases)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    results = Results.open(target)
    results.report()
    return results


def environment() -> dict[str, str]:
    """What a run was made with. No host or user name."""
    names = ("palpate", "numpy", "scipy", "pillow")
    return {"python": platform.python_version(), "platform": platform.system(), **{name: version(name) for name in names}}
