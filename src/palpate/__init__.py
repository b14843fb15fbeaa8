"""Press on a medical vision-language model and see where it gives.

    study = palpate.Study.load("chest.toml")
    print(palpate.plan(study))                       # what it would ask; runs no model
    results = palpate.run(study, out="runs/chest")   # goes on where it stopped
    results.measure("ba_all", by=["model", "task", "cell"])
    results.report("chest.html")
    results.gate().exit_code

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from palpate.errors import LedgerError as LedgerError
    from palpate.errors import ModelError as ModelError
    from palpate.errors import PalpateError as PalpateError
    from palpate.errors import RunError as RunError
    from palpate.errors import SourceError as SourceError
    from palpate.errors import StudyError as StudyError
    from palpate.errors import UnknownName as UnknownName
    from palpate.nouns import Estimate as Estimate
    from palpate.nouns import Form as Form
    from palpate.nouns import Held as Held
    from palpate.nouns import Outcome as Outcome
    from palpate.nouns import Polarity as Polarity
    from palpate.nouns import Status as Status
    from palpate.parts import Rubric as Rubric
    from palpate.pipeline import run as run
    from palpate.readings.rules import read_answer as read_answer
    from palpate.results import Results as Results
    from palpate.results import plan_summary as plan
    from palpate.study import Study as Study

__version__ = "0.1.0"

_HOME = {
    "Estimate": "nouns",
    "Form": "nouns",
    "Held": "nouns",
    "LedgerError": "errors",
    "ModelError": "errors",
    "Outcome": "nouns",
    "PalpateError": "errors",
    "Polarity": "nouns",
    "Results": "results",
    "Rubric": "parts",
    "RunError": "errors",
    "SourceError": "errors",
    "Status": "nouns",
    "Study": "study",
    "StudyError": "errors",
    "UnknownName": "errors",
    "plan": "results:plan_summary",
    "read_answer": "readings.rules",
    "run": "pipeline",
}
"""Public name → the module it lives in (and what it is called there, where that differs)."""

__all__ = [
    "Estimate",
    "Form",
    "Held",
    "LedgerError",
    "ModelError",
    "Outcome",
    "PalpateError",
    "Polarity",
    "Results",
    "Rubric",
    "RunError",
    "SourceError",
    "Status",
    "Study",
    "StudyError",
    "UnknownName",
    "__version__",
    "plan",
    "read_answer",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, there = _HOME[name].partition(":")
    found = getattr(import_module(f"{__name__}.{module}"), there or name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
