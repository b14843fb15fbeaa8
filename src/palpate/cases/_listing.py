"""Named files with labels → Cases without identifiers: what the sources of files share.

Names of files, patients and slides are identifiers. None of them enters a Case: its id comes from its content, its group
is a keyed hash. ``CaseSet.names`` alone maps ids back to files, and stays in the run folder.
"""

from __future__ import annotations

import difflib
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from palpate.cases._images import Checked, Undecodable, check
from palpate.cases._sampling import draw
from palpate.errors import SourceError
from palpate.nouns import Case, CaseSet, LeftOut
from palpate.parts import WITHHELD, Labels, Sample

ID_DIGITS = 12  # 48 bits: two of 100,000 different images share an id once in 50,000 studies, and then get a suffix


@dataclass(frozen=True, slots=True)
class Listed:
    """An image a source has found, before it is opened. ``name`` is its path relative to the source, with forward slashes.

    ``opened`` decodes it in full once, and raises Undecodable; without it ``path`` is a file of pixels.
    """

    name: str
    path: Path
    label: int
    group: str | None = None  # the patient or slide as the source names it; None: not known
    metadata: Mapping[str, Any] = field(default_factory=dict)
    opened: Callable[[], Checked] | None = field(default=None, compare=False)


def case_set(
    listed: Sequence[Listed],
    sample: Sample,
    salt: str,
    left_out: Iterable[LeftOut] = (),
    *,
    notes: Iterable[str] = (),
    chosen: Sequence[str] | None = None,
) -> CaseSet:
    """Draws, opens and names the cases. Raises SourceError where not one image can be used.

    ``notes``: what to know of the source as a whole. ``chosen``: names to take in place of a draw, in this order.
    """
    by_name = {entry.name: entry for entry in listed}
    checked: dict[str, Checked] = {}
    refused = list(left_out)

    def usable(name: str) -> bool:
        try:
            entry = by_name[name]
            checked[name] = entry.opened() if entry.opened is not None else check(entry.path)
        except Undecodable as error:
            refused.append(LeftOut(name, str(error)))
            return False
        return True

    if chosen is None:
        names_by_label = {label: [entry.name for entry in listed if entry.label == label] for label in (0, 1)}
        taken_names = draw(names_by_label, sample, usable)
    else:
        taken_names = [name for name in chosen if usable(name)]
    if not taken_names:
        first = f": {refused[0].name} {refused[0].reason}" if refused else ""
        raise SourceError(f"no image of {len(listed):,} can be used{first}", expected="at least one readable image")
    taken = Counter[str]()
    cases: list[Case] = []
    names: dict[str, str] = {}
    for name in taken_names:
        case = _case(by_name[name], checked[name], salt, taken)
        cases.append(case)
        names[case.id] = name
    told = dict.fromkeys([*notes, *(note for name in taken_names for note in checked[name].notes)])
    files = {case_id: checked[name].file for case_id, name in names.items()}
    left = tuple(sorted(refused, key=lambda out: out.name))
    ungrouped = sum(by_name[name].group is None for name in taken_names)
    return CaseSet(tuple(cases), left, names=names, notes=tuple(told), files=files, ungrouped=ungrouped)


def _case(entry: Listed, image: Checked, salt: str, taken: Counter[str]) -> Case:
    digest = image.ref.digest
    case_id = f"c-{digest[:ID_DIGITS]}"
    taken[case_id] += 1
    if taken[case_id] > 1:
        case_id = f"{case_id}-{taken[case_id]}"
    # Where no patient is known the content is the group: a byte-identical copy is no independent observation.
    group = pseudonym(entry.group if entry.group is not None else f"content:{digest}", salt)
    return Case(case_id, entry.label, group, digest, image.ref, image.decode, entry.metadata)


def pseudonym(value: str, salt: str) -> str:
    """``g-`` and 12 hexadecimal digits of BLAKE2b, keyed with the salt. Without a salt, who can guess the id can check it."""
    key = hashlib.blake2b(salt.encode("utf-8")).digest() if salt else b""
    data = value.encode("utf-8", "surrogateescape")
    return "g-" + hashlib.blake2b(data, key=key, digest_size=ID_DIGITS // 2).hexdigest()


# ---------------------------------------------------------------- options and the errors they can hold


def unknown_options(options: Mapping[str, Any], known: Mapping[str, str]) -> None:
    """Raises SourceError for an option the source does not have."""
    for key in options:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else ""
            raise SourceError(f"unknown option {key!r}", expected=f"one of {', '.join(known)}", hint=hint)


def text_option(options: Mapping[str, Any], key: str, default: str = "") -> str:
    """An option that is a text. Raises SourceError for another type."""
    value = options.get(key, default)
    if isinstance(value, Path):
        return str(value)
    if not isinstance(value, str):
        raise SourceError(f"{key} = {value!r} is not a text", expected=f'{key} = "…"')
    return value


def salt_of(options: Mapping[str, Any]) -> str:
    """What keys the hash of patients: ``salt``, or the environment variable ``salt_env`` names. Raises SourceError."""
    salt, variable = text_option(options, "salt"), text_option(options, "salt_env")
    if salt and variable:
        raise SourceError("both salt and salt_env are given", expected="one of them")
    if salt == WITHHELD:
        raise SourceError(
            "the salt is not in this file: a run keeps it out of all it writes",
            expected="the salt the run was made with: another would make other groups",
            hint="put it in its place, or use the study file that the run was made of",
        )
    if not variable:
        return salt
    if not (found := os.environ.get(variable, "")):
        problem = f"salt_env: the environment variable {variable!r} is not set"
        raise SourceError(problem, expected="the secret text that keys patients", hint=f"export {variable}=…")
    return found


def existing(options: Mapping[str, Any], *, folder: bool) -> Path:
    """The ``path`` option as a folder or a file that exists. Raises SourceError with the nearest name beside it."""
    given = text_option(options, "path")
    noun = "folder" if folder else "file"
    if not given:
        raise SourceError("path is missing", expected=f'path = "…", a {noun}')
    path = Path(given).expanduser()
    try:
        right, wrong = (path.is_dir(), path.is_file()) if folder else (path.is_file(), path.is_dir())
    except (OSError, ValueError) as error:
        raise SourceError(f"path {given!r} cannot be used: {error}", expected=f"a {noun}") from error
    if right:
        return path
    if wrong:
        other = 'a file; for a CSV or Parquet file use kind = "table"' if folder else 'a folder; for one use kind = "folder"'
        raise SourceError(f"{given} is {other}", expected=f"a {noun}")
    raise SourceError(f"there is no {noun} {given}", expected=f"an existing {noun}", hint=_nearest(path))


def _nearest(path: Path) -> str:
    """The existing path most like the one given: the deepest part that exists, then its most similar entry."""
    wanted = path.name
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        wanted, parent = parent.name, parent.parent
    try:
        entries = sorted(entry.name for entry in parent.iterdir() if not entry.name.startswith("."))
    except OSError:
        return ""
    folded = {entry.casefold(): entry for entry in entries}
    near = difflib.get_close_matches(wanted.casefold(), folded, n=1, cutoff=0.5)
    return f"did you mean {parent / folded[near[0]]}?" if near else f"{parent} holds {', '.join(entries[:8]) or 'nothing'}"


def unknown_labels(values: Mapping[str, int], labels: Labels, *, where: str, noun: str) -> SourceError:
    """The error for label values in neither list: which ones, how often, what is known, what to type."""
    commonest = sorted(values.items(), key=lambda item: (-item[1], item[0]))[:12]
    shown = ", ".join(f"{value!r} ({count:,})" for value, count in commonest)
    more = f" and {len(values) - 12} more" if len(values) > 12 else ""
    known = f"positive {', '.join(labels.positive) or 'none'}; negative {', '.join(labels.negative) or 'none'}"
    return SourceError(
        f"{noun} without a known label: {shown}{more}",
        where=where,
        expected=known,
        hint='labels = { positive = ["…"], negative = ["…"] } below [[tasks]] says which of them mean what',
    )
