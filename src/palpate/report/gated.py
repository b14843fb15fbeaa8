"""What a gate found, for machines: JSON, and the JUnit XML that continuous-integration services show.

JUnit's shape is that of the schema most services read (Jenkins, GitLab, GitHub actions): ``testsuites`` > ``testsuite`` >
``properties``, then ``testcase`` with at most one ``failure`` or ``error``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from palpate import __version__
from palpate.nouns import ConditionResult, Held
from palpate.report import words
from palpate.store.planned import not_finished


@dataclass(frozen=True, slots=True)
class GatedRun:
    """Which run was held to the conditions: its study, how its answers were read, when it was last asked (ISO 8601).

    ``questions``: in all; ``unasked``: those of them that were not asked yet, so that nothing in the numbers rests on them.
    """

    study: str = ""
    reading: str = ""
    started: str = ""
    questions: int = 0
    unasked: int = 0
    imported: bool = False

    @property
    def note(self) -> str:
        """That the run is not finished, and how it goes on; empty where it is."""
        if self.unasked and self.imported:
            return f"{self.unasked:,} of {self.questions:,} questions have no answer among those imported"
        told = not_finished(self.unasked, self.questions)
        return f"{told}; the conditions are held to what was asked. The same `palpate run` goes on" if told else ""


def gate_json(results: Sequence[ConditionResult], run: GatedRun, exit_code: int) -> str:
    """An object: exit code, run, and per condition and estimate whether it held, why, and the whole estimate's numbers."""
    rows = []
    for r in results:
        e = r.estimate
        numbers = {"value": e.value, "low": e.low, "high": e.high, "verdict": e.verdict, "n_cases": e.n_cases} if e else None
        place = {"by": dict(e.by) if e else None, "measure": r.condition.measure, "estimate": numbers}
        rows.append({"condition": r.condition.text, "held": r.held, "why": r.why, **place})
    about = {"study": run.study, "reading": run.reading, "started": run.started, "palpate": __version__}
    asked = {"questions": run.questions, "not_asked_yet": run.unasked, "notes": [run.note] if run.note else []}
    return json.dumps({"exit_code": exit_code, **about, **asked, "conditions": rows}, indent=1, allow_nan=False) + "\n"


def render_junit(results: Sequence[ConditionResult], run: GatedRun) -> str:
    """A JUnit report. A condition that fails is a failure; one that could not be evaluated an error, for it does not pass.

    No condition at all is one error: nothing was demanded, so nothing was shown.
    """
    held = Counter(r.held for r in results)
    errors = held[Held.NOT_EVALUABLE] if results else 1
    counts = {"tests": str(max(len(results), 1)), "failures": str(held[Held.FAIL]), "errors": str(errors)}
    root = ET.Element("testsuites", {"name": "palpate gate", **counts})
    # The schema wants a time without zone and a host; a run tells no host's name.
    about = {"timestamp": run.started[:19] or "1970-01-01T00:00:00", "hostname": "localhost", "time": "0", "skipped": "0"}
    suite = ET.SubElement(root, "testsuite", {"name": words.line(run.study) or "palpate", **counts, **about})
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(run):
        ET.SubElement(properties, "property", {"name": name, "value": words.line(value)})
    for r in results:
        _case(suite, r)
    if not results:
        case = ET.SubElement(suite, "testcase", {"name": "conditions", "classname": "palpate", "time": "0"})
        ET.SubElement(case, "error", {"message": "no condition was given", "type": Held.NOT_EVALUABLE.value})
    if run.note:
        ET.SubElement(suite, "system-out").text = words.line(run.note)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _properties(run: GatedRun) -> Iterator[tuple[str, str]]:
    yield from (("palpate", __version__), ("reading", run.reading))
    if run.note:
        yield from (("questions", str(run.questions)), ("not asked yet", str(run.unasked)))


def _case(suite: ET.Element, r: ConditionResult) -> None:
    of = ", ".join(f"{k}={v}" for k, v in r.estimate.by.items()) if r.estimate else ""
    name = words.line(f"{r.condition.text} [{of}]" if of else r.condition.text)
    place = r.estimate.by.get("model") or r.estimate.by.get("tuned", "") if r.estimate else ""
    case = ET.SubElement(suite, "testcase", {"name": name, "classname": words.line(f"palpate.{place or 'run'}"), "time": "0"})
    if r.held is Held.PASS:
        return
    kind = "failure" if r.held is Held.FAIL else "error"
    found = ET.SubElement(case, kind, {"message": words.line(r.why), "type": str(r.held)})
    if r.estimate is not None:
        e = r.estimate
        numbers = ", ".join(f"{k} {words.number(getattr(e, k))}" for k in ("value", "low", "high"))
        found.text = words.line(
            f"{e.measure}: {numbers}, verdict {e.verdict or 'none'}, {e.n_cases} cases in {e.n_clusters} groups"
        )
