"""Does the description carry what the direct answer loses: what do readers without the image make of it, and of its controls?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from palpate.descriptions import Descriptions, Diagnoses
from palpate.measures._cells import cells
from palpate.measures._described import (
    NEGATIVE,
    POSITIVE,
    Flags,
    Gain,
    Rival,
    Table,
    above_chance,
    direct,
    gain,
    groups,
    rethresholded,
    table,
)
from palpate.measures._estimates import ONE_CLUSTER_OF_CLASS, finished, place
from palpate.measures._recovered import Evidence, Judge, Weighed, with_words
from palpate.nouns import Estimate, Panel
from palpate.parts import Headline, MeasureSettings
from palpate.stats.influence import Linear, change_interval, ratio, share_interval, spread_noise
from palpate.stats.intervals import Interval, p_above
from palpate.stats.roc import linear_auroc
from palpate.stats.variance import spread_with_noise
from palpate.stats.verdicts import detectable_difference

REAL = "real"
SHARE = "cluster-robust variance, Wilson interval on the effective sample size"
AVERAGED = "mean over description prompts × readers × questions to them, none picked"
PAIRED = f"{AVERAGED}; paired by case; cluster-robust variance, t interval"
FITTED = "the margin's threshold fitted on the other of 10 folds, for the low end on all"
DELONG = f"{AVERAGED}; DeLong's variance for clustered data, Wilson interval on the effective sample size"
WORDS = f"named, affirmed or denied, by the task's words; mean over prompts where no prompt is given; {SHARE}"
SPREAD = "variance over the columns − its clustered noise, Tukey–Williams interval"
PROBE = "TF-IDF of words and pairs, logistic regression, out of fold, mean over grouped folds; DeLong's variance for clustered data"
ONE_CLASS = "only one class was read"
NO_MARGIN = "no reader gives the probabilities of its answer words"
ONE_QUESTION = "the same question for every case: no interval"
NO_PROBE = "no probe of the words was trained: it takes scikit-learn (pip install 'palpate[local]') and ten groups of each class"


class Description:
    """What readers without the image diagnose from descriptions, held against the direct answer, with the controls it takes."""

    name: ClassVar[str] = "description"
    question: ClassVar[int] = 6
    estimates: ClassVar[Mapping[str, str]] = {
        "description_gain": "G: description_ba − ba_all, on the cases of both; 0: the description gives no more than the answer",
        "description_gain_rethresholded": "G*: description_ba − ba_own_threshold, on the cases of both: what a better threshold "
        "of the margin would not give",
        "description_ba": "Balanced accuracy of readers' diagnoses, non-answers wrong; descriptions read; chance 0.5",
        "description_auroc": "AUROC of the readers' margin of Yes over No; descriptions read with a margin; chance 0.5",
        "description_spread": "Standard deviation of description_ba over description prompts × readers × questions, sampling noise "
        "removed",
        "masking_loss": "description_ba − that of the same readers on text without what names the diagnosis; cases of both",
        "reader_prior": "Share that readers call positive without a description, or of a grey image's; questions, or descriptions",
        "label_leak_rate": "Share of descriptions that state the diagnosis by name, affirmed or denied; all descriptions",
        "description_probe_auroc": "AUROC of a probe of the descriptions' words, out of fold: a ceiling of what their words hold; "
        "cases with a description; chance 0.5",
    }
    headlines: ClassVar[tuple[Headline, ...]] = (
        Headline("description_gain", 0.0, ("description_gain_rethresholded", "description_ba", "masking_loss", "label_leak_rate")),
        Headline("description_gain_rethresholded", 0.0, ("description_ba",)),
    )

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Per cell: gains, scores and spread; per model and task: priors, leaks and probes. Nothing where nothing was described.

        The verdicts on the gains hold over the tasks of a model (Holm).
        """
        found: list[Weighed] = []
        for panel in panels:
            if panel.descriptions is None:
                continue
            told = _Told(panel, panel.descriptions, settings)
            for cell in ("target", "abnormal"):
                mine = [d for d in panel.descriptions.diagnoses if d.cell == cell]
                if any(d.input == REAL for d in mine):
                    found += told.of_cell(cell, table(panel, mine, panel.descriptions.prompts))
            found += [(e, None) for part in (told.priors, told.leaks, told.probes) for e in part()]
        yield from with_words(found, Judge(settings.thresholds, settings.level))


class _Told:
    """One model's descriptions on one task."""

    def __init__(self, panel: Panel, descriptions: Descriptions, settings: MeasureSettings) -> None:
        self.panel, self.descriptions, self.settings = panel, descriptions, settings
        self.by_cell = {c.name: c for c in cells(panel)}

    # ------------------------------------------------------------ of one question

    def of_cell(self, cell: str, whole: Table) -> Iterator[Weighed]:
        """Gains first, those over all readers with their evidence; then scores."""
        by = place(self.panel, cell)
        real = whole.only(lambda d, _: d.input == REAL)
        if cell in self.by_cell:
            rivals = {
                "description_gain": (direct(self.by_cell[cell]), PAIRED),
                "description_gain_rethresholded": (rethresholded(self.by_cell[cell], self.settings.seed), f"{PAIRED}; {FITTED}"),
            }
            for name, (rival, method) in rivals.items():
                yield from self._gains(name, whole, rival, by, method)
        yield from ((e, None) for e in (*self._loss(whole, by), *self._scores(whole, by), self._spread(real, by)))

    def _gains(self, name: str, whole: Table, rival: Rival, by: Mapping[str, str], method: str) -> Iterator[Weighed]:
        """Over all readers, with what its verdict is drawn from; then by reader, and by control."""
        found = self._evidence(whole, rival)
        headline = self._gain(name, found.real, by, method)
        yield headline, None if headline.low is None else found
        readers = dict.fromkeys(d.reader for d, _ in whole.of)
        for reader in readers:
            mine = whole.only(lambda d, _, r=reader: d.input == REAL and d.reader == r)  # type: ignore[misc]
            yield self._gain(name, gain(mine, rival), {**by, "reader": reader}, method), None
        if found.masked is not None:
            yield self._gain(name, found.masked, {**by, "input": "masked"}, method), None

    def _evidence(self, whole: Table, rival: Rival) -> Evidence:
        def taken(given: str, own: bool | None = None) -> Table | None:
            found = whole.only(lambda d, _: d.input == given and own in (None, d.own))
            return found if found.of else None

        def gained(given: str, own: bool | None = None) -> Gain | None:
            found = taken(given, own)
            return None if found is None else gain(found, rival)

        def scored(given: str, own: bool | None = None) -> Interval | None:
            found = taken(given, own)
            return None if found is None else share_interval(found.ba().mean(), max(found.groups(), 2), self.settings.level)

        real, grey = gained(REAL), taken("grey")
        assert real is not None  # a cell is looked at where something real was read
        return Evidence(
            real=real,
            masked=gained("masked"),
            lost=self._loses(whole),
            own=gained(REAL, True),
            others=gained(REAL, False),
            grey=None if grey is None else above_chance(grey.ba().mean(), grey.groups()),
            oracle=scored("oracle"),
            own_oracle=scored("oracle", True),
        )

    def _gain(self, name: str, found: Gain, by: Mapping[str, str], method: str) -> Estimate:
        interval = found.interval(self.settings.level)
        made = self._made(name, by, found.gain, interval, method, found.used, found.groups)
        if made.value is None or made.low is None:
            return made
        mde = float(detectable_difference(interval.error, interval.freedom, alpha=1 - self.settings.level))
        return replace(made, mde=mde if np.isfinite(mde) else None)

    def _lost(self, whole: Table) -> tuple[Linear, int, Flags] | None:
        """What masking takes from the same readers and questions, on the cases read both ways; how many groups, and which."""
        masked = whole.only(lambda d, _: d.input == "masked")
        asked = {(d.reader, d.question) for d, _ in masked.of}
        real = whole.only(lambda d, _: d.input == REAL and (d.reader, d.question) in asked)
        if not masked.of or not real.of:
            return None
        both = real.any & masked.any
        return real.among(both).ba().mean() - masked.among(both).ba().mean(), groups(self.panel, both), both

    def _shift(self, statistic: Linear, count: int) -> Interval:
        return change_interval(statistic, 2 * 0.25 / (count + 2) ** 2, max(count, 2), self.settings.level)

    def _loses(self, whole: Table) -> float | None:
        """p that masking takes something; None where nothing masked was read."""
        found = self._lost(whole)
        if found is None:
            return None
        interval = self._shift(*found[:2])
        return float(p_above(found[0].value, 0.0, interval.error, interval.freedom))

    def _loss(self, whole: Table, by: Mapping[str, str]) -> Iterator[Estimate]:
        found = self._lost(whole)
        if found is not None:
            statistic, count, both = found
            yield self._made("masking_loss", by, statistic, self._shift(statistic, count), PAIRED, both, count)

    def _scores(self, whole: Table, by: Mapping[str, str]) -> Iterator[Estimate]:
        """The mean over the columns of every input, then each column."""
        for given in dict.fromkeys(d.input for d, _ in whole.of):
            mine = whole.only(lambda d, _, g=given: d.input == g)  # type: ignore[misc]
            where = dict(by) if given == REAL else {**by, "input": given}
            yield self._share("description_ba", where, mine.ba().mean(), mine.any, f"{AVERAGED}; {SHARE}")
            yield from self._areas(mine, where)
            for k, (d, prompt) in enumerate(mine.of):
                column = mine.only(lambda e, p, d=d, prompt=prompt: e is d and p == prompt)  # type: ignore[misc]
                named = {"reader": d.reader, "reader_prompt": d.question, "describe": prompt, "input": given}
                yield self._share("description_ba", {**by, **named}, column.ba().mean(), np.asarray(mine.used[:, k]), SHARE)

    def _areas(self, mine: Table, where: Mapping[str, str]) -> Iterator[Estimate]:
        """Of the readers whose answer words hold most of the probability: a margin of words hardly considered says nothing."""
        usable = mine.only(lambda d, _: _weighs(d, self.settings.thresholds.answer_mass))
        known = usable.used & np.isfinite(usable.score)
        cases = np.asarray(known.any(axis=1)) if usable.of else mine.any
        area = usable.auroc().mean() if usable.of else Linear(np.array(np.nan), np.zeros(mine.clusters))
        if not usable.of and mine.of[0][0].input != REAL:
            return
        yield self._share("description_auroc", where, area, cases, DELONG, ONE_CLASS if usable.of else NO_MARGIN)

    def _spread(self, real: Table, by: Mapping[str, str]) -> Estimate:
        found, count = real.ba(), real.groups()
        defined = np.isfinite(found.value)
        blank = Linear(np.array(np.nan), np.zeros(real.clusters))
        if int(defined.sum()) < 2 or count < 2:
            why = "one column: a spread needs at least two" if int(defined.sum()) == 1 else ONE_CLASS
            return self._made("description_spread", by, blank, _none(), SPREAD, real.any, count, why)
        kept = Linear(found.value[defined], found.influence[:, defined])
        spread = spread_with_noise(kept.value, spread_noise(kept, count), count, self.settings.level)
        value = Linear(np.array(spread.sigma), blank.influence)
        bounds = Interval(np.array(spread.low), np.array(spread.high), np.array(np.nan), np.array(np.nan))
        method = f"{SPREAD}; signed variance {spread.variance:.3g}; {int(defined.sum())} columns"
        return self._made("description_spread", by, value, bounds, method, real.any, count)

    # ------------------------------------------------------------ of the model's descriptions

    def priors(self) -> Iterator[Estimate]:
        """By reader and input, mean over the questions about the condition."""
        asked = [d for d in self.descriptions.diagnoses if d.input in ("empty", "grey") and d.cell == "target"]
        for reader, given in dict.fromkeys((d.reader, d.input) for d in asked):
            mine = table(self.panel, [d for d in asked if (d.reader, d.input) == (reader, given)], self.descriptions.prompts)
            by = {**place(self.panel), "reader": reader, "input": given}
            yes = mine.says_yes().mean()
            if given == "empty":
                yield self._made("reader_prior", by, yes, _none(), ONE_QUESTION, mine.any, 2)
            else:
                yield self._share("reader_prior", by, yes, mine.any, f"{AVERAGED}; {SHARE}")

    def leaks(self) -> Iterator[Estimate]:
        """All prompts, then each."""
        told = self.descriptions
        names = ((told.stated == POSITIVE) | (told.stated == NEGATIVE)) & told.given
        count = told.given.sum(axis=2)
        share = names.sum(axis=2) / np.maximum(count, 1)
        used = (count > 0).astype(np.float64)
        found = ratio(share * used, used, self.panel.cluster, _clusters(self.panel), label=self.panel.label)
        by = place(self.panel)
        yield self._share("label_leak_rate", by, found.mean(), np.asarray(used.any(axis=1)), WORDS)
        for d, prompt in enumerate(told.prompts):
            one = Linear(found.value[d], found.influence[:, d])
            yield self._share("label_leak_rate", {**by, "describe": prompt}, one, np.asarray(used[:, d] > 0), WORDS)

    def probes(self) -> Iterator[Estimate]:
        """Mean over the prompts of the words as they are, and without what names the diagnosis; then each."""
        told, by = self.descriptions, place(self.panel)
        for stage in ("text", "masked"):
            scores = [r.score for prompt in told.prompts for r in told.probes.get(prompt, ()) if r.stage == stage]
            where = dict(by) if stage == "text" else {**by, "input": stage}
            if not scores:
                if stage == "text":
                    nothing = Linear(np.array(np.nan), np.zeros(_clusters(self.panel)))
                    cases = np.asarray(told.given.any(axis=(1, 2)))
                    yield self._share("description_probe_auroc", where, nothing, cases, PROBE, NO_PROBE)
                continue
            score = np.stack(scores, axis=1)
            used: Flags = np.asarray(np.isfinite(score))
            positive = np.broadcast_to((self.panel.label == 1)[:, None], used.shape)
            found = linear_auroc(np.where(used, score, 0.0), positive, used, self.panel.cluster, _clusters(self.panel))
            yield self._share("description_probe_auroc", where, found.mean(), np.asarray(used.any(axis=1)), PROBE)
            probed = [p for p in told.prompts if any(r.stage == stage for r in told.probes.get(p, ()))]
            for k, prompt in enumerate(probed):
                one = Linear(found.value[k], found.influence[:, k])
                yield self._share("description_probe_auroc", {**where, "describe": prompt}, one, np.asarray(used[:, k]), PROBE)

    # ------------------------------------------------------------ estimates

    def _share(
        self, name: str, by: Mapping[str, str], statistic: Linear, used: Flags, method: str, why: str = ONE_CLASS
    ) -> Estimate:
        count = groups(self.panel, used)
        return self._made(
            name, by, statistic, share_interval(statistic, max(count, 2), self.settings.level), method, used, count, why
        )

    def _made(
        self,
        name: str,
        by: Mapping[str, str],
        statistic: Linear,
        interval: Interval,
        method: str,
        used: Flags,
        count: int,
        why: str = ONE_CLASS,
    ) -> Estimate:
        value = float(statistic.value) if count >= 2 else np.nan
        low, high = (float(np.ravel(b)[0]) for b in (interval.low, interval.high))
        whole = int(np.unique(self.panel.cluster[used]).size)
        left = int((~used).sum())
        found = Estimate(name, dict(by), value, low, high, self.settings.level, method, int(used.sum()), whole, left)
        return finished(found, ONE_CLUSTER_OF_CLASS if count == 1 else why)


def _weighs(d: Diagnoses, least: float) -> bool:
    mass = d.mass[np.isfinite(d.mass)]
    return bool(mass.size) and float(mass.mean()) >= least


def _clusters(panel: Panel) -> int:
    return int(panel.cluster.max()) + 1 if panel.cluster.size else 0


def _none() -> Interval:
    return Interval(*(np.array(np.nan) for _ in range(4)))


PARTS = (Description(),)
