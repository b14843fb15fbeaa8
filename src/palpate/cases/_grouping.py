"""Which patient or slide an image is of: by a pattern on its name, or by a function of the user's own."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from palpate.cases._listing import text_option
from palpate.errors import SourceError
from palpate.parts import TRUST_CODE, code_is_trusted

OPTIONS: Mapping[str, str] = {
    "group_regex": "pattern on a file's relative path; its first group, or (?P<group>…), is the patient or slide",
    "group_function": '"package.module:function" of your own: relative path → patient or slide, or None (default: none)',
    "salt": "secret text that keys the hash of patient and slide names; never written into a run (default: none)",
    "salt_env": "environment variable that holds the salt, so that no file need hold it (default: none)",
}


class Grouping:
    """Relative path → patient or slide as the source names it, or None where neither pattern nor function knows it.

    Raises SourceError for a pattern that is none, a function that cannot be imported, or both given at once.
    """

    def __init__(self, options: Mapping[str, Any], *, where: str) -> None:
        self.pattern, self.function = text_option(options, "group_regex"), text_option(options, "group_function")
        self._where = where
        if self.pattern and self.function:
            raise SourceError("both group_regex and group_function are given", where=where, expected="one of them")
        self._call: Callable[[str], object] | None = _imported(self.function, where) if self.function else None
        try:
            self._regex = re.compile(self.pattern)
        except re.error as error:
            problem = f"group_regex {self.pattern!r} is not a pattern: {error}"
            raise SourceError(problem, where=where, expected="for example (person\\d+)_") from error

    def __bool__(self) -> bool:
        return bool(self.pattern or self.function)

    def __call__(self, name: str) -> str | None:
        """The patient or slide of one file. Raises SourceError where the user's function fails."""
        if self._call is not None:
            return self._called(name)
        found = self._regex.search(name) if self.pattern else None
        if found is None:
            return None
        named = found.groupdict().get("group")
        return named or next((group for group in found.groups() if group), None if found.groups() else found.group() or None)

    def facts(self, group: str | None) -> dict[str, Any]:
        """A file that has no patient stands for itself; ``grouped`` lets a person count those."""
        return {"grouped": False} if self and group is None else {}

    def refuse_useless(self, groups: Iterable[str | None], count: int, example: str) -> None:
        """Raises SourceError where the pattern or function found the patient of not one file."""
        if self and all(group is None for group in groups):
            given = f"group_regex {self.pattern!r} fits" if self.pattern else f"group_function {self.function!r} knows"
            expected = f"a way to find the patient in names such as {example}"
            raise SourceError(f"{given} none of {count:,} files", where=self._where, expected=expected)

    def _called(self, name: str) -> str | None:
        assert self._call is not None
        try:
            found = self._call(name)
        except Exception as error:
            problem = f"group_function {self.function!r} fails on {name}: {type(error).__name__}: {error}"
            raise SourceError(problem, where=self._where, expected="a text, or None") from error
        if found is not None and not isinstance(found, str):
            problem = f"group_function {self.function!r} gives {found!r} for {name}"
            raise SourceError(problem, where=self._where, expected="a text, or None")
        return found or None


def _imported(given: str, where: str) -> Callable[[str], object]:
    """The function ``package.module:function``: imported only because the study names it and whoever runs it allows code."""
    expected = '"package.module:function", importable from where Palpate runs'
    module, colon, name = given.partition(":")
    if not (module and colon and name):
        raise SourceError(f"group_function = {given!r} names no function", where=where, expected=expected)
    if not code_is_trusted():
        raise SourceError(
            f"group_function = {given!r} is code that the study names, and a study file alone runs none",
            where=where,
            expected=f"{TRUST_CODE}=1 in the environment, where you know the study and the function",
            hint="or group_regex, a pattern on the file's name, which needs no code",
        )
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SourceError(f"group_function {given!r} cannot be imported: {error}", where=where, expected=expected) from error
    if not callable(found):
        raise SourceError(f"group_function {given!r} is no function", where=where, expected=expected)
    call: Callable[[str], object] = found
    return call
