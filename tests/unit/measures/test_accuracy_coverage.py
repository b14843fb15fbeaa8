"""A fast look at the coverage of the intervals; the thousand studies per design are in tests/validate."""

from __future__ import annotations

from planted import Planted
from simulated import accuracy_coverage


def test_balanced_accuracy_with_sixty_patients():
    tally = accuracy_coverage(
        Planted(60, 3, 6, 0.7, within_case=0.4, within_cluster=0.2, uneven=True), {"ba_all": 0.7}, 250, draws=200
    )
    assert 0.91 <= tally["ba_all"].coverage <= 0.99  # 95 % ± 2.8 standard errors of 250 studies


def test_balanced_accuracy_near_one_with_one_prompt():
    """Where the percentile bootstrap holds 90 %."""
    tally = accuracy_coverage(
        Planted(35, 3, 1, 0.95, within_case=0.3, within_cluster=0.2, uneven=True), {"ba_all": 0.95}, 250, draws=200
    )
    assert 0.915 <= tally["ba_all"].coverage <= 0.99


def test_refusals_by_class():
    planted = Planted(60, 2, 4, 0.8, within_case=0.5, refusal=(0.05, 0.15))
    tallies = accuracy_coverage(planted, {"refusal_rate": 0.1, "refusal_difference": 0.1, "ba_answered": 0.8}, 150, draws=200)
    for name, tally in tallies.items():
        assert tally.coverage >= 0.89, name
