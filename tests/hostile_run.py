"""Answers, causes and rules that mean harm, put into a run that is there."""

from __future__ import annotations

from pathlib import Path

from palpate.nouns import Answer, Outcome, Reading, Response, Status
from palpate.results import Results
from palpate.serve.view import methods
from palpate.store.ledger import Ledger

EVIL = (
    "<script>document.title='owned'</script>",
    "</mark></span><img src=x onerror=\"document.title='owned'\">",
    "<svg onload=\"document.title='owned'\"></svg>",
    "</title></textarea><iframe src=\"javascript:parent.document.title='owned'\"></iframe>",
    '" onmouseover="alert(1)',
    "{{ 7*7 }}{% raw %}",
    "\x1b[31m\u202eevil\u2066\x00",
    "<a href='javascript:alert(1)'>x</a>",
    "<style>*{display:none}</style><base href='https://evil.example/'>",
    "x" * 3000,
)


def hostile(run: Path, times: int = 1) -> int:
    """Give two cases of the run such answers to one question, ``times`` over, and a failure each; returns how many were read."""
    with Ledger(run / "ledger.sqlite") as ledger:
        trial, _ = ledger.find(next(ledger.texts())[0])[0]
        for case in (1, 2):
            ledger._rows["model", trial.model] = ledger._rows["prompt", trial.task, trial.prompt.name] = 1
            ledger._rows["case", trial.task, trial.case] = case
            ledger._rows["perturbation", str(trial.perturbation)] = 1
            keys = (f"{case:02x}{n:06x}" * 4 for n in range(times * len(EVIL)))
            new = [(trial, Response(key, 1, Answer(Status.OK, EVIL[n % len(EVIL)]))) for n, key in enumerate(keys)]
            failed = Response(f"ff{case:06x}" * 4, 1, Answer(Status.ERROR, error=EVIL[1]))
            ledger.append([*new, (trial, failed)])
        by = methods(Results.open(run).study, ledger)[0]
        unread = ledger.unread(by, 0, 10_000)
        rules = (EVIL[n % len(EVIL)] for n in range(len(unread)))
        read = [(u.row, Reading(u.response.key, 1, by, Outcome.POSITIVE, (2, 5), r)) for u, r in zip(unread, rules, strict=True)]
        ledger.append_readings(read)
        return len(read)
