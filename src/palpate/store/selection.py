"""Which answers a reading is about: a reader of descriptions reads nothing else, and a model's own reader that model's alone."""

from __future__ import annotations

from dataclasses import dataclass

from palpate.nouns import Form
from palpate.parts import ReadingSpec, ReadsDescriptions
from palpate.registry import part


@dataclass(frozen=True, slots=True)
class Selection:
    """Answers to questions of these ``forms`` (none named: all), given by the model ``of`` (empty: by any)."""

    forms: tuple[str, ...] = ()
    of: str = ""

    @property
    def condition(self) -> str:
        """In SQL, about a response ``r``, after another condition; empty where all are selected."""
        marks = ",".join("?" * len(self.forms))
        form = f" AND r.prompt IN (SELECT id FROM prompt WHERE json_extract(record, '$.form') IN ({marks}))" if self.forms else ""
        return form + (" AND r.model IN (SELECT id FROM model WHERE name = ?)" if self.of else "")

    @property
    def values(self) -> tuple[str, ...]:
        """What stands for the question marks of ``condition``."""
        return (*self.forms, *((self.of,) if self.of else ()))


EVERY = Selection()


def selection(spec: ReadingSpec) -> Selection:
    """What a reading of a study is about."""
    reads = isinstance(part("readings", spec.method), ReadsDescriptions)
    return Selection((str(Form.DESCRIBE),) if reads else (), spec.of)
