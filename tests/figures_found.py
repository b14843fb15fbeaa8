"""What the long simulations found, kept as figures and shown in ``docs/validation.md``.

With ``PALPATE_RECORD=1`` (as ``make validate`` sets it) every figure goes to ``docs/validation.json`` and the page is written anew
from it; without, figures are printed alone. Workers side by side take turns.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from filelock import FileLock

DOCS = Path(__file__).parents[1] / "docs"
HEAD = """# Validation

What Palpate's measures found where the truth was planted. `make validate` runs every simulation again and writes this page; a row
stands here only where its simulation has run to its end. Each section's test, in `tests/validate/`, says how its studies were made.
Rates carry Monte Carlo error: 1.0 point for 5 % of 500 studies, 0.7 for 1,000.
The coverage of accuracy, refusals and AUROC is in [methods](methods.md#checked-by-simulation).

"""

Figure = float | int | str


def record(section: str, row: str, **figures: Figure) -> None:
    """One row of a section's table: what was planted, and what was found."""
    told = {name.replace("_", " "): value if isinstance(value, int | str) else round(value, 4) for name, value in figures.items()}
    print(f"{section} | {row} | " + " | ".join(f"{name} {value}" for name, value in told.items()))
    if os.environ.get("PALPATE_RECORD") != "1":
        return
    with FileLock(DOCS / ".validation.lock"):
        kept = DOCS / "validation.json"
        found = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
        found.setdefault(section, {}).setdefault(row, {}).update(told)
        kept.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (DOCS / "validation.md").write_text(page(found), encoding="utf-8")


def page(found: dict[str, dict[str, dict[str, Figure]]]) -> str:
    """The page: a section, and in it a table, for every measure."""
    parts = [HEAD]
    for section, rows in sorted(found.items()):
        columns = list(dict.fromkeys(name for figures in rows.values() for name in figures))
        parts.append(f"## {section}\n\n")
        parts.append(f"| planted | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}\n")
        for row, figures in rows.items():
            parts.append(f"| {row} | {' | '.join(_shown(figures.get(name, '')) for name in columns)} |\n")
        parts.append("\n")
    return "".join(parts).rstrip() + "\n"


def _shown(value: Figure) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
