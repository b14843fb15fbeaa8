"""The page on reliability says what was counted, of tests that are there, and of every fault."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from faults_found import DOCS, FAULTS, Counts, page, survived, table

ROOT = DOCS.parent


@pytest.fixture(scope="module")
def found() -> Counts:
    counts: Counts = json.loads((DOCS / "reliability.json").read_text(encoding="utf-8"))
    return counts


def test_the_page_is_what_was_counted(found: Counts) -> None:
    text = (DOCS / "reliability.md").read_text(encoding="utf-8")
    assert page(text, found) == text


def test_every_fault_was_provoked_often_enough_and_nothing_was_lost(found: Counts) -> None:
    assert found.keys() == FAULTS.keys()
    for name, parts in found.items():
        tried = sum(part["tried"] for part in parts.values())
        assert tried >= FAULTS[name].least, name
        assert sum(part["survived"] for part in parts.values()) == tried, name
        assert sum(part["lost"] for part in parts.values()) == 0, name
    kills = sum(part["tried"] for name in ("driver", "worker") for part in found[name].values())
    assert kills >= 200


@pytest.mark.parametrize("name", FAULTS)
def test_the_test_is_there_and_counts(name: str) -> None:
    file, _, test = FAULTS[name].test.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    (function,) = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == test]
    last = ast.unparse(function.body[-1])  # when all else has held
    assert last.startswith(f"survived('{name}', ")


def test_messages_it_explains_are_those_of_the_program() -> None:
    source = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "src").rglob("*.py"))
    page_text = (DOCS / "reliability.md").read_text(encoding="utf-8")
    for said in (
        "another run is writing here",
        "workers ended, one after another",
        "the ledger cannot be used",
        "the run folder cannot be written",
    ):
        assert f"`{said}" in page_text
        assert said in source
    for said in (
        "is another model than the one that answered here before",
        "changed since this run was begun",
        "ChangedSincePlanned",
    ):
        assert said in page_text
        assert said in source


def test_counts_are_kept_only_where_they_are_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import faults_found

    (tmp_path / "reliability.md").write_text("a\n" + faults_found.START + faults_found.END + "b\n", encoding="utf-8")
    monkeypatch.setattr(faults_found, "DOCS", tmp_path)
    monkeypatch.delenv("PALPATE_RECORD", raising=False)
    survived("page", 3)
    assert not (tmp_path / "reliability.json").exists()
    monkeypatch.setenv("PALPATE_RECORD", "1")
    survived("page", 30)
    survived("page", 3)  # the short version of the same test
    survived("driver", 50, part="1")
    survived("driver", 50, part="2")
    made = (tmp_path / "reliability.md").read_text(encoding="utf-8")
    assert made.startswith("a\n")
    assert made.endswith("b\n")
    assert re.search(r"\| the driver is killed \|.*\| 100 \| 100 \| 0 \|", made)
    assert re.search(r"\| corrupt ledger page \|.*\| 30 \| 30 \| 0 \|", made)
    counted = json.loads((tmp_path / "reliability.json").read_text(encoding="utf-8"))
    assert table(counted).count("\n") == 4
