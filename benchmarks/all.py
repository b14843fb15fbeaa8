"""Every benchmark, one after the other, as a table and as ``build/bench.json``."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

from benchmarks import overhead, phantom_speed, reading_speed, startup_and_demo, view_pages

PRINTED = ("measure_speed", "prompts_per_second")  # these print tables of their own


def main() -> None:
    """Run and print; figures with one number each go into the JSON too."""
    figures: dict[str, float | str] = {"python": platform.python_version(), "machine": platform.machine()}
    for module in (startup_and_demo, phantom_speed, reading_speed, overhead, view_pages):
        found = module.measure()
        figures |= found
        for name, value in found.items():
            print(f"{name:48} {value:10.2f}")
    target = Path("build/bench.json")
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    for name in PRINTED:
        print(f"\n{name}")
        sys.stdout.flush()
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)


if __name__ == "__main__":
    main()
