"""Models whose descriptions hold a planted part of what they see, and readers that find it, or do not: Panels as a run would make.

A direct answer, a description's findings and its named conclusion are noisy looks at the label; a reader answers from the last
two, or from its prior alone. Masking takes the conclusion, the oracle gives the label, a grey image gives nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from palpate.descriptions import Descriptions, Diagnoses
from palpate.nouns import Panel
from palpate.rung import Rung
from planted import NEGATIVE, POSITIVE, REFUSED, panel

PROMPTS = ("describe.generic", "describe.named")
QUESTIONS = ("one_word", "tight")


@dataclass(frozen=True)
class Planted:
    """d′ of the margin (``direct``, with its ``criterion``), of the findings a description tells, and of the conclusion it names.

    ``refuses``: share of direct questions refused. ``names``: share of descriptions that name a conclusion, whose d′ is
    ``conclusion``. ``grey``: d′ of the conclusion in descriptions of grey images: what leaks from elsewhere. ``prior``: the reader
    says yes with this probability whatever it is given; None: it reads. ``own_reads``: the model's own language model reads too.
    """

    direct: float = 0.0
    criterion: float = 0.0
    refuses: float = 0.0
    findings: float = 0.0
    conclusion: float = 0.0
    names: float = 0.0
    grey: float = 0.0
    prior: float | None = None
    own_reads: bool = True
    per_class: int = 250
    per_group: int = 2
    noise: float = 0.35

    def panel(self, seed: int, *, probes: bool = False) -> Panel:
        """A Panel of three wordings, and descriptions with every control."""
        rng = np.random.default_rng(seed)
        n = 2 * self.per_class
        cluster = np.arange(n) // self.per_group
        label = (rng.permutation(cluster.max() + 1) % 2)[cluster].astype(np.int8)
        margin = (label - 0.5)[:, None] * self.direct + rng.standard_normal((n, 1)) * 0.8 + rng.standard_normal((n, 3)) * 0.6
        codes = np.where(margin > self.criterion, POSITIVE, NEGATIVE)
        codes = np.where(rng.random((n, 3)) < self.refuses, REFUSED, codes)
        made = panel(codes, label, cluster)
        made = replace(made, margin=margin[:, :, None], mass=np.full((n, 3, 1), 0.95))
        return replace(made, descriptions=self._described(label, cluster, rng, probes))

    def _described(self, label: np.ndarray, cluster: np.ndarray, rng: np.random.Generator, probes: bool) -> Descriptions:
        n, side = label.size, (label - 0.5)[:, None]
        findings = side * self.findings + rng.standard_normal((n, 1)) * 0.8 + rng.standard_normal((n, 2)) * 0.6
        named = rng.random((n, 2)) < self.names
        conclusion = side * self.conclusion + rng.standard_normal((n, 2))
        given = {
            "real": np.where(named, 3 * np.sign(conclusion), findings),
            "masked": findings,
            "empty": np.zeros((n, 2)),
            "oracle": np.repeat(side * 12, 2, axis=1),
            "grey": side * self.grey + rng.standard_normal((n, 2)),
        }
        diagnoses = []
        for reader in ("reader", "own"):
            for question in QUESTIONS:
                for name, seen in given.items():
                    able = self.prior is None and (reader != "own" or self.own_reads or name == "oracle")
                    diagnoses.append(self._read(reader, question, name, seen if able else np.zeros((n, 2)), rng))
        stated = np.where(named, np.where(conclusion > 0, POSITIVE, NEGATIVE), -1)[:, :, None].astype(np.int8)
        told = {}
        if probes:
            told = {p: (Rung("text", findings[:, k], np.full(n, np.nan)),) for k, p in enumerate(PROMPTS)}
        return Descriptions(PROMPTS, stated, np.ones((n, 2, 1), bool), tuple(diagnoses), told)

    def _read(self, reader: str, question: str, name: str, seen: np.ndarray, rng: np.random.Generator) -> Diagnoses:
        margin = seen + rng.standard_normal(seen.shape) * self.noise
        if name == "empty" or self.prior is not None:  # the same question, or the same answer whatever is asked
            rate = 0.5 if self.prior is None else self.prior
            margin = rng.random(seen.shape) - (1 - rate) if self.prior is not None else np.full(seen.shape, 1.0)
        outcome = np.where(margin > 0, POSITIVE, NEGATIVE)[:, :, None].astype(np.int8)
        mass = np.full(outcome.shape, 0.9)
        return Diagnoses(reader, question, name, reader == "own", outcome, margin[:, :, None], mass)


IN_DESCRIPTION = Planted(findings=2.0)
LEAKS = Planted(conclusion=2.5, names=0.8)
LEAKS_FROM_ELSEWHERE = Planted(findings=2.0, grey=1.5)
PRIOR = Planted(prior=0.7)
PRIOR_AND_REFUSALS = Planted(prior=0.7, refuses=0.4)
NOTHING_IN_IT = Planted()
AS_MUCH = Planted(direct=1.5, findings=1.5)
SHIFTED = Planted(direct=2.0, criterion=2.5, findings=2.0)
STRONGER_READER = Planted(findings=2.0, own_reads=False)
ONLY_ANSWERED = Planted(direct=1.5)
