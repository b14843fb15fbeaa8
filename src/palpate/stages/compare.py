"""compare: two runs of one study → what changed, paired, on the cases and prompts that both asked.

Models are matched by name or as told, tasks by name, prompts by the digest of their text, form and polarity, cases by the digest
of their image. What has no match is counted and named, never dropped in silence. The differences are those of the measures
that answer "did tuning help?", taken on the earlier and the later run instead of on a base and a tuned model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from palpate.errors import RunError, unknown_name
from palpate.nouns import Comparison, Estimate, Joined, Lineage, Panel, Perturbation
from palpate.parts import MeasureSettings
from palpate.registry import parts
from palpate.stages.measure import panels
from palpate.store import keys
from palpate.store.ledger import Ledger
from palpate.store.planned import Planned, none_read, not_finished
from palpate.study import Study

TUNING = 4  # the question whose measures take differences of two models
SIDES = ("accuracy", "refusals")  # the measures whose values the differences are of
BEFORE, AFTER = "before", "after"
EQUAL = "equal"
SHOWN = 8  # names written out; the others are counted


@dataclass
class Side:
    """One of the two runs, read as its study has it, or, where that reader came later, by the one that read most of it."""

    name: str
    study: Study
    ledger: Ledger

    @cached_property
    def planned(self) -> Planned:
        """What was asked."""
        return Planned(self.ledger)

    @cached_property
    def unasked(self) -> int:
        """How many questions of the plan were not asked yet."""
        return self.planned.n_unasked(self.ledger)

    @cached_property
    def read_by(self) -> str:
        """Whose readings are compared. Raises RunError where there are none."""
        known, own = self.ledger.read_by(), self.study.reading_by(self.ledger)
        if not known:
            raise none_read(self.ledger, own)
        return own if own in known else next(iter(known))

    @cached_property
    def panels(self) -> dict[tuple[str, str, Perturbation], Panel]:
        """(model, task, perturbation) → panel."""
        found = panels(self.study, self.ledger, read_by=self.read_by)
        return {(p.model, p.task, p.perturbation): p for p in found}


def compare(before: Side, after: Side, match: Mapping[str, str]) -> Comparison:
    """What changed from ``before`` to ``after``. ``match``: earlier model → later model, where names differ.

    Raises UnknownName for a model of ``match`` that is not there, RunError where the runs have no model or no task in common.
    """
    models = _models(before, after, match)
    joined: list[Joined] = []
    both: list[Panel] = []
    for old, new in models:
        for facts, pair in _joins(before, after, old, new):
            joined.append(facts)
            both += pair
    study = after.study
    lineages = tuple(Lineage(_called(BEFORE, old), _called(AFTER, new)) for old, new in models)
    settings = MeasureSettings(lineages, study.seed, study.level, study.draws, study.thresholds)
    measures = parts("measures").values()
    chosen = [m for m in measures if m.question == TUNING] + [m for m in measures if m.name in SIDES]
    alike = {(j.before, j.after, j.task, j.perturbation) for j in joined if j.alike}
    found = [_settled(_told(e), alike) for m in chosen for e in m.measure(both, settings)]
    said = tuple(_notes(before, after, models)), tuple(_unmatched(before, after, models))
    return Comparison(before.name, after.name, tuple(joined), tuple(found), *said, (before.unasked, after.unasked))


# ---------------------------------------------------------------- what belongs together


def _models(before: Side, after: Side, match: Mapping[str, str]) -> list[tuple[str, str]]:
    for side, names in ((before, match), (after, match.values())):
        for name in names:
            if name not in side.planned.models:
                raise unknown_name(name, side.planned.models, noun="model", where=f"--match: {side.name}")
    taken = set(match.values())
    pairs = [
        (name, match.get(name, name))
        for name in before.planned.models
        if name in match or (name in after.planned.models and name not in taken)
    ]
    if not pairs:
        raise RunError(
            f"no model in common: {', '.join(before.planned.models)} here, {', '.join(after.planned.models)} in {after.name}",
            where=before.name,
            expected="a model of the same name in both runs",
            hint=f"--match {next(iter(before.planned.models))}={next(iter(after.planned.models))}",
        )
    if not set(before.planned.tasks) & set(after.planned.tasks):
        mine, theirs = ", ".join(before.planned.tasks), ", ".join(after.planned.tasks)
        raise RunError(
            f"no task in common: {mine} here, {theirs} in {after.name}", where=before.name, expected="two runs of one study"
        )
    return pairs


def _joins(before: Side, after: Side, old: str, new: str) -> Iterator[tuple[Joined, list[Panel]]]:
    for task in (t for t in after.planned.tasks if t in before.planned.tasks):
        for perturbation in (p for p in after.planned.perturbations if p in before.planned.perturbations):
            first, second = before.panels[old, task, perturbation], after.panels[new, task, perturbation]
            yield _join(before.planned, after.planned, first, second)


def _join(before: Planned, after: Planned, first: Panel, second: Panel) -> tuple[Joined, list[Panel]]:
    """The two panels cut to what they share, with the later run's prompts, labels and patients."""
    images = [[c.image for c in planned.cases(first.task)] for planned in (before, after)]
    cases = _places(*images)
    prompts = _places(*([keys.prompt_digest(p) for p in panel.prompts] for panel in (first, second)))
    counts = _answered(first, second, cases, prompts)
    label, cluster = second.label[cases[1]], _numbered(second.cluster[cases[1]])
    facts = Joined(
        before=first.model,
        after=second.model,
        task=first.task,
        perturbation=str(first.perturbation),
        cases=counts[0],
        cases_before=counts[1],
        cases_after=counts[2],
        prompts=len(prompts[0]),
        prompts_before=len(first.prompts),
        prompts_after=len(second.prompts),
        relabelled=int((first.label[cases[0]] != label).sum()),
        regrouped=_differently(first.cluster[cases[0]], cluster),
    )
    changed = first.perturbation
    if before.perturbation_digests[changed] != after.perturbation_digests[changed]:
        return replace(facts, why=f"{changed} drew other pixels (another seed or version)"), []
    if not (len(cases[0]) and len(prompts[0])):
        return replace(facts, why="no image in common" if not len(cases[0]) else "no wording in common"), []
    kept = [
        replace(
            panel,
            model=_called(side, panel.model),
            prompts=tuple(second.prompts[p] for p in prompts[1]),
            cases=tuple(second.cases[c] for c in cases[1]),
            label=label,
            cluster=cluster,
            outcome=panel.outcome[np.ix_(at, asked)],
            margin=panel.margin[np.ix_(at, asked)],
            mass=panel.mass[np.ix_(at, asked)],
            n_errors=0,
        )
        for side, panel, at, asked in zip((BEFORE, AFTER), (first, second), cases, prompts, strict=True)
    ]
    unread = (kept[0].outcome < 0).all(axis=2) | (kept[1].outcome < 0).all(axis=2)
    for panel in kept:  # fresh arrays, not the runs' own
        panel.outcome[unread] = -1
    return replace(facts, alike=not unread.all() and np.array_equal(kept[0].outcome, kept[1].outcome)), kept


Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Where what both hold stands in the one and in the other."""


def _answered(first: Panel, second: Panel, cases: Pairs, prompts: Pairs) -> tuple[int, int, int]:
    """Images with an answer that was read: to a shared wording in both runs, in the earlier run, in the later one.

    A run that was stopped plans more than it answered.
    """
    read = [np.asarray((panel.outcome >= 0).any(axis=2)) for panel in (first, second)]  # (cases, prompts) each
    shared = [r[at][:, asked] if len(asked) else r[at] for r, at, asked in zip(read, cases, prompts, strict=True)]
    both = np.asarray(shared[0] & shared[1] if len(prompts[0]) else shared[0].any(axis=1) & shared[1].any(axis=1))
    in_both, earlier, later = (int(r.reshape(len(r), -1).any(axis=1).sum()) if len(r) else 0 for r in (both, *read))
    return in_both, earlier, later


def _places(before: Sequence[str], after: Sequence[str]) -> Pairs:
    """Where what both hold stands in either, in the later one's order; the n-th of equal ones goes with the n-th."""
    where: dict[str, list[int]] = {}
    for at, digest in enumerate(before):
        where.setdefault(digest, []).append(at)
    times: Counter[str] = Counter()
    pairs = []
    for at, digest in enumerate(after):
        nth = times[digest]
        times[digest] += 1
        if nth < len(where.get(digest, ())):
            pairs.append((where[digest][nth], at))
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _numbered(clusters: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(clusters, return_inverse=True)[1].astype(np.int64)


def _differently(one: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    """Whether two numberings divide the same cases into groups differently."""
    pairs = len(set(zip(one.tolist(), other.tolist(), strict=True)))
    return not pairs == len(set(one.tolist())) == len(set(other.tolist()))


# ---------------------------------------------------------------- what is said


def _called(side: str, model: str) -> str:
    """Both runs may call their model the same; the measures tell models apart by name."""
    return f"{side}\n{model}"


def _told(e: Estimate) -> Estimate:
    """The estimate with its place in words of two runs: before and after, or which run and model."""
    if "base" in e.by:
        rest = {k: v for k, v in e.by.items() if k not in ("base", "tuned", "relation")}
        place = {BEFORE: e.by["base"].partition("\n")[2], AFTER: e.by["tuned"].partition("\n")[2], **rest}
    else:
        side, _, model = e.by["model"].partition("\n")
        place = {"run": side, **e.by, "model": model}
    return replace(e, by=place)


def _settled(e: Estimate, alike: Collection[tuple[str, str, str, str]]) -> Estimate:
    """Where both runs read every shared answer the same there is nothing that more images could decide: they are equal."""
    place = (e.by.get(BEFORE, ""), e.by.get(AFTER, ""), e.by.get("task", ""), e.by.get("perturbation", "none"))
    if place not in alike or e.value != 0 or e.verdict is None:
        return e
    return replace(e, verdict=EQUAL, method=f"{e.method}; here both runs read every shared answer the same: {EQUAL}")


def _unmatched(before: Side, after: Side, models: Sequence[tuple[str, str]]) -> Iterator[str]:
    for noun, old, new in (
        ("model", [m for m in before.planned.models if m not in dict(models)], []),
        ("model", [], [m for m in after.planned.models if m not in dict(models).values()]),
        ("task", [*before.planned.tasks], [*after.planned.tasks]),
        ("perturbation", [*map(str, before.planned.perturbations)], [*map(str, after.planned.perturbations)]),
    ):
        for side, names in ((before, [n for n in old if n not in new]), (after, [n for n in new if n not in old])):
            if names:
                more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
                yield f"only in {side.name}: {noun}{'s' if len(names) > 1 else ''} {', '.join(names[:SHOWN])}{more}"


def _notes(before: Side, after: Side, models: Sequence[tuple[str, str]]) -> Iterator[str]:
    for side in (before, after):
        if told := not_finished(side.unasked, side.planned.n_trials):
            yield f"{side.name}: {told}; only what both runs answered is compared"
    if before.read_by != after.read_by:
        method, words = before.read_by.split("+"), after.read_by.split("+")
        what = "by another reading method or version" if method[0] != words[0] else "by other words (rubrics, or other tasks)"
        yield (
            f"answers were read {what}: {before.read_by} before, {after.read_by} after; a difference may be the reader's. "
            f"`palpate read` reads a run anew"
        )
    if before.ledger.path.resolve() == after.ledger.path.resolve():
        yield "both are the same run" + ("" if any(old != new for old, new in models) else ": nothing can differ")
        return
    identities = [side.ledger.models() for side in (before, after)]
    for old, new in models:
        changed = list(_changed(identities[0][old][0], identities[1][new][0]))
        shown = f"{old} → {new}" if old != new else old
        if before.planned.models[old] == after.planned.models[new]:
            yield f"{shown}: the same model by its identity; what differs, if anything, comes from elsewhere"
        elif changed:
            yield f"{shown}: {'; '.join(changed)}"
    made = [(side.ledger.sessions() or [{}])[-1] for side in (before, after)]
    yield from (
        f"{name}: {made[0].get(name, 'unknown')} before, {made[1].get(name, 'unknown')} after"
        for name in ("palpate", "python")
        if made[0].get(name) != made[1].get(name)
    )


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys([*old, *new]):
        if old.get(name) != new.get(name):
            yield f"{name}: {_short(old.get(name))} → {_short(new.get(name))}"


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 48 else text[:47] + "…"
