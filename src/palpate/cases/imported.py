"""Cases that came with imported answers: their labels and patients are in the ledger, their images are not here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from palpate.cases._listing import unknown_options
from palpate.errors import SourceError
from palpate.nouns import CaseSet
from palpate.parts import Labels, Sample


class ImportedSource:
    """Written into a run's study by ``palpate import``. It has no pixels to show."""

    name: ClassVar[str] = "imported"
    internal: ClassVar[bool] = True
    options: ClassVar[Mapping[str, str]] = {"answers": "digest of the files the cases came from"}

    def load(self, options: Mapping[str, Any], labels: Labels, sample: Sample) -> CaseSet:
        """Raises SourceError: there are no images."""
        unknown_options(options, self.options)
        raise SourceError(
            "these cases came with imported answers: there are no images to ask about",
            expected="a source with images, such as a folder",
            hint="read, measure, report and gate work on the run as it is",
        )


PARTS = (ImportedSource(),)
