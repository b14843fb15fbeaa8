"""described: descriptions and what readers made of them → what stands beside a Panel. Asks nobody.

Everything is taken from the ledger: the texts, what every reader that the study names made of them, and the margins of its replies.
The probe of the words is trained once and kept beside the run, as those of inner states are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from palpate.descriptions import Diagnoses
from palpate.nouns import OUTCOME_CODE, Descriptions, Form, Panel, Perturbation, Prompt
from palpate.parts import ReadingSpec, ReadsDescriptions, Rubric
from palpate.registry import part
from palpate.rung import Rung
from palpate.stages._judging import ORACLE, question_key
from palpate.stats.probes import ladder_folds
from palpate.stats.text_probe import text_probe
from palpate.store.judgements import Judgements, Margins
from palpate.store.keys import digest
from palpate.store.ledger import Ledger
from palpate.store.planned import Planned
from palpate.store.probes import ProbeStore
from palpate.store.told import Told, told
from palpate.study import Study

PLAIN, GREY = Perturbation(), Perturbation("blank")
_Odds = tuple[float | None, float | None]
NOTHING: _Odds = (None, None)
MIN_GROUPS = 10
"""Groups of each class below which no probe is trained: five folds would leave two to hold out."""


@dataclass(frozen=True)
class _Texts:
    """The descriptions of one model and task under one perturbation, over n cases × D prompts × R repeats."""

    prompts: tuple[Prompt, ...]
    shape: tuple[int, int, int]
    told: tuple[Told, ...]  # case by case, prompt by prompt

    @property
    def given(self) -> NDArray[np.bool_]:
        """(n, D, R) True where there is a description."""
        return np.array([t.text is not None for t in self.told], np.bool_).reshape(self.shape)

    def read(self, by: str) -> NDArray[np.int8]:
        """(n, D, R) outcomes of the reading kept under that name, −1 where there is none."""
        return np.array([t.read.get(by, -1) for t in self.told], np.int8).reshape(self.shape)

    def of_prompt(self, d: int) -> tuple[Told, ...]:
        """(n) the first repeat of the prompt at place ``d``."""
        _, prompts, repeats = self.shape
        return self.told[d * repeats :: prompts * repeats]


class Described:
    """What a run's models described, and what was made of it."""

    def __init__(self, study: Study, ledger: Ledger, planned: Planned) -> None:
        self._study, self._ledger, self._planned = study, ledger, planned
        self._store = ProbeStore(ledger.path.parent)
        self._specs = [s for s in study.all_readings if isinstance(part("readings", s.method), ReadsDescriptions)]
        self._rubrics = {name: Rubric("") for name in planned.tasks} | {t.name: t.rubric for t in study.tasks}

    def of(self, panel: Panel) -> Descriptions | None:
        """What stands beside a panel of images as they are; None where its model described none."""
        own = self._texts(panel, PLAIN)
        if own is None:
            return None
        rubric, method = self._rubrics[panel.task], _method()
        stated = [None if t.text is None else method.stated(t.text, rubric) for t in own.told]
        codes = np.array([-1 if s is None else OUTCOME_CODE[s] for s in stated], np.int8).reshape(own.shape)
        file = self._store.file(self._probed(panel, own))
        probes = self._store.read(file) if file.exists() else {}
        return Descriptions(tuple(p.name for p in own.prompts), codes, own.given, tuple(self._diagnoses(panel, own)), probes)

    def probe(self, panel: Panel) -> bool:
        """Train the probes of the words of a panel's descriptions, where they are not there yet. False: nothing to do."""
        own = self._texts(panel, PLAIN)
        if own is None:
            return False
        file = self._store.file(self._probed(panel, own))
        found = {} if file.exists() else {p.name: tuple(self._rungs(panel, own, d)) for d, p in enumerate(own.prompts)}
        found = {prompt: rungs for prompt, rungs in found.items() if rungs}
        if found:
            self._store.write(file, found)
        return bool(found)

    def _texts(self, panel: Panel, perturbation: Perturbation) -> _Texts | None:
        if perturbation not in self._planned.perturbations:
            return None
        prompts = tuple(p for p in self._planned.asked(panel.task, perturbation) if p.form is Form.DESCRIBE)
        if not prompts:
            return None
        keys = list(self._planned.keys(panel.task, panel.model, perturbation, prompts))
        texts = _Texts(prompts, (len(panel.cases), len(prompts), self._planned.repeats), tuple(told(self._ledger, keys)))
        return texts if texts.given.any() else None

    # ------------------------------------------------------------ the readers

    def _diagnoses(self, panel: Panel, own: _Texts) -> Iterator[Diagnoses]:
        grey = self._texts(panel, GREY) if self._specs else None
        for spec in self._specs:
            if spec.of and spec.of != panel.model:
                continue
            given = str(spec.options.get("input", "real"))
            for texts, name in ((own, given), (grey, "grey")) if given == "real" else ((own, given),):
                found = None if texts is None else self._read(panel, spec, texts, name)
                if found is not None and (found.outcome >= 0).any():
                    yield found

    def _read(self, panel: Panel, spec: ReadingSpec, texts: _Texts, given: str) -> Diagnoses:
        assert spec.model is not None
        outcome = texts.read(self._study.reading_by(self._ledger, spec.name))
        margins = self._margins(panel, spec, texts)
        margin, mass = (np.array([m[k] for m in margins], np.float64).reshape(outcome.shape) for k in (0, 1))
        own = spec.of == panel.model or spec.model.name == panel.model
        question = str(spec.options.get("variant", "one_word"))
        known = outcome >= 0
        return Diagnoses(
            "own" if own else spec.model.name,
            question,
            given,
            own,
            outcome,
            np.where(known, margin, np.nan),
            np.where(known, mass, np.nan),
        )

    @cached_property
    def _replies(self) -> Margins:
        return Judgements(self._ledger).margins()

    def _margins(self, panel: Panel, spec: ReadingSpec, texts: _Texts) -> list[_Odds]:
        """Of each description the reader's margin and mass, found by asking for the same question again."""
        identity = Judgements(self._ledger).identity(self._study.reading_digest(spec))
        if identity is None or not self._replies:
            return [NOTHING] * len(texts.told)
        method, rubric = part("readings", spec.method), self._rubrics[panel.task]
        places = product(self._planned.cases(panel.task), texts.prompts, range(self._planned.repeats))
        seen: dict[tuple[str, str], _Odds] = {}
        found = []
        for one, (case, prompt, _) in zip(texts.told, places, strict=True):
            text = one.text
            if text is not None and spec.options.get("input") == ORACLE:
                text = method.oracle(case.label, case.facts, rubric)
            if text is None:
                found.append(NOTHING)
                continue
            if (text, prompt.name) not in seen:
                question = method.question(text, prompt, rubric, spec.options)
                seen[text, prompt.name] = self._replies.get(bytes.fromhex(question_key(identity, question)), NOTHING)
            found.append(seen[text, prompt.name])
        return found

    # ------------------------------------------------------------ the words

    def _probed(self, panel: Panel, own: _Texts) -> str:
        labels = [panel.cases, panel.label.tolist(), panel.cluster.tolist()]
        names = self._rubrics[panel.task].naming
        return digest(["words", [t.text for t in own.told], labels, names, self._study.seed])

    def _rungs(self, panel: Panel, own: _Texts, d: int) -> Iterator[Rung]:
        """What the words of one prompt's descriptions tell, as they are and without what names the diagnosis."""
        first = own.of_prompt(d)
        used = np.flatnonzero([t.text is not None for t in first])
        label, cluster = panel.label[used], np.unique(panel.cluster[used], return_inverse=True)[1]
        if min((np.unique(cluster[label == y]).size for y in (0, 1)), default=0) < MIN_GROUPS:
            return
        fold = ladder_folds(label, cluster, self._study.seed, panel.task)
        method, rubric = _method(), self._rubrics[panel.task]
        texts = [str(first[i].text) for i in used]
        for stage, words in (("text", texts), ("masked", [method.masked(t, rubric) for t in texts])):
            score = np.full(panel.label.size, np.nan)
            score[used] = text_probe(words, label, fold).mean(axis=0)
            yield Rung(stage, score, np.full(score.size, np.nan))


def _method() -> ReadsDescriptions:
    """What knows the words of descriptions, whoever reads them."""
    found: ReadsDescriptions = part("readings", "diagnose")
    return found
