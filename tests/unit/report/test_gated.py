"""The gate for machines: JUnit XML as continuous integration reads it, and JSON."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from palpate.conditions import parse_condition
from palpate.nouns import ConditionResult, Estimate, Held
from palpate.report.gated import GatedRun, gate_json, render_junit

RUN = GatedRun("chest <1> & \x07co", "rules@1+abc", "2026-01-02T03:04:05+00:00")
ESTIMATE = Estimate(
    "ba_all", {"model": "m<&>", "task": "t", "cell": "target"}, 0.81, 0.7, 0.9, 0.95, "boot", 10, 5, verdict="above chance"
)


def result(held: Held, estimate: Estimate | None = ESTIMATE, text: str = "ba_all.low >= 0.8") -> ConditionResult:
    return ConditionResult(parse_condition(text), held, estimate, "low is 0.7 \x1b[31m")


ALL = [result(Held.PASS), result(Held.FAIL), result(Held.NOT_EVALUABLE), result(Held.NOT_EVALUABLE, None)]

# The JUnit schema as Jenkins publishes it and GitLab, GitHub's actions and Azure read it: per element its attributes
# (required ones marked) and its children in order (* any number, ? at most one).
SHAPE: dict[str, tuple[dict[str, bool], str]] = {
    "testsuites": ({"name": False, "time": False, "tests": False, "failures": False, "errors": False}, "testsuite*"),
    "testsuite": (
        {
            **dict.fromkeys(("name", "tests", "failures", "errors", "timestamp", "hostname", "time"), True),
            **dict.fromkeys(("skipped", "id", "package"), False),
        },
        "properties? testcase* system-out? system-err?",
    ),
    "properties": ({}, "property*"),
    "property": ({"name": True, "value": True}, ""),
    "testcase": ({"name": True, "classname": True, "time": True}, "skipped? error? failure? system-out? system-err?"),
    "failure": ({"message": False, "type": True}, ""),
    "error": ({"message": False, "type": True}, ""),
    "system-out": ({}, ""),
}


def hold_to_shape(element: ET.Element) -> None:
    attributes, children = SHAPE[element.tag]
    assert set(element.attrib) <= set(attributes), element.tag
    assert {name for name, needed in attributes.items() if needed} <= set(element.attrib), element.tag
    pattern = "".join(f"(?:<{name}>){times}" for name, times in re.findall(r"([\w-]+)([*?])", children))
    assert re.fullmatch(pattern, "".join(f"<{child.tag}>" for child in element)), element.tag
    for child in element:
        hold_to_shape(child)


@pytest.mark.parametrize("results", [ALL, ALL[:1], []], ids=["all", "passing", "none"])
def test_junit_has_the_schemas_shape_and_its_counts_are_true(results: list[ConditionResult]) -> None:
    root = ET.fromstring(render_junit(results, RUN))
    hold_to_shape(root)
    (suite,) = root
    cases = suite.findall("testcase")
    assert int(suite.attrib["tests"]) == len(cases)
    for kind in ("failure", "error"):
        found = [c for c in cases if c.find(kind) is not None]
        assert int(suite.attrib[f"{kind}s"]) == int(root.attrib[f"{kind}s"]) == len(found)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib["timestamp"])


def test_what_is_not_asked_yet_is_said_to_machines_and_of_answers_from_elsewhere_in_other_words() -> None:
    open_run = replace(RUN, questions=2880, unasked=960)
    root = ET.fromstring(render_junit(ALL[:1], open_run))
    hold_to_shape(root)
    assert "960 of 2,880 questions are not asked yet" in str(root.findtext("testsuite/system-out"))
    found = json.loads(gate_json(ALL[:1], open_run, 0))
    assert (found["questions"], found["not_asked_yet"], len(found["notes"])) == (2880, 960, 1)
    assert replace(open_run, imported=True).note == "960 of 2,880 questions have no answer among those imported"
    assert replace(open_run, unasked=0).note == replace(open_run, unasked=0, imported=True).note == ""


def test_junit_says_what_failed_and_why() -> None:
    (suite,) = ET.fromstring(render_junit(ALL, RUN))
    passed, failed, unclear, unmatched = suite.findall("testcase")
    assert passed.attrib["name"] == "ba_all.low >= 0.8 [model=m<&>, task=t, cell=target]"
    assert passed.attrib["classname"] == "palpate.m<&>"
    assert list(passed) == []
    assert failed[0].tag == "failure"
    assert failed[0].text == "ba_all: value 0.810, low 0.700, high 0.900, verdict above chance, 10 cases in 5 groups"
    assert [unclear[0].tag, unmatched[0].tag] == ["error", "error"]  # an error: no service shows it as passed
    assert "\x1b" not in failed[0].attrib["message"]
    assert suite.attrib["name"] == "chest <1> & \ufffdco"
    assert suite.find("properties/property[@name='reading']").attrib["value"] == "rules@1+abc"  # type: ignore[union-attr]


def test_no_condition_is_one_error() -> None:
    (suite,) = ET.fromstring(render_junit([], GatedRun()))
    (case,) = suite.findall("testcase")
    assert case[0].attrib["message"] == "no condition was given"


def test_json_carries_the_numbers() -> None:
    found = json.loads(gate_json(ALL, RUN, 1))
    assert (found["exit_code"], found["study"], found["reading"]) == (1, RUN.study, RUN.reading)
    assert [c["held"] for c in found["conditions"]] == ["pass", "fail", "not evaluable", "not evaluable"]
    numbers = {"value": 0.81, "low": 0.7, "high": 0.9, "verdict": "above chance", "n_cases": 10}
    assert found["conditions"][0]["estimate"] == numbers
    assert found["conditions"][3]["estimate"] is found["conditions"][3]["by"] is None
