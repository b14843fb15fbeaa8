"""Data sets of the Hugging Face hub, or local copies of them: Parquet files, and folders that ``save_to_disk`` wrote.

A local copy needs neither a network nor the package ``datasets``. The hub is asked only where a study names a data set by
its id; everything else about the two ways is the same code.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from palpate.cases import _grouping
from palpate.cases._arrow import ARROW, PARQUET, Shard, check_row, class_names, columns_of, read_shard
from palpate.cases._grouping import Grouping
from palpate.cases._listing import Listed, case_set, existing, salt_of, text_option, unknown_labels, unknown_options
from palpate.cases._tables import fact, text
from palpate.errors import SourceError, unknown_name
from palpate.nouns import CaseSet
from palpate.parts import Labels, Sample

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "tanzuhuggingface/brainmri": {"label": "label"},
    "danjacobellis/chexpert": {
        "positive": "Pneumonia=present",
        "negative": "No Finding=present",
        "group": "Path",
        "group_regex": r"(patient\d+)",
    },
    "Falah/skin-cancer": {"label": "label"},
    "dbzadnen/breast-histopathology-images": {"label": "label"},
}
"""The reference study's data sets: hub id → the options it needs. A study may override each of them."""

REVISIONS: Mapping[str, str] = {
    "tanzuhuggingface/brainmri": "refs/convert/parquet",
    "Falah/skin-cancer": "refs/convert/parquet",
}
"""What the reference study loaded: a moving name, so that a study should name the commit in its place."""

MANIFEST = "fragility-2026"
MANIFEST_PER_CLASS, MANIFEST_SEED, MANIFEST_SPLIT = 50, 42, "train"
COMMIT_DIGITS = 40


@dataclass(frozen=True, slots=True)
class _Rule:
    """Which rows are cases: by one column of labels, or by one column and value for each class."""

    column: str
    positive: tuple[str, str] | None = None
    negative: tuple[str, str] | None = None

    @property
    def columns(self) -> list[str]:
        return [self.column] if self.positive is None or self.negative is None else [self.positive[0], self.negative[0]]


class HubSource:
    """A data set of the hub by its id, or a local copy; one row per image."""

    name: ClassVar[str] = "hub"
    options: ClassVar[Mapping[str, str]] = {
        "id": f"hub id; these need no more: {', '.join(PRESETS)}",
        "revision": "commit of the data set on the hub, 40 hexadecimal digits (default: the newest, which is told and recorded)",
        "config": "configuration of the data set, where it has several (default: its default)",
        "path": "a local copy in place of the hub: a Parquet file, a folder of them, or a folder save_to_disk wrote",
        "split": "which split (default: train)",
        "image": "column of images (default: image)",
        "label": "column of labels (default: label)",
        "positive": '"COLUMN=VALUE" that makes a row positive, in place of label, such as "Pneumonia=present"',
        "negative": '"COLUMN=VALUE" that makes a row negative',
        "group": "column with the patient or slide; it is hashed (default: none)",
        "metadata": 'columns to slice by, such as ["Age", "Sex"]; never identifiers (default: none)',
        "manifest": f'"{MANIFEST}": the reference study\'s {MANIFEST_PER_CLASS} images of each class, in place of the sample',
        **_grouping.OPTIONS,
    }

    def needs(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The modules it takes that the core goes without."""
        return () if options.get("path") else ("datasets",)

    def load(self, options: Mapping[str, Any], labels: Labels, sample: Sample) -> CaseSet:
        """Cases by row number. Raises SourceError where the data set cannot be had or read; a bad image is LeftOut."""
        unknown_options(options, self.options)
        identity = text_option(options, "id")
        options = {**PRESETS.get(identity, {}), **options}
        _refuse_contradictions(options)
        split = text_option(options, "split", MANIFEST_SPLIT) or MANIFEST_SPLIT
        files, notes = (_local(options, split), []) if options.get("path") else _from_hub(identity, options, split)
        listed, left_over = _listed(files, options, labels, str(options.get("path") or identity))
        chosen = _manifest(listed) if text_option(options, "manifest") else None
        return case_set(listed, sample, salt_of(options), notes=[*notes, *left_over], chosen=chosen)


def _refuse_contradictions(options: Mapping[str, Any]) -> None:
    if not (text_option(options, "id") or options.get("path")):
        expected = f'id = "{next(iter(PRESETS))}", or path = "…", a local copy'
        raise SourceError("neither id nor path is given", expected=expected)
    manifest = text_option(options, "manifest")
    if manifest not in ("", MANIFEST):
        raise unknown_name(manifest, [MANIFEST], noun="manifest", where="source.manifest")
    if manifest and (text_option(options, "split") or MANIFEST_SPLIT) != MANIFEST_SPLIT:
        raise SourceError(f"the manifest is of the split {MANIFEST_SPLIT!r}", where="source.split", expected="no split")
    if bool(text_option(options, "positive")) != bool(text_option(options, "negative")):
        raise SourceError("one of positive and negative is missing", expected='both, each "COLUMN=VALUE"')


# ---------------------------------------------------------------- where the files are


def _local(options: Mapping[str, Any], split: str) -> list[Path]:
    """The files of a local copy, in order. Raises SourceError."""
    given = Path(text_option(options, "path")).expanduser()
    if given.is_file():
        if given.suffix.lower() not in (*PARQUET, *ARROW):
            raise SourceError(f"{given} is no Parquet or Arrow file", expected="a .parquet or .arrow file, or a folder of them")
        return [given]
    root = existing(options, folder=True)
    if (root / "dataset_dict.json").is_file():
        root = root / split
        if not root.is_dir():
            splits = sorted(p.name for p in root.parent.iterdir() if (p / "state.json").is_file())
            raise unknown_name(split, splits, noun="split", where=str(root.parent))
    if (root / "state.json").is_file():
        return _saved(root)
    found = sorted(p for p in root.rglob("*") if p.suffix.lower() in (*PARQUET, *ARROW) and p.is_file())
    of_split = [p for p in found if p.name.startswith((f"{split}-", f"{split}.")) or split in p.relative_to(root).parts[:-1]]
    # Files that name no split at all are one data set; where some do, only those of the split are.
    named = [p for p in found if p.name.startswith(("train", "test", "validation", "valid"))]
    if named and not of_split:
        raise SourceError(
            f"no file of the split {split!r}", where=str(root), expected=f"one of {', '.join(p.name for p in found[:8])}"
        )
    if not found:
        raise SourceError(
            "no Parquet or Arrow file", where=str(root), expected="a folder of .parquet files, or one save_to_disk wrote"
        )
    return of_split or found


def _saved(root: Path) -> list[Path]:
    """The files of a folder that ``save_to_disk`` wrote, in the order it says. Raises SourceError."""
    try:
        state = json.loads((root / "state.json").read_text(encoding="utf-8"))
        names = [str(entry["filename"]) for entry in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"state.json is damaged: {error}", where=str(root), expected="a folder save_to_disk wrote") from error
    for name in names:
        if Path(name).name != name:
            raise SourceError(f"state.json names a file outside the folder: {name!r}", where=str(root), expected="file names")
    return [root / name for name in names]


def _from_hub(identity: str, options: Mapping[str, Any], split: str) -> tuple[list[Path], list[str]]:
    """(files in the local cache, notes): the one place that may reach a network. Raises SourceError."""
    try:
        import datasets
        from huggingface_hub import HfApi
    except ImportError as error:
        problem = "data sets of the hub need the package datasets"
        raise SourceError(problem, where=identity, expected="the extra `hub`", hint="pip install 'palpate[hub]'") from error
    wanted = text_option(options, "revision") or REVISIONS.get(identity, "")
    try:
        commit = wanted if _is_commit(wanted) else str(HfApi().dataset_info(identity, revision=wanted or None).sha)
        config = text_option(options, "config") or None
        found = datasets.load_dataset(identity, config, split=split, revision=commit)
    except Exception as error:
        said = (str(error).splitlines() or [""])[0][:200]
        raise SourceError(
            f"the hub's data set {identity!r} cannot be had: {type(error).__name__}: {said}",
            expected="a network, an id and a split that exist, and access where the data set asks for it",
            hint='path = "…", a local copy: a folder of its Parquet files, or one save_to_disk wrote',
        ) from error
    notes = [f"{identity} at revision {commit}"]
    if not _is_commit(wanted):
        notes.append(
            f'the revision of {identity} is not pinned: another day it may hold other images; revision = "{commit}" pins it'
        )
    return [Path(file["filename"]) for file in found.cache_files], notes


def _is_commit(text: str) -> bool:
    return len(text) == COMMIT_DIGITS and all(c in "0123456789abcdef" for c in text)


# ---------------------------------------------------------------- which rows are cases


def _listed(files: Sequence[Path], options: Mapping[str, Any], labels: Labels, where: str) -> tuple[list[Listed], list[str]]:
    """(rows with a label, notes on the others). Raises SourceError for columns and labels that are not there."""
    schema = columns_of(files[0])
    image, rule = text_option(options, "image", "image") or "image", _rule(options)
    group, metadata = text_option(options, "group"), options.get("metadata", ())
    if not isinstance(metadata, list | tuple) or not all(isinstance(column, str) for column in metadata):
        raise SourceError(f"metadata = {metadata!r} is no list of columns", where=where, expected='metadata = ["Age"]')
    columns = list(dict.fromkeys([*rule.columns, *([group] if group else []), *metadata]))
    for column in (image, *columns):
        if column not in schema.names:
            raise unknown_name(column, schema.names, noun="column", where=where)
    if any(column in (image, group) for column in metadata):
        raise SourceError("metadata names images or patients", where=where, expected="facts to slice by, never identifiers")
    grouping, names = Grouping(options, where=where), class_names(schema)
    listed: list[Listed] = []
    strangers: Counter[str] = Counter()
    unlabelled, start = 0, 0
    for path in files:
        shard = read_shard(path, columns, image)
        for row in range(len(shard.paths)):
            label, stranger = _label(rule, shard, row, names, labels)
            if label is None:
                unlabelled += not stranger
                strangers.update([stranger] if stranger else [])
                continue
            identity = f"row-{start + row:07d}"
            known = text(shard.columns[group][row]) if group else shard.paths[row]
            patient = grouping(known) if grouping else known if group else None
            facts = {c: found for c in metadata if (found := fact(_named(shard.columns[c][row], names.get(c)))) is not None}
            opened = partial(check_row, path, row, image)
            listed.append(Listed(identity, path, label, patient or None, {**facts, **grouping.facts(patient)}, opened))
        start += len(shard.paths)
    if strangers:
        raise unknown_labels(strangers, labels, where=where, noun=f"column {rule.column!r}: rows")
    if not listed:
        raise SourceError("no row has a label", where=where, expected="rows of both classes")
    grouping.refuse_useless((entry.group for entry in listed), len(listed), "the images' own")
    return listed, [f"{unlabelled:,} rows are of neither class, and no cases"] if unlabelled else []


def _rule(options: Mapping[str, Any]) -> _Rule:
    found = []
    for key in ("positive", "negative"):
        given = text_option(options, key)
        column, equals, value = given.rpartition("=")
        if given and not (column and equals and value):
            raise SourceError(f"{key} = {given!r} is no rule", expected='"COLUMN=VALUE", such as "Pneumonia=present"')
        found.append((column, value) if given else None)
    return _Rule(text_option(options, "label", "label") or "label", found[0], found[1])


def _label(rule: _Rule, shard: Shard, row: int, names: Mapping[str, Sequence[str]], labels: Labels) -> tuple[int | None, str]:
    """(1, 0 or None, the value that has no label)."""
    if rule.positive is not None and rule.negative is not None:
        is_positive, is_negative = (_is(shard, row, names, *side) for side in (rule.positive, rule.negative))
        return (None if is_positive == is_negative else int(is_positive)), ""
    value = shard.columns[rule.column][row]
    if value is None:
        return None, ""
    shown = text(_named(value, names.get(rule.column)))
    label = labels.of(shown)
    if label is None:  # the study may know the classes by name, or by number
        label = labels.of(text(value))
    return label, "" if label is not None else shown


def _is(shard: Shard, row: int, names: Mapping[str, Sequence[str]], column: str, wanted: str) -> bool:
    value = shard.columns[column][row]
    return wanted.casefold() in (text(value).casefold(), text(_named(value, names.get(column))).casefold())


def _named(value: Any, names: Sequence[str] | None) -> Any:
    """A class's number as its name, where the data set has one."""
    if names and isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names):
        return names[value]
    return value


def _manifest(listed: Sequence[Listed]) -> list[str]:
    """The reference study's images: of each class's rows, in the data set's order, the 50 that pandas'
    ``DataFrame.sample(50, random_state=42)`` takes (NumPy's legacy generator, whose stream never changes), negatives first."""
    chosen: list[str] = []
    for label in (0, 1):
        names = [entry.name for entry in listed if entry.label == label]
        if len(names) < MANIFEST_PER_CLASS:
            problem = f"the manifest takes {MANIFEST_PER_CLASS} of each class, and there are {len(names)} with label {label}"
            raise SourceError(problem, where="source.manifest", expected="the reference study's whole data set")
        drawn = np.random.RandomState(MANIFEST_SEED).choice(len(names), size=MANIFEST_PER_CLASS, replace=False)
        chosen += [names[i] for i in drawn]
    return chosen


PARTS = (HubSource(),)
