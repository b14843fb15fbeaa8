"""The verdict against chance: how often it is wrong, and how often it can be given. Run by ``make validate``."""

from __future__ import annotations

import pytest

from planted import Planted
from simulated import accuracy_coverage

STUDIES = 1000

NULLS = {
    "100 single images, one prompt": Planted(100, 1, 1, 0.5, within_case=0.5),
    "100 single images": Planted(100, 1, 12, 0.5, within_case=0.5),
    "60 patients x 3": Planted(60, 3, 12, 0.5, within_case=0.5, within_cluster=0.3, uneven=True),
    "35 patients x 3, label by patient": Planted(
        35, 3, 12, 0.5, within_case=0.5, within_cluster=0.3, uneven=True, label_by_cluster=True
    ),
    "always nearly yes": Planted(60, 3, 12, (0.05, 0.95), within_case=0.5, within_cluster=0.3, uneven=True),
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NULLS)
def test_a_model_at_chance_is_rarely_called_above_or_below(name):
    words = accuracy_coverage(NULLS[name], {"ba_all": 0.5}, STUDIES)["ba_all"].verdicts
    wrong = (words["above chance"] + words["below chance"]) / STUDIES
    print(f"{name}, true BA .5 | above or below {wrong:.3f} | at chance {words['at chance'] / STUDIES:.3f}")
    assert wrong <= 0.055 + 2 * (0.05 * 0.95 / STUDIES) ** 0.5


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("accuracy", [0.4, 0.6])
def test_a_model_at_the_margin_is_rarely_called_at_chance(accuracy):
    planted = Planted(60, 3, 12, accuracy, within_case=0.5, within_cluster=0.3, uneven=True)
    words = accuracy_coverage(planted, {"ba_all": accuracy}, STUDIES)["ba_all"].verdicts
    print(f"60 patients x 3, true BA {accuracy} | at chance {words['at chance'] / STUDIES:.3f}")
    assert words["at chance"] / STUDIES <= 0.055


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_100_and_300_cases_can_say():
    """METHODS §2.1: within ±10 points, "at chance" has power .24 at n = 100 and .93 at 300 (one prompt, true .5)."""
    for cases, power in ((100, 0.24), (300, 0.93)):
        words = accuracy_coverage(Planted(cases, 1, 1, 0.5, within_case=0.5), {"ba_all": 0.5}, STUDIES)["ba_all"].verdicts
        print(f"n = {cases}, one prompt, true BA .5 | at chance {words['at chance'] / STUDIES:.3f}")
        assert words["at chance"] / STUDIES == pytest.approx(power, abs=0.12)
