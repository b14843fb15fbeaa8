"""How long Palpate takes to start, and how long and how much memory the demo takes.

Repeat: ``python -m benchmarks.startup_and_demo``. Memory is the resident set of the whole process tree, sampled.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

REPEATS = 7
SAMPLE_SECONDS = 0.1


def seconds(*command: str) -> float:
    """Median wall time of a command over REPEATS runs, after one that warms the file cache."""
    times = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def watched(*command: str) -> tuple[float, float]:
    """(wall seconds, peak GiB) of a command and its children."""
    started, peak = time.perf_counter(), 0
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, _resident(process))
        time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - started, peak / 2**30


def _resident(process: psutil.Process) -> int:
    total = 0
    for each in [process, *process.children(recursive=True)]:
        try:
            total += each.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def measure() -> dict[str, float]:
    """Figure → value; seconds and GiB."""
    nothing = seconds(sys.executable, "-c", "pass")
    figures = {
        "import palpate, s": seconds(sys.executable, "-c", "import palpate") - nothing,
        "palpate --help, s": seconds(sys.executable, "-m", "palpate", "--help"),
    }
    with tempfile.TemporaryDirectory() as folder:
        demo = (sys.executable, "-m", "palpate", "demo", "--out", str(Path(folder) / "demo"))
        figures["demo, s"], figures["demo, peak GiB"] = watched(*demo)
        figures["report.html, MB"] = (Path(folder) / "demo" / "report.html").stat().st_size / 1e6
    return figures


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:24} {value:8.2f}")
