"""Views to render: a whole study, one that means harm, and one in which nothing was asked yet."""

from __future__ import annotations

from dataclasses import replace

import pytest

from palpate.report.view import Counts, ReportView
from synthetic_report import make_hostile, make_view


@pytest.fixture(scope="session")
def view() -> ReportView:
    """Four models, four tasks, two pairs, errors, a gap, examples with and without images."""
    return make_view()


@pytest.fixture(scope="session")
def hostile() -> ReportView:
    """The same with harm in every text that comes from outside."""
    return make_hostile()


@pytest.fixture(scope="session")
def bare() -> ReportView:
    """A study in which nothing was asked yet."""
    return replace(make_view(), estimates=(), examples=(), conditions=(), counts=Counts(7200, 0, 0, 0))
