"""Tables for a paper: the numbers of the estimates, and no text that is taken for a command."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from palpate.nouns import Estimate
from palpate.report.paper import (
    WIDEST,
    PaperTable,
    estimate_rows,
    latex_escaped,
    paper_tables,
    render_latex,
    render_paper_markdown,
)
from palpate.results import Results
from small import Cli

ESTIMATE = Estimate(
    "ba_all", {"model": "m_1", "task": "t", "cell": "target"}, 0.8125, 0.7, 0.9, 0.95, "boot", 10, 5, verdict="above chance"
)


def estimates() -> list[Estimate]:
    return [
        ESTIMATE,
        replace(ESTIMATE, by={**ESTIMATE.by, "model": "50%&"}, value=None, low=None, high=None, reason="one class", verdict=None),
        replace(ESTIMATE, by={**ESTIMATE.by, "prompt": "p"}),
        replace(ESTIMATE, measure="auroc", low=None, high=None, verdict=None),
        replace(ESTIMATE, measure="nobody's", verdict=None),
    ]


def test_rows_are_groups_and_columns_estimates() -> None:
    (table,) = paper_tables(estimates(), "chest")
    assert table.name == "q1-accuracy"
    assert table.heads == ("model", "verdict", "ba all", "auroc")
    assert table.rows == (("m_1", "above chance", "0.812 [0.700, 0.900]", "0.812"), ("50%&", "–", "–", "–"))
    assert table.caption.endswith("where it is undefined. All of task t, cell target.")
    assert "95 % interval" in table.caption
    assert paper_tables([], "x") == []


def test_a_run_gives_a_table_per_examined_question(finished: Path) -> None:
    tables = paper_tables(Results.open(finished).estimates, "small")
    assert {t.name.partition("-")[0] for t in tables} >= {"q1", "q2", "q3", "q4"}
    for table in tables:
        assert 1 <= table.numbers <= WIDEST
        assert all(len(row) == len(table.heads) for row in table.rows)


HOSTILE = r"50% of \input{x} & a_b #1 $x$ {y} ~ ^ [t] <a> |" + '"\x07\n'


def test_text_is_text_in_latex() -> None:
    shown = latex_escaped(HOSTILE)
    plain = re.sub(r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar|textquotedbl)\{\}", "", shown)
    assert not re.search(r"(?<!\\)[&%$#_{}~^]", plain)
    assert "\\input" not in shown
    assert "\n" not in shown
    assert "\x07" not in shown
    assert latex_escaped("−3 – +8") == r"\ensuremath{-}3 -- +8"


@pytest.mark.parametrize("first", ["[0.1]", "*", "plain"])
def test_latex_has_one_cell_per_column_and_a_row_may_begin_with_anything(first: str) -> None:
    table = PaperTable("q1-x_y", HOSTILE, ("model", "a & b"), ((first, HOSTILE), ("x", "–")), 1)
    text = render_latex(table)
    assert "\\begin{tabular}{lr}" in text
    assert "\\label{tab:palpate-q1-x-y}" in text
    body = text.partition("\\toprule\n")[2].partition("\\bottomrule")[0]
    lines = [line for line in body.splitlines() if line.endswith("\\\\")]
    assert len(lines) == 3
    assert all(len(re.findall(r"(?<!\\)&", line)) == 1 for line in lines)
    assert not any(line.startswith(("[", "*")) for line in lines)
    assert text.count("\\begin{") == text.count("\\end{") == 2
    assert text.index("\\toprule") < text.index("\\midrule") < text.index("\\bottomrule")


def test_markdown_has_the_same_cells() -> None:
    (table,) = paper_tables(estimates(), "<chest>")
    text = render_paper_markdown(table)
    assert text.startswith("Better than chance? \\<chest\\>:")
    assert "| m\\_1 | above chance | 0.812 \\[0.700, 0.900\\] | 0.812 |" in text


def test_estimates_as_rows_keep_every_field() -> None:
    columns, rows = estimate_rows(estimates())
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    assert list(columns)[:5] == ["measure", "model", "task", "cell", "prompt"]
    assert found[0]["value"] == 0.8125
    assert found[0]["prompt"] is None
    assert found[1]["reason"] == "one class"
    assert found[1]["value"] is None
    assert found[2]["prompt"] == "p"


def test_what_an_estimate_is_of_may_be_called_like_one_of_its_fields() -> None:
    columns, rows = estimate_rows([replace(ESTIMATE, by={"factor": "cell", "level": "negated"})])
    (row,) = rows
    found = dict(zip(columns, row, strict=True))
    assert (found["by_level"], found["level"], found["value"]) == ("negated", 0.95, 0.8125)


def test_the_verb(cli: Cli, finished: Path, tmp_path: Path) -> None:
    shown = cli("export", finished, "--out", tmp_path / "all").stdout
    written = sorted(p.relative_to(tmp_path / "all").as_posix() for p in (tmp_path / "all").rglob("*") if p.is_file())
    assert written[:4] == ["estimates.json", "estimates.parquet", "readings.parquet", "tables/q1-accuracy.md"]
    assert "trials.parquet: 288 rows" in " ".join(shown.split())
    cli("export", finished, "estimates", "--format", "csv", "--out", tmp_path / "some")
    assert sorted(p.name for p in (tmp_path / "some").iterdir()) == ["estimates.csv", "estimates.json"]
    assert "Usage" in cli("export", finished, "everything", exit_code=2).stderr
    assert "no such run folder" in cli("export", tmp_path / "nowhere", exit_code=2).stderr
