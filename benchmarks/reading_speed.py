"""Answers read by rules per second of one core's processor time. Repeat: ``OMP_NUM_THREADS=1 python -m benchmarks.reading_speed``.

The answers are those of the fixture ``tests/written_answers.py``, and longer ones made of its sentences.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from palpate.nouns import Prompt
from palpate.parts import Rubric
from palpate.readings.rules import Rules

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from written_answers import written

SECONDS = 2.0
LONG = 800  # characters of a paragraph

Asked = list[tuple[str, Prompt, Rubric]]


def measure() -> dict[str, float]:
    """Kind of answer → readings per second of processor time."""
    table = [(w.text, w.prompt, w.rubric) for w in written()]
    short = [
        ("Yes", *table[0][1:]),
        ("No.", *table[0][1:]),
        ("B) No pneumonia", *table[0][1:]),
        ("The answer is no.", *table[0][1:]),
    ]
    short.append(("Yes, there is consolidation in the left lung.", *table[0][1:]))
    rng = random.Random(0)
    long = [(_paragraph(rng, [t for t, *_ in table]), prompt, rubric) for _, prompt, rubric in table]
    return {
        "short answers read/s": _rate(short * 100),
        "the fixture's answers read/s": _rate(table),
        f"paragraphs of {LONG} characters read/s": _rate(long),
    }


def _paragraph(rng: random.Random, sentences: list[str]) -> str:
    text = ""
    while len(text) < LONG:
        text += rng.choice(sentences) + " "
    return text[:LONG]


def _rate(asked: Asked) -> float:
    rules, count = Rules(), 0
    for text, prompt, rubric in asked:  # once before, so that no pattern is compiled while the clock runs
        rules.read(text, prompt, rubric)
    began = time.process_time()
    while time.process_time() - began < SECONDS:
        for text, prompt, rubric in asked:
            rules.read(text, prompt, rubric)
        count += len(asked)
    return count / (time.process_time() - began)


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:40} {value:10,.0f}")
