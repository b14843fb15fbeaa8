"""The file the import benchmark writes is one that can be imported, of the size that was asked for."""

from __future__ import annotations

import csv
from collections import Counter

from benchmarks.import_speed import COLUMNS, MODELS, WORDINGS, write


def test_the_file_has_every_model_wording_and_case(tmp_path):
    file = tmp_path / "answers.csv"
    rows = write(file, 2000)
    with file.open(encoding="utf-8") as held:
        table = list(csv.DictReader(held))
    assert len(table) == rows
    assert abs(rows - 2000) < len(MODELS) * WORDINGS
    assert tuple(table[0]) == COLUMNS
    of_case = Counter(row["case"] for row in table)
    assert set(of_case.values()) == {len(MODELS) * WORDINGS}
    assert len({row["group"] for row in table}) == -(-len(of_case) // 2)
    assert {row["label"] for row in table} == {"0", "1"}
    assert len({(r["model"], r["case"], r["prompt"]) for r in table}) == rows
    assert sum(r["response"].startswith("I'm sorry") for r in table) > 0.02 * rows
