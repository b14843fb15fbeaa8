"""Cases → their data card: opens every image once."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from palpate.inspection.card import FAULT, NOTE, DataCard, DataFinding
from palpate.inspection.duplicates import duplicates
from palpate.inspection.oddities import oddities
from palpate.inspection.pixels import ImageFacts, look
from palpate.inspection.probe import probes, shortcuts
from palpate.nouns import Case, CaseSet


def identity(cases: Sequence[Case], left_out: int) -> str:
    """Which images, labels and groups a card is of: a changed one needs a new card."""
    text = "\x1f".join(f"{c.id} {c.label} {c.group} {c.digest} {sorted(c.decode.items())}" for c in cases)
    return hashlib.blake2b(f"2\x1f{left_out}\x1f{text}".encode(), digest_size=16).hexdigest()


def examine(task: str, found: CaseSet, seed: int = 0) -> DataCard:
    """The data card of one task's cases. An image that cannot be opened is a finding of its own."""
    facts: list[ImageFacts] = []
    gone: list[str] = []
    for case in found.cases:
        try:
            facts.append(look(case, found.files.get(case.id, {})))
        except (OSError, ValueError):
            gone.append(case.id)
    measured = probes(facts, seed)
    groups = Counter(case.group for case in found.cases)
    labelled = {(case.group, case.label) for case in found.cases}
    positive = sum(case.label for case in found.cases)
    findings = [
        *_unopened(gone),
        *duplicates(facts),
        *oddities(facts),
        *shortcuts(measured),
        *_left_out(found),
        *_groups(found),
    ]
    return DataCard(
        task=task,
        identity=identity(found.cases, len(found.left_out)),
        n_cases=len(found.cases),
        n_positive=positive,
        n_negative=len(found.cases) - positive,
        n_groups=len(groups),
        groups_of_both_labels=len(labelled) - len(groups),
        largest_group=max(groups.values(), default=0),
        widths=_spread([f.width for f in facts]),
        heights=_spread([f.height for f in facts]),
        formats=_counts(str(f.file["format"]) for f in facts if "format" in f.file),
        modes=_counts(str(f.file["mode"]) for f in facts if "mode" in f.file),
        left_out=_counts(re.sub(r"\d[\d,.]*", "N", out.reason) for out in found.left_out),
        findings=tuple(sorted(findings, key=lambda finding: finding.severity != FAULT)),
        probes=measured,
        notes=found.notes,
    )


def _unopened(gone: Sequence[str]) -> list[DataFinding]:
    if not gone:
        return []
    told = "1 image" if len(gone) == 1 else f"{len(gone)} images"
    return [DataFinding("unopened", FAULT, f"{told} cannot be opened any more", tuple((case,) for case in gone))]


def _left_out(found: CaseSet) -> list[DataFinding]:
    if not found.left_out:
        return []
    n = len(found.left_out)
    told = "1 file was left out: it is no case" if n == 1 else f"{n} files were left out: they are no cases"
    return [DataFinding("left-out", FAULT, f"{told}, and in no result")]


def _groups(found: CaseSet) -> list[DataFinding]:
    """Patients that are not known make intervals too narrow. That every image drawn is of another one does not mean that."""
    if not found.ungrouped or len(found.cases) < 2:
        return []
    alone = "each stands alone, identical copies together"
    if found.ungrouped == len(found.cases):
        text = f"no patient or slide is known: {alone}. If several images are of one patient, say how to tell, or intervals come "
        return [DataFinding("ungrouped", NOTE, f"{text}out too narrow")]
    few = "1 image has" if found.ungrouped == 1 else f"{found.ungrouped} images have"
    return [DataFinding("ungrouped", NOTE, f"{few} no patient or slide that the source can tell: {alone}")]


def _spread(values: Sequence[int]) -> tuple[int, float, int]:
    return (min(values), float(np.median(values)), max(values)) if values else (0, 0.0, 0)


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())
