"""Does what a page of the documentation says: writes the files it names, types the commands it gives, in an empty folder."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r'^```(?P<language>\w*)(?: title="(?P<title>[^"]+)")?[^\n]*\n(?P<body>.*?)^```', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Said:
    """One command with what it printed and how it ended. ``shown`` are the ``text`` blocks of the page up to the next commands."""

    command: str
    out: str
    code: int


@dataclass
class Reader:
    """Follows one page in ``folder``. ``change`` turns a text of the page (a file, a command) into what this test can do."""

    folder: Path
    change: Callable[[str], str] = lambda text: text
    env: Mapping[str, str] | None = None

    def follow(self, page: str) -> Iterator[Said | str]:
        """Every command as it was run, and every ``text`` block of the page as it stands, in the page's order.

        A block with a title is written to a file of that name; ``sh`` blocks are typed, line by line; ``bash`` blocks, which
        install, are passed over, and so is all else.
        """
        here = self.folder
        (here / "examples").symlink_to(ROOT / "examples")
        last = 0
        for block in BLOCK.finditer((ROOT / "docs" / page).read_text(encoding="utf-8")):
            language, title, body = block["language"], block["title"], block["body"]
            if title:
                (here / title).write_text(self.change(body), encoding="utf-8")
            elif language == "text":
                yield body
            elif language == "sh":
                for line in self.change(body).splitlines():
                    command = line.partition(" #")[0].strip()
                    if command.startswith("cd "):
                        here = here / command[3:]
                    elif command == "echo $?":
                        yield Said(command, f"{last}\n", 0)
                    elif command:
                        said = self._type(command, here)
                        last = said.code
                        yield said

    def _type(self, command: str, here: Path) -> Said:
        words = shlex.split(command)
        called = {"palpate": [sys.executable, "-m", "palpate"], "python": [sys.executable]}
        assert words[0] in called, f"a page types {command!r}"
        env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80", "PYTHONPATH": str(ROOT / "src"), **(self.env or {})}
        ran = subprocess.run(
            [*called[words[0]], *words[1:]],
            cwd=here,
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert "Traceback" not in ran.stderr, ran.stderr
        return Said(command, ran.stdout + ran.stderr, ran.returncode)


def shape(text: str) -> list[str]:
    """A text's lines, every number as #, blanks as one: what stays the same on another machine."""
    return [" ".join(re.sub(r"[\d.,]*\d", "#", line).split()) for line in text.splitlines() if line.strip()]
