"""Which formats there are, and which one a file is."""

from __future__ import annotations

from pathlib import Path

from palpate.errors import SourceError
from palpate.imports.inspect_log import InspectFormat
from palpate.imports.lmms_eval import SampleLogFormat
from palpate.imports.own import OwnFormat
from palpate.imports.rows import Format
from palpate.imports.vlmevalkit import VLMEvalKitFormat

FORMATS: tuple[Format, ...] = (SampleLogFormat(), InspectFormat(), VLMEvalKitFormat(), OwnFormat())
"""Asked in this order; the last one takes any table."""


def format_of(path: Path, given: str = "auto") -> Format:
    """The format called ``given``; for ``auto`` the first that the file fits. Raises SourceError."""
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "no such file"
        raise SourceError(problem, where=str(path), expected="a file of answers")
    by_name = {f.name: f for f in FORMATS}
    if given != "auto":
        if given not in by_name:
            raise SourceError(f"no format is called {given!r}", expected=f"auto, {', '.join(by_name)}")
        return by_name[given]
    found = next((f for f in FORMATS if f.fits(path)), None)
    if found is None:
        kinds = "; ".join(f"{f.name}: {f.about}" for f in FORMATS)
        raise SourceError(f"{path.suffix or 'no ending'} is no format known here", where=str(path), expected=kinds)
    return found
