"""A run is a folder: the ledger, the study with every default explicit, the estimates, the report, and the case list.

ledger.sqlite    every answer and reading, append-only; no pixels, no file names, no identifiers
study.toml       what was asked, nothing left to default
estimates.json   the last measurement
report.html/.md  the last report
cases.csv        case id → file, and what was left out and why: stays with you, nothing else refers to it
"""

from __future__ import annotations

import csv
import json
import os
import re
import secrets
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout

from palpate.errors import RunError
from palpate.nouns import CaseSet, Estimate
from palpate.questions import Conclusion
from palpate.store.ledger import Ledger


class RunFolder:
    """The files of one run. Whole files are replaced at once, so none is ever half-written."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def ledger_path(self) -> Path:
        """Where the ledger is."""
        return self.path / "ledger.sqlite"

    def exists(self) -> bool:
        """True where there is a ledger, if only an empty one: a full disk may have left no more of it."""
        return self.ledger_path.exists()

    def begun(self) -> bool:
        """True where a run was started here: its study is written down once its ledger has been made."""
        return self.exists() and (self.path / "study.toml").exists()

    @property
    def study_path(self) -> Path:
        """Where the study is. Raises RunError where there is no run."""
        found = self.path / "study.toml"
        if not found.exists():
            problem = "no run here" if self.path.exists() else "no such run folder"
            raise RunError(
                problem, where=str(self.path), expected="a folder made by `palpate run`", hint="`palpate run STUDY.toml --out RUN`"
            )
        return found

    def ledger(self) -> Ledger:
        """The run's ledger, for reading: also where the folder itself may only be read."""
        return Ledger(self.ledger_path, read_only=not os.access(self.path, os.W_OK))

    @contextmanager
    def writing(self, name: str, study_toml: str) -> Iterator[Ledger]:
        """The ledger, to be written by this process alone; made where it is not there yet, for the study ``name``.

        Raises RunError where the folder cannot be written, another run writes to it, or it holds another study.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock", timeout=0)
            lock.acquire()
        except Timeout:
            raise RunError(
                "another run is writing here", where=str(self.path), hint="wait for it to end, or choose another --out"
            ) from None
        except OSError as fault:
            if self.path.is_file():
                raise RunError("is a file", where=str(self.path), expected="a folder", hint="choose another --out") from None
            problem = f"the run folder cannot be written: {fault.strerror}"
            raise RunError(problem, where=str(self.path), hint="choose another --out") from None
        try:
            self._same_study(name)
            with Ledger(self.ledger_path, create=True) as ledger:
                self.write("study.toml", study_toml)
                yield ledger
        finally:
            lock.release()

    def _same_study(self, name: str) -> None:
        if (self.path / "study.toml").exists():
            try:
                held = tomllib.loads(self.study_path.read_text(encoding="utf-8")).get("name")
            except (OSError, ValueError) as fault:  # TOML and Unicode faults are ValueErrors
                raise RunError(f"cannot be read: {fault}", where=str(self.study_path), hint="choose another --out") from None
            if held != name:
                raise RunError(f"holds the study {held!r}, not {name!r}", where=str(self.path), hint="choose another --out")

    def write(self, name: str, text: str) -> Path:
        """Replace one file at once. Raises RunError for a full disk or an unwritable folder."""
        target = self.path / name
        fresh = target.with_name(f".{name}.new")
        try:
            # A file's name may be no Unicode: its odd bytes are spelt out.
            fresh.write_text(text, encoding="utf-8", errors="backslashreplace")
            fresh.replace(target)
        except OSError as fault:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise RunError(
                f"cannot be written: {fault.strerror}", where=str(target), hint="the ledger is safe; run again to go on"
            ) from None
        return target

    def text(self, name: str) -> str | None:
        """The text of one of the run's files; None where there is none, or it cannot be read."""
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def secret(self) -> str:
        """The run's own secret, 64 hexadecimal digits, made at the first call: it keys patients, and nothing else holds it.

        Raises RunError where it cannot be kept.
        """
        path = self.path / ".secret"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError), os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(32))
            found = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as fault:
            raise RunError(f"cannot be kept: {fault}", where=str(path), hint="choose another --out") from None
        if not re.fullmatch(r"[0-9a-f]{64}", found):
            raise RunError("holds no secret", where=str(path), expected="64 hexadecimal digits", hint="choose another --out")
        return found

    def write_estimates(self, estimates: Sequence[Estimate]) -> Path:
        """Write ``estimates.json``."""
        return self.write("estimates.json", estimates_json(estimates))

    def write_cases(self, cases: Mapping[str, CaseSet]) -> Path:
        """Write ``cases.csv``: what each case id stands for, and which files were left out and why."""
        rows: list[tuple[str, str, str, str]] = [("task", "case", "file", "left_out_because")]
        for task, found in cases.items():
            rows += [(task, case.id, found.names.get(case.id, ""), "") for case in found.cases]
            rows += [(task, "", left.name, left.reason) for left in found.left_out]
        lines: list[str] = []
        writer = csv.writer(_Lines(lines))  # with CRLF, as RFC 4180 has it: else a lone CR in a file's name goes unquoted
        writer.writerows([[inert(cell) for cell in row] for row in rows])
        return self.write("cases.csv", "".join(lines))


class _Lines:
    """A file-like list, since csv writes to files."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def write(self, text: str) -> int:
        self._lines.append(text)
        return len(text)


FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""How a cell begins that a spreadsheet may take for a formula (OWASP's list; the wide signs are those of East Asian input)."""


def inert(cell: str) -> str:
    """A file may be called ``=cmd()``, and a model may answer so: keep a spreadsheet from running it."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def estimates_json(estimates: Sequence[Estimate]) -> str:
    """Estimates as a JSON list of objects with exactly the fields of Estimate; undefined values are null, never NaN."""
    return json.dumps([asdict(e) for e in estimates], indent=1, allow_nan=False) + "\n"


def conclusions_json(conclusions: Sequence[Conclusion]) -> str:
    """Conclusions as a JSON list: the fields of Conclusion, and the question in words."""
    rows = [{"title": c.title, **asdict(c), "mde": c.mde} for c in conclusions]
    return json.dumps(rows, indent=1, allow_nan=False) + "\n"
