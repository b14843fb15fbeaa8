"""Answers made elsewhere, from the file to the finished report: seconds, processor time and memory, at several sizes.

Repeat: ``OMP_NUM_THREADS=1 python -m benchmarks.import_speed --rows 10000 100000 1000000``. Two models, 24 wordings, two images
to a patient; answers are short sentences, one in twenty a refusal.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODELS, WORDINGS = ("base", "tuned"), 24
YES = ("Yes", "Yes.", "Yes, there is consolidation in the left lower lobe.", "Yes, the image shows signs of pneumonia.")
NO = ("No", "No.", "No, the lungs are clear.", "No, there is no sign of pneumonia in this image.")
REFUSED = "I'm sorry, but I cannot give a medical diagnosis. Please consult a doctor."
COLUMNS = ("model", "task", "case", "group", "label", "prompt", "form", "polarity", "cell", "response")
Figures = dict[str, float]


def write(file: Path, rows: int) -> int:
    """The answers, as one CSV; returns how many rows there are."""
    rng, cases = random.Random(0), max(8, rows // (len(MODELS) * WORDINGS))
    with file.open("w", newline="", encoding="utf-8") as to:
        table = csv.writer(to)
        table.writerow(COLUMNS)
        for case in range(cases):
            label = case % 2
            for model in MODELS:
                for wording in range(WORDINGS):
                    said = label if rng.random() < 0.75 else 1 - label
                    answer = REFUSED if rng.random() < 0.05 else rng.choice(YES if said else NO)
                    question = f"Is there pneumonia in this image? ({wording})"
                    where = (model, "pneumonia_cxr", f"image{case:07d}", f"patient{case // 2:07d}", label)
                    table.writerow((*where, question, "yes-no", "positive", "target", answer))
    return cases * len(MODELS) * WORDINGS


def measure(rows: int, folder: Path) -> Figures:
    """Import and report one file, in a process of its own; seconds by the clock and of the processor, and its largest memory."""
    file, run = folder / f"answers{rows}.csv", folder / f"run{rows}"
    found: Figures = {"rows": write(file, rows), "file_mb": file.stat().st_size / 1e6}
    for name, words in (
        ("import", ["import", str(file), "--out", str(run), "--pair", *MODELS]),
        ("report", ["report", str(run)]),
    ):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([sys.executable, "-m", "palpate", *words], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found[f"{name}_s"] = time.perf_counter() - start
        found[f"{name}_cpu_s"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found["largest_gb"] = after.ru_maxrss * 1024 / 1e9
    found["run_mb"] = sum(f.stat().st_size for f in run.rglob("*") if f.is_file()) / 1e6
    return found


def main() -> None:
    """Each size in turn, as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--at", type=Path, help="folder for the files and runs (default: a temporary one)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.at or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for rows in given.rows:
            print(json.dumps({name: round(value, 3) for name, value in measure(rows, folder).items()}), flush=True)


if __name__ == "__main__":
    main()
