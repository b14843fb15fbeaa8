"""Images in one sub-folder per label: ``chest/pneumonia/*.png``, ``chest/normal/*.png``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from palpate.cases import _grouping
from palpate.cases._folders import image_files, label_folders
from palpate.cases._grouping import Grouping
from palpate.cases._images import SUFFIXES
from palpate.cases._listing import Listed, case_set, existing, salt_of, text_option, unknown_options
from palpate.errors import SourceError
from palpate.nouns import CaseSet
from palpate.parts import Labels, Sample


class FolderSource:
    """One sub-folder per label; its name, compared case-folded, is the label value."""

    name: ClassVar[str] = "folder"
    options: ClassVar[Mapping[str, str]] = {
        "path": "folder with one sub-folder per label (or with one folder, such as test/, that holds them)",
        "pattern": "which files to take, by name: *.png (default: every image file)",
        "recursive": "also look in folders below the label folders (default: true)",
        **_grouping.OPTIONS,
    }

    def load(self, options: Mapping[str, Any], labels: Labels, sample: Sample) -> CaseSet:
        """Cases sorted by relative path. Raises SourceError for a missing, empty or unlabelled folder; a bad image is LeftOut."""
        unknown_options(options, self.options)
        root = existing(options, folder=True)
        pattern, recursive = text_option(options, "pattern", "*") or "*", options.get("recursive", True)
        if not isinstance(recursive, bool):
            raise SourceError(f"recursive = {recursive!r} is neither true nor false", where=str(root), expected="recursive = true")
        group_of = Grouping(options, where=str(root))
        listed: list[Listed] = []
        for folder, label in label_folders(root, labels, image_files):
            for path in image_files(folder, recursive):
                if path.match(pattern):
                    name = path.relative_to(root).as_posix()
                    group = group_of(name)
                    listed.append(Listed(name, path, label, group, group_of.facts(group)))
        if not listed:
            expected = f"files {pattern} ending in {', '.join(sorted(SUFFIXES))}"
            raise SourceError("no image file in the label folders", where=str(root), expected=expected)
        group_of.refuse_useless((entry.group for entry in listed), len(listed), listed[0].name)
        return case_set(listed, sample, salt_of(options))


PARTS = (FolderSource(),)
