"""How good is the reading, held against people, and what is the accuracy once its errors are taken out?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from palpate.measures._estimates import finished
from palpate.nouns import OUTCOME_CODE, OUTCOMES, Estimate, Outcome, Panel
from palpate.parts import MeasureSettings
from palpate.stats.intervals import proportion_interval, shift_interval
from palpate.stats.reading_error import (
    effective_number,
    kappa,
    power_tuning,
    rogan_gladen,
    rogan_gladen_interval,
    stratum_weights,
)
from palpate.stats.resampling import Array, Replicates, cluster_sums, draw_clusters, generator, replicate

GROUPS = np.array([0 if o is Outcome.POSITIVE else 1 if o is Outcome.NEGATIVE else 2 if o.refused else 3 for o in OUTCOMES])
"""Outcome code → present, absent, refused, no other answer: what the measures tell apart."""
ENOUGH = 100
"""Labelled answers of a cell from which its accuracy is corrected by them alone (PPI); below, by the reading's error rates."""
LEAST = 20
"""Labelled answers from which κ is given: of fewer, one answer more or less moves it from nothing to everything."""
NOBODY = "no answer was read by a person: `palpate label RUN`"
METHOD = "weighted to all answers, clustered bootstrap, Wilson interval on the effective sample size"


class ReadingQuality:
    """The readings against people's, by form of question; and accuracy_all corrected for the primary reading's errors."""

    name: ClassVar[str] = "reading_quality"
    question: ClassVar[int] = 3
    estimates: ClassVar[Mapping[str, str]] = {
        "reading_kappa": "Cohen's κ of reading and person over four outcomes (present, absent, refused, no other answer), each "
        "labelled answer weighted by how many it stands for",
        "reading_agreement": "Labelled answers that reading and person put into the same of these four / all labelled, weighted",
        "reading_sensitivity": "Answers read as right / those that a person reads as right (definite, and of the label), weighted",
        "reading_specificity": "Answers not read as right / those that a person does not read as right, weighted",
        "accuracy_corrected": "accuracy_all, pooled over the trials of a cell, with the reading's errors taken out by labels: "
        "PPI from 100 labels in the cell on, else Rogan–Gladen by the model's labels; not given where κ is below the study's bound",
    }

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Per model and reading, whole and by form; accuracy_corrected per task and cell. Nothing rests on a model's word."""
        groups: dict[tuple[str, str], list[Panel]] = {}
        for panel in panels:
            groups.setdefault((panel.model, str(panel.perturbation)), []).append(panel)
        for (model, perturbation), members in groups.items():
            by = {"model": model} | ({} if perturbation == "none" else {"perturbation": perturbation})
            ordered = sorted(members, key=lambda p: p.task)
            if all(p.human is None or not (p.human >= 0).any() for p in ordered):
                yield from (_nothing(name, {**by, "reading": ordered[0].reading}, settings.level) for name in self.estimates)
                continue
            yield from _of_model(ordered, by, settings)


@dataclass(frozen=True)
class _Answers:
    """Every read answer of one model, as columns; ``cluster`` numbers the groups of all tasks 0 … clusters − 1."""

    task: NDArray[np.int64]
    cell: NDArray[np.int64]
    form: NDArray[np.int64]
    cluster: NDArray[np.int64]
    label: NDArray[np.int8]
    read: NDArray[np.int8]
    human: NDArray[np.int8]
    others: Mapping[str, NDArray[np.int8]]
    forms: tuple[str, ...]
    cells: tuple[str, ...]
    clusters: int

    def right(self, codes: NDArray[np.int8]) -> NDArray[np.bool_]:
        """Definite, and of the label."""
        said = np.where(self.label == 1, OUTCOME_CODE[Outcome.POSITIVE], OUTCOME_CODE[Outcome.NEGATIVE])
        return np.asarray(codes == said)


def _answers(panels: Sequence[Panel]) -> _Answers:
    forms = sorted({str(p.form) for panel in panels for p in panel.prompts if p.form.closed})
    cells = sorted({p.cell for panel in panels for p in panel.prompts if p.form.closed})
    columns: dict[str, list[NDArray[np.int64]]] = {}
    offset = 0
    for number, panel in enumerate(panels):
        closed = [i for i, p in enumerate(panel.prompts) if p.form.closed]
        outcome = panel.outcome[:, closed]
        seen = outcome >= 0
        case, prompt, _ = np.nonzero(seen)
        absent = np.full(outcome.shape, -1, np.int8)
        human = absent if panel.human is None else panel.human[:, closed]
        found = {
            "task": np.full(case.size, number),
            "cell": np.array([cells.index(panel.prompts[i].cell) for i in closed], np.int64)[prompt],
            "form": np.array([forms.index(str(panel.prompts[i].form)) for i in closed], np.int64)[prompt],
            "cluster": panel.cluster[case] + offset,
            "label": panel.label[case],
            "read": outcome[seen],
            "human": human[seen],
            **{f"other {name}": codes[:, closed][seen] for name, codes in panel.others.items()},
        }
        for name, column in found.items():
            columns.setdefault(name, []).append(column)
        offset += int(panel.cluster.max(initial=-1)) + 1
    whole = {name: np.concatenate(parts) for name, parts in columns.items()}
    codes = {name: column.astype(np.int8) for name, column in whole.items()}
    return _Answers(
        **{name: whole[name] for name in ("task", "cell", "form", "cluster")},
        label=codes["label"],
        read=codes["read"],
        human=codes["human"],
        others={name.removeprefix("other "): column for name, column in codes.items() if name.startswith("other ")},
        forms=tuple(forms),
        cells=tuple(cells),
        clusters=offset,
    )


def _of_model(panels: Sequence[Panel], by: Mapping[str, str], settings: MeasureSettings) -> Iterator[Estimate]:
    found = _answers(panels)
    rng = generator(settings.seed, by["model"], by.get("perturbation", ""), "reading quality")
    draws = draw_clusters(found.clusters, settings.draws, rng)
    primary: _Quality | None = None
    for name, codes in {panels[0].reading: found.read, **found.others}.items():
        quality = _Quality(found, codes, draws, settings)
        primary = primary or quality
        yield from quality.estimates({**by, "reading": name}, np.ones(found.read.size, np.bool_))
        for form, word in enumerate(found.forms):
            yield from quality.estimates({**by, "reading": name, "form": word}, found.form == form)
    assert primary is not None  # the panels' own reading comes first
    for task, panel in enumerate(panels):
        for cell in dict.fromkeys(p.cell for p in panel.prompts if p.form.closed):
            here = (found.task == task) & (found.cell == found.cells.index(cell))
            place = {**by, "task": panel.task, "cell": cell, "reading": panel.reading}
            yield primary.corrected(place, here, generator(settings.seed, *place.values(), "corrected"))


class _Quality:
    """One reading of one model's answers against the labelled ones among them."""

    def __init__(self, found: _Answers, codes: NDArray[np.int8], draws: NDArray[np.uint8], settings: MeasureSettings) -> None:
        self.found, self.codes, self.draws, self.settings = found, codes, draws, settings
        self.labelled = (found.human >= 0) & (codes >= 0)
        self.said, self.true = found.right(codes), found.right(found.human)

    def weights(self, here: NDArray[np.bool_]) -> tuple[Array, float]:
        """(weight of each labelled answer of ``here``, share of ``here`` it can speak for): strata are form × primary reading."""
        stratum = self.found.form[here] * len(OUTCOMES) + self.found.read[here]
        return stratum_weights(stratum, self.labelled[here])

    def table(self, here: NDArray[np.bool_], weight: Array) -> Array:
        """(4, 4) person × reading of the labelled answers of ``here``."""
        at = here & self.labelled
        table = np.zeros((4, 4))
        np.add.at(table, (GROUPS[self.found.human[at]], GROUPS[self.codes[at]]), weight)
        return table

    def kappa(self, here: NDArray[np.bool_]) -> tuple[float, float, float, str]:
        """(κ, agreement, that expected by chance, why there is no κ: then it is NaN) of the labelled answers of ``here``."""
        n = int((here & self.labelled).sum())
        table = self.table(here, self.weights(here)[0])
        value, agreed, chance = kappa(table)
        by_person, by_reading = ((table.sum(axis=axis) > 0).sum() for axis in (1, 0))
        if not n:
            return float("nan"), agreed, chance, NOBODY
        if n < LEAST:
            few = f"{n} labelled answer{'s' if n > 1 else ''} cannot tell: κ is given from {LEAST} on; `palpate label RUN` goes on"
            return float("nan"), agreed, chance, few
        if min(by_person, by_reading) == 1:  # then κ is 0 or nothing, however well they agree
            whose = "to the person" if by_person == 1 else "to the reading"
            return float("nan"), agreed, chance, f"all labelled answers are of one kind {whose}: κ has no meaning"
        return value, agreed, chance, ""

    def ratio(self, at: NDArray[np.bool_], top: Array, bottom: Array) -> tuple[Replicates, float]:
        """Replicates of Σtop/Σbottom over the labelled answers ``at``, and how many clusters' worth it rests on."""
        cluster = self.found.cluster[at]
        sums = cluster_sums(np.stack([top, bottom], axis=1), cluster, self.found.clusters)
        rate = replicate(sums, self.draws).map(lambda rows: rows[:, 0] / rows[:, 1])
        return rate, min(float((sums[:, 1] > 0).sum()), effective_number(bottom))

    def estimates(self, by: Mapping[str, str], here: NDArray[np.bool_]) -> Iterator[Estimate]:
        """κ, agreement, sensitivity and specificity of ``here``."""
        at = here & self.labelled
        weight, covered = self.weights(here)
        same = (GROUPS[self.found.human[at]] == GROUPS[self.codes[at]]).astype(np.float64)
        agreement, size = self.ratio(at, weight * same, weight)
        bounds = proportion_interval(agreement, max(size, 1.0), self.settings.level)
        value, agreed, chance, why = self.kappa(here)
        method = METHOD + (f"; labels speak for {100 * covered:.0f} % of the answers" if covered < 0.995 else "")
        low, high = ((float(b) - chance) / (1 - chance) if not why else float("nan") for b in (bounds.low, bounds.high))
        yield self.estimate("reading_kappa", by, value, (low, high), method + ", agreement expected by chance held fixed", at, why)
        yield self.estimate("reading_agreement", by, agreed, (float(bounds.low), float(bounds.high)), method, at, NOBODY)
        for name, of, right in (("reading_sensitivity", self.true, self.said), ("reading_specificity", ~self.true, ~self.said)):
            rate, size = self.ratio(at, weight * (of & right)[at], weight * of[at])
            interval = proportion_interval(rate, max(size, 1.0), self.settings.level)
            kind = "right" if name == "reading_sensitivity" else "not right"
            why = f"a person reads none of the labelled answers as {kind}" if at.any() else NOBODY
            yield self.estimate(name, by, float(rate.value), (float(interval.low), float(interval.high)), method, at, why)

    def estimate(
        self,
        name: str,
        by: Mapping[str, str],
        value: float,
        bounds: tuple[float, float],
        method: str,
        at: NDArray[np.bool_],
        why: str,
    ) -> Estimate:
        """One estimate that rests on the answers ``at``; κ with its verdict."""
        cluster = int(np.unique(self.found.cluster[at]).size)
        bound, verdict = self.settings.thresholds.kappa, None
        if name == "reading_kappa" and np.isfinite(bounds).all():
            verdict = "reliable" if bounds[0] >= bound else "not reliable" if bounds[1] < bound else "undetermined"
        low, high = (min(bounds[0], value), max(bounds[1], value)) if np.isfinite(value) else bounds
        made = Estimate(name, dict(by), value, low, high, self.settings.level, method, int(at.sum()), cluster, verdict=verdict)
        return finished(made, why)

    def corrected(self, by: Mapping[str, str], here: NDArray[np.bool_], rng: np.random.Generator) -> Estimate:
        """accuracy_corrected of one cell."""
        everywhere = np.ones(here.size, np.bool_)
        value, agreed, _, unknown = self.kappa(everywhere)
        bound = self.settings.thresholds.kappa
        name, local = "accuracy_corrected", here & self.labelled
        if not here.any():
            return self.estimate(name, by, float("nan"), (float("nan"),) * 2, "not corrected", here, "no answer was read")
        n = int(self.labelled.sum())
        if n < LEAST or value < bound or (unknown and agreed < bound):
            told = f"agreement {agreed:.2f}" if unknown else f"κ {value:.2f}"
            why = unknown if n < LEAST else f"the reading agrees too little with people: {told}, below {bound:g}"
            return self.estimate(name, by, float("nan"), (float("nan"),) * 2, "not corrected", here, why)
        if local.sum() >= ENOUGH and self.weights(here)[1] > 0.99:
            return self._by_labels(by, here, local)
        return self._by_error_rates(by, here, rng)

    def _by_labels(self, by: Mapping[str, str], here: NDArray[np.bool_], local: NDArray[np.bool_]) -> Estimate:
        """PPI: the mean of the reading, and what the labels say it is off by, in one clustered bootstrap."""
        weight = self.weights(here)[0]
        said, true = self.said[local].astype(np.float64), self.true[local].astype(np.float64)
        share = power_tuning(true, said, weight, int(here.sum() - local.sum()))
        clusters = self.found.clusters
        whole = np.stack([self.said[here].astype(np.float64), np.ones(int(here.sum()))], axis=1)
        sums = np.concatenate(
            [
                cluster_sums(whole, self.found.cluster[here], clusters),
                cluster_sums(np.stack([weight * true, weight * said, weight], axis=1), self.found.cluster[local], clusters),
            ],
            axis=1,
        )
        rate = replicate(sums, self.draws).map(
            lambda rows: share * rows[:, 0] / rows[:, 1] + (rows[:, 2] - share * rows[:, 3]) / rows[:, 4]
        )
        # One labelled answer that the reading got wrong would move the mean by about 1/n: so much is never ruled out.
        floor = np.asarray(1 / (effective_number(weight) + 2) ** 2)
        interval = shift_interval(rate, floor, int((sums[:, 1] > 0).sum()), self.settings.level)
        low, high = max(float(interval.low), 0.0), min(float(interval.high), 1.0)
        labels = int(local.sum())
        method = f"prediction-powered mean (PPI++, λ {share:.2f}) by {labels} labelled answers of this cell, clustered bootstrap"
        return self.estimate("accuracy_corrected", by, min(max(float(rate.value), 0.0), 1.0), (low, high), method, here, "")

    def _by_error_rates(self, by: Mapping[str, str], here: NDArray[np.bool_], rng: np.random.Generator) -> Estimate:
        """Rogan–Gladen with the error rates seen in all of the model's labels; their noise is in the interval."""
        weight, _ = self.weights(np.ones(here.size, np.bool_))
        said, true = self.said[self.labelled], self.true[self.labelled]
        cluster = self.found.cluster[self.labelled]
        rates = []
        for of, right in ((true, said), (~true, ~said)):
            w = weight * of
            # Answers of one patient tend to be misread together: they count for no more than the patients they come from.
            size = min(effective_number(w), float(np.unique(cluster[w > 0]).size))
            rates.append((float((w * right).sum() / w.sum()) if w.sum() else float("nan"), size))
        sums = cluster_sums(np.stack([self.said[here], np.ones(here.sum())], axis=1), self.found.cluster[here], self.found.clusters)
        seen = replicate(sums, self.draws).map(lambda rows: rows[:, 0] / rows[:, 1])
        value = float(rogan_gladen(seen.value, rates[0][0], rates[1][0]))
        bounds = (float("nan"), float("nan"))
        clusters = int((sums[:, 1] > 0).sum())
        if np.isfinite(value) and clusters > 1:
            drawn = seen.value + (seen.draws - seen.value) * np.sqrt(clusters / (clusters - 1))
            bounds = rogan_gladen_interval(drawn[np.isfinite(drawn)], rates[0], rates[1], self.settings.level, rng)
        method = (
            f"Rogan–Gladen by {int(self.labelled.sum())} labelled answers of the model, their noise included, clustered bootstrap"
        )
        kinds = ("right", "not right")
        none = [kind for (rate, _), kind in zip(rates, kinds, strict=True) if not np.isfinite(rate)]
        why = (
            f"a person reads none of the labelled answers as {none[0]}"
            if none
            else "the reading tells right from wrong hardly at all"
        )
        return self.estimate("accuracy_corrected", by, value, bounds, method, here, why)


def _nothing(name: str, by: Mapping[str, str], level: float) -> Estimate:
    return Estimate(name, dict(by), None, None, None, level, "not labelled", 0, 0, reason=NOBODY)


PARTS = (ReadingQuality(),)
