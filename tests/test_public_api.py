"""What ``import palpate`` gives: a handful of names, each documented, and the whole examination in six lines."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import palpate

NAMES = {
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
}


def test_the_public_names() -> None:
    assert set(palpate.__all__) == NAMES  # a change here is a change of the contract with users
    assert len(palpate.__all__) == len(NAMES)
    assert set(palpate.__all__) <= set(dir(palpate))


@pytest.mark.parametrize("name", sorted(NAMES - {"__version__"}))
def test_every_name_is_there_and_described(name: str) -> None:
    found = getattr(palpate, name)
    assert inspect.getdoc(found)
    assert found.__module__.startswith("palpate.")


def test_every_lazy_name_is_declared_for_type_checkers() -> None:
    tree = ast.parse(Path(str(palpate.__file__)).read_text(encoding="utf-8"))
    (block,) = (n for n in tree.body if isinstance(n, ast.If))
    declared = {alias.asname for n in block.body if isinstance(n, ast.ImportFrom) for alias in n.names}
    homes = {alias.asname: n.module for n in block.body if isinstance(n, ast.ImportFrom) for alias in n.names}
    assert declared == NAMES - {"__version__"} == set(palpate._HOME)
    for name, home in palpate._HOME.items():
        assert homes[name] == "palpate." + home.partition(":")[0]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Studdy'"):
        palpate.Studdy  # noqa: B018


def test_a_star_import_gives_them_all() -> None:
    code = "from palpate import *; print(Study.__name__, run.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "Study run\n"
    assert done.stderr == ""


def test_all_errors_are_palpate_errors() -> None:
    errors = [getattr(palpate, n) for n in NAMES if n.endswith("Error") or n == "UnknownName"]
    assert len(errors) == 7
    assert all(issubclass(e, palpate.PalpateError) for e in errors)


def test_an_examination_as_a_library(small_study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = small_study.read_text(encoding="utf-8")
    small_study.write_text(text + '[gate]\nconditions = ["ba_all.high >= 0.2 for cell=target"]\n', encoding="utf-8")
    study = palpate.Study.load(small_study)
    shown = str(palpate.plan(study))
    assert "288 questions (2 models, 24 images shown)" in shown
    assert "pneumonia_cxr" in shown
    results = palpate.run(study, out=tmp_path / "run")
    found = results.measure("ba_all", by=["model", "task", "cell"])
    assert {e.by["model"] for e in found} == {"base", "tuned"}
    assert all(isinstance(e, palpate.Estimate) and e.value is not None for e in found)
    assert results.measure(where={"model": "tuned"})
    assert results.report(tmp_path / "mine.html").read_text(encoding="utf-8").startswith("<!")
    assert results.gate().exit_code == 0
    assert str(palpate.plan(study)) == shown
    again = palpate.Results.open(tmp_path / "run")
    assert again.measure("ba_all", by=["model", "task", "cell"]) == found
    assert again.estimates == results.estimates
    assert len(again.panels) == 2
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""  # a library is silent


def test_one_answer_can_be_read() -> None:
    found = palpate.read_answer("No, it is not.", form="yes-no", polarity="negative")
    assert found.outcome is palpate.Outcome.POSITIVE
    assert found.span is not None


def test_it_is_typed() -> None:
    assert (Path(str(palpate.__file__)).parent / "py.typed").exists()


def test_the_version_is_the_packages() -> None:
    from importlib.metadata import version

    assert palpate.__version__ == version("palpate")
