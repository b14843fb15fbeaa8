"""Small folders of images, studies of scripted models over them, and the command line as a process."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
from click.testing import Result
from PIL import Image

Cli = Callable[..., Result]
"""The fixture ``cli``."""


def make_images(folder: Path, per_class: int = 6, *, labels: tuple[str, str] = ("pneumonia", "normal"), size: int = 12) -> Path:
    """A folder of label folders: ``per_class`` PNGs each, two to a patient, every image with its own pixels."""
    for k, label in enumerate(labels):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for i in range(per_class):
            pixels = np.random.default_rng([k, i]).integers(0, 255, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"person{k}{i // 2:03d}_{i}.png")
    return folder


STUDY = """
name = "small"
seed = 3
prompts = "reference"

[[models]]
name = "base"
kind = "scripted"
accuracy = 0.7
refusal_rate = 0.05

[[models]]
name = "tuned"
kind = "scripted"
accuracy = 0.9

[[tasks]]
name = "pneumonia_cxr"
source = { kind = "folder", path = "images", group_regex = "(person\\\\d+)" }

[[pairs]]
base = "base"
tuned = "tuned"
relation = "parent"

[measure]
draws = 200
"""


def write_study(folder: Path, text: str = STUDY, per_class: int = 6) -> Path:
    """A study file in ``folder`` with its images beside it."""
    make_images(folder / "images", per_class)
    study = folder / "study.toml"
    study.write_text(text, encoding="utf-8")
    return study


def cut_short(run: Path, answers: int) -> None:
    """Leave the first answers of a finished run, as if it had been stopped there."""
    with closing(sqlite3.connect(run / "ledger.sqlite")) as db:
        db.execute("DELETE FROM reading WHERE response > ?", (answers,))
        db.execute("DELETE FROM response WHERE id > ?", (answers,))
        db.commit()


def palpate(*words: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """The command line as a process of its own, in a group of its own, so that a test may kill it."""
    return subprocess.Popen(
        [sys.executable, "-m", "palpate", *map(str, words)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_ctrl_c,
    )


def hear_ctrl_c() -> None:
    """In the child: a test suite in the background of a script was told to ignore SIGINT, and would hand that on."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
