"""Errors say what was given, where, what was expected, what is near and what to do; and they travel between processes."""

from __future__ import annotations

import pickle

import pytest

from palpate import errors
from palpate.errors import LedgerError, ModelError, PalpateError, RunError, SourceError, StudyError, UnknownName, unknown_name

KINDS = [PalpateError, StudyError, UnknownName, SourceError, ModelError, LedgerError, RunError]


@pytest.mark.parametrize("kind", KINDS)
def test_the_five_things(kind: type[PalpateError]) -> None:
    fault = kind("is wrong", where="chest.toml: tasks[1]", expected="a task", hint="palpate list tasks")
    assert str(fault) == "chest.toml: tasks[1]: is wrong\n  expected: a task\n  try: palpate list tasks"
    assert str(kind("is wrong")) == "is wrong"
    assert issubclass(kind, PalpateError)


@pytest.mark.parametrize("kind", KINDS)
def test_they_come_back_whole_from_a_worker(kind: type[PalpateError]) -> None:
    fault = kind("p", where="w", expected="e", hint="h")
    again = pickle.loads(pickle.dumps(fault))
    assert type(again) is kind
    assert str(again) == str(fault)
    assert (again.problem, again.where, again.expected, again.hint) == ("p", "w", "e", "h")


def test_a_place_is_given_once() -> None:
    assert StudyError("p").at("here").where == "here"
    assert StudyError("p", where="there").at("here").where == "there"
    assert type(ModelError("p", hint="h").at("here")) is ModelError
    assert ModelError("p", hint="h", expected="e").at("here").hint == "h"


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__ is not None
    assert all(kind.__name__ in errors.__doc__ for kind in KINDS)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("pneumonia_crx", "did you mean 'pneumonia_cxr'?"),
        ("brain", "did you mean 'brain_mri'?"),
        ("zzz", "`palpate list tasks` shows all"),
        ("", "`palpate list tasks` shows all"),
    ],
)
def test_the_nearest_name(given: str, hint: str) -> None:
    fault = unknown_name(given, ["pneumonia_cxr", "brain_mri"], noun="task", where="x.toml")
    assert fault.hint == hint
    assert fault.expected == "one of brain_mri, pneumonia_cxr"
    assert str(fault).startswith(f"x.toml: no task is called {given!r}")


def test_a_list_too_long_to_read_is_named_where_the_name_is_near() -> None:
    names = [f"measure_{i:02d}" for i in range(41)]
    assert unknown_name("measure_0", names, noun="measure").expected == "one of the 41 that `palpate list measures` shows"
    assert unknown_name("measure_0", names[:40], noun="measure").expected.startswith("one of measure_00, measure_01")
    assert "measure_40" in unknown_name("measure_0", names, noun="column").expected  # what no list shows is given in full
    assert "measure_40" in unknown_name("zzz", names, noun="measure").expected
