"""Tables ready for a paper: one per question that was examined, as LaTeX (booktabs) and as Markdown; and estimates as rows.

A table's rows are what the estimates are of (model, task, question …), its columns the estimates, as value and interval.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

from palpate import __version__
from palpate.nouns import Estimate
from palpate.report import words
from palpate.report.markdown import escaped, table_lines
from palpate.report.questions import QUESTIONS

FINER = ("prompt", "class", "factor")  # single wordings and classes are in estimates.csv: a table sums them up
WIDEST = 6  # estimates across: what fits a page
PLACES = ("model", "base", "tuned", "relation", "task", "cell", "perturbation")


@dataclass(frozen=True, slots=True)
class PaperTable:
    """One table: its file's name, its caption, its heads, its rows of texts; ``numbers``: how many columns from the right are."""

    name: str
    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: int


def paper_tables(estimates: Sequence[Estimate], study: str) -> list[PaperTable]:
    """A table for each question with estimates, the question's main ones across. Undefined values are an en dash."""
    found = []
    for question in QUESTIONS:
        mine = [e for e in estimates if e.measure in question.measures and not set(FINER) & set(e.by)]
        names = [name for name in question.measures if any(e.measure == name for e in mine)][:WIDEST]
        mine = [e for e in mine if e.measure in names]
        if not mine:
            continue
        caption = f"{question.title} {study}: value [{_level(mine)} interval]; {words.NOTHING} where it is undefined."
        found.append(_table(f"q{question.number}-{question.short.lower()}", caption, names, mine))
    return found


def _level(estimates: Sequence[Estimate]) -> str:
    return f"{100 * max(e.level for e in estimates):.3g} %"


def _table(name: str, caption: str, names: Sequence[str], estimates: Sequence[Estimate]) -> PaperTable:
    used = {key for e in estimates for key in e.by}
    keys = [k for k in PLACES if k in used] + sorted(used - set(PLACES))
    same = {k: estimates[0].by[k] for k in keys[1:] if len({e.by.get(k) for e in estimates}) == 1}
    keys = [k for k in keys if k not in same]  # what is the same in all rows goes into the caption
    caption += f" All of {', '.join(f'{k} {v}' for k, v in same.items())}." if same else ""
    groups: dict[tuple[str, ...], dict[str, Estimate]] = {}
    for e in estimates:
        groups.setdefault(tuple(e.by.get(k, words.NOTHING) for k in keys), {})[e.measure] = e
    judged = any(e.verdict for cells in groups.values() for e in [cells.get(names[0])] if e)
    rows = []
    for place, cells in groups.items():
        first = cells.get(names[0])
        verdict = ((first.verdict or words.NOTHING) if first else words.NOTHING,) if judged else ()
        rows.append((*place, *verdict, *(_cell(cells.get(n)) for n in names)))
    heads = (*keys, *(("verdict",) if judged else ()), *(n.replace("_", " ") for n in names))
    return PaperTable(name, caption, heads, tuple(rows), len(names))


def _cell(e: Estimate | None) -> str:
    if e is None or e.value is None:
        return words.NOTHING
    between = "" if e.low is None or e.high is None else f" [{words.number(e.low)}, {words.number(e.high)}]"
    return words.number(e.value) + between


# ---------------------------------------------------------------- as text

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "–": "--",
    "−": r"\ensuremath{-}",
    "·": r"\textperiodcentered{}",
}


def latex_escaped(text: object) -> str:
    """Text as text in LaTeX: nothing in it is a command, a comment, a column or the beginning of a quotation's ligature."""
    return "".join(LATEX.get(c, c) for c in words.line(text))


def render_latex(table: PaperTable) -> str:
    """A ``table`` environment for the package booktabs, to be input into a paper."""
    sides = "l" * (len(table.heads) - table.numbers) + "r" * table.numbers
    lines = [
        f"% Palpate {__version__}. Needs \\usepackage{{booktabs}} and, before 2019, \\usepackage[T1]{{fontenc}}.",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{latex_escaped(table.caption)}}}",
        f"\\label{{tab:palpate-{re.sub('[^a-z0-9-]', '-', table.name)}}}",
        f"\\begin{{tabular}}{{{sides}}}",
        "\\toprule",
        _latex_row(table.heads),
        "\\midrule",
        *(_latex_row(row) for row in table.rows),
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_row(cells: Sequence[str]) -> str:
    # A row that begins with a bracket would be taken for the space wanted after the row before it.
    escaped_cells = [latex_escaped(cell) for cell in cells]
    first = "{}" if escaped_cells[0].startswith(("[", "*")) else ""
    return first + " & ".join(escaped_cells) + " \\\\"


def render_paper_markdown(table: PaperTable) -> str:
    """The same as a Markdown table under its caption."""
    return "\n".join([escaped(table.caption), "", *table_lines(table.heads, table.rows)]) + "\n"


# ---------------------------------------------------------------- estimates as rows


FIELDS = frozenset(field.name for field in fields(Estimate))
"""What an estimate may be of by the same name: the level of a factor is not the level of confidence."""


def estimate_rows(estimates: Sequence[Estimate]) -> tuple[Mapping[str, str], Iterator[tuple[object, ...]]]:
    """Columns (name → string, int64 or double) and rows of a flat table of estimates, what they are of a column a key."""
    used = {key for e in estimates for key in e.by}
    keys = [*(k for k in PLACES if k in used), *sorted(used - set(PLACES))]
    columns = {
        "measure": "string",
        **{f"by_{k}" if k in FIELDS else k: "string" for k in keys},
        **dict.fromkeys(("value", "low", "high", "level"), "double"),
        **dict.fromkeys(("n_cases", "n_clusters", "n_left_out"), "int64"),
        **dict.fromkeys(("verdict", "reason", "method"), "string"),
    }
    rows = (
        (
            *(e.measure, *(e.by.get(k) for k in keys), e.value, e.low, e.high, e.level),
            *(e.n_cases, e.n_clusters, e.n_left_out, e.verdict, e.reason, e.method),
        )
        for e in estimates
    )
    return columns, rows
