"""The logs of Inspect: ``.eval`` (a zip with one JSON file per sample) and ``.json``. Read without Inspect itself."""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from palpate.errors import SourceError
from palpate.imports.own import unreadable
from palpate.imports.rows import Faults, Row, reach
from palpate.imports.unpacking import member, open_archive

READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
HEADERS = ("header.json", "_journal/start.json")  # the second: of a log that was not finished
STATUS = {"max_tokens": "truncated", "model_length": "truncated", "content_filter": "blocked"}
"""``stop_reason`` of the answer → status; all others are ok."""


class InspectFormat:
    """Model, task and repeat (the epoch) are in the log; what the question asserts is not."""

    name: ClassVar[str] = "inspect"
    about: ClassVar[str] = "a log of Inspect (.eval or .json)"
    own_questions: ClassVar[bool] = True

    def fits(self, path: Path) -> bool:
        """By the file's ending."""
        return path.suffix.lower() in (".eval", ".json")

    def rows(self, path: Path, label: str, faults: Faults) -> Iterator[Row]:
        """One row per sample and epoch, in that order; ``line`` counts the samples."""
        header, samples = _zipped(path) if path.suffix.lower() == ".eval" else _plain(path)
        common = {"model": reach(header, "eval.model"), "task": _task(reach(header, "eval.task"))}
        for line, sample in enumerate(samples, start=1):
            choices = sample.get("choices") or []
            unfit = f"offers {len(choices)} answers, not two" if len(choices) > 2 else ""
            yield Row(label, line, {**common, **_values(sample, choices)}, {**sample, "header": header}, unfit)


def _values(sample: Mapping[str, Any], choices: list[Any]) -> dict[str, Any]:
    answer = reach(sample, "output.choices") or []
    text = _text(reach(answer[0], "message.content")) if answer and isinstance(answer[0], Mapping) else None
    target = sample.get("target")
    epoch = sample.get("epoch", 1)
    values: dict[str, Any] = {
        "case": sample.get("id"),
        "repeat": epoch - 1 if isinstance(epoch, int) else epoch,
        "prompt": _question(sample.get("input")),
        "target": target[0] if isinstance(target, list) and len(target) == 1 else target,
        "response": text,
        "seconds": reach(sample, "output.time"),
    }
    if len(choices) == 2:
        values["options"] = "|".join(map(str, choices))
    fault = reach(sample, "error.message") or reach(sample, "output.error")
    if fault:
        values |= {"status": "error", "error": fault}
    elif answer:
        values["status"] = STATUS.get(str(reach(answer[0], "stop_reason")), "ok")
    return values


def _task(name: Any) -> Any:
    """``package/task`` is called task."""
    return name.rsplit("/", 1)[-1] if isinstance(name, str) else name


def _question(given: Any) -> Any:
    """The text of the input: of a conversation, its last message by the user."""
    if not isinstance(given, list):
        return given
    asked = [m.get("content") for m in given if isinstance(m, Mapping) and m.get("role") == "user"]
    return _text(asked[-1]) if asked else None


def _text(content: Any) -> str | None:
    """A message's text, apart from its images and its reasoning."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping) and part.get("type") == "text")
    return content if isinstance(content, str) else None


def _plain(path: Path) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    try:
        log = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as fault:
        raise unreadable(path, fault) from None
    except (ValueError, RecursionError) as fault:  # nested a hundred thousand deep
        raise SourceError(f"is not JSON: {fault}", where=str(path), expected="a log of Inspect") from None
    samples = log.get("samples") if isinstance(log, dict) else None
    if not isinstance(samples, list) or "eval" not in log:
        raise SourceError("is no log of Inspect with its samples", where=str(path), expected="the tables eval and samples")
    return log, [s for s in samples if isinstance(s, Mapping)]


def _zipped(path: Path) -> tuple[Mapping[str, Any], Iterator[Mapping[str, Any]]]:
    archive = open_archive(path, "a log of Inspect")
    packed = sorted({info.compress_type for info in archive.infolist()} - set(READABLE))
    if packed:
        raise SourceError("is packed in a way that is not read here", where=str(path), hint="inspect log convert --to json")
    names = set(archive.namelist())
    header = next((name for name in HEADERS if name in names), None)
    if header is None:
        raise SourceError(f"holds no {HEADERS[0]}", where=str(path), expected="a log of Inspect")
    samples = sorted((n for n in names if n.startswith("samples/") and n.endswith(".json")), key=_in_order)
    return _member(archive, header, path), (_member(archive, name, path) for name in samples)


def _in_order(name: str) -> list[Any]:
    """10 comes after 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(member(archive, name))
    except (ValueError, RecursionError, OSError, zipfile.BadZipFile, zlib.error) as fault:
        raise SourceError(f"{name} cannot be read: {fault}", where=str(path), expected="a log of Inspect") from None
    if not isinstance(found, dict):
        raise SourceError(f"{name} is no JSON object", where=str(path), expected="a log of Inspect")
    return found
