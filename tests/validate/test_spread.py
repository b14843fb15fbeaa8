"""The spread over prompts: the notes' table of what noise alone does, by Palpate's own measures. Run by ``make validate``."""

from __future__ import annotations

import numpy as np
import pytest

from figures_found import record
from planted import Planted
from simulated import Spreads, spreads

TABLE = "What noise alone does: the notes' table and Palpate's"

# (cases, correlation of a case's answers) → plain std, mean range and its 95 % over 12 prompts without any effect, accuracy .5
NOISE = {
    (100, 0.0): (0.049, 0.163, 0.23),
    (100, 0.3): (0.041, 0.135, 0.19),
    (100, 0.6): (0.031, 0.102, 0.15),
    (100, 0.9): (0.015, 0.050, 0.08),
    (300, 0.0): (0.028, None, None),
    (300, 0.3): (0.024, None, None),
    (300, 0.6): (0.018, None, None),
    (300, 0.9): (0.009, None, None),
    (1000, 0.0): (0.016, None, None),
    (1000, 0.3): (0.013, None, None),
    (1000, 0.6): (0.010, None, None),
    (1000, 0.9): (0.005, None, None),
}


def shown(name: str, found: Spreads) -> None:
    print(
        f"{name} | σ̂ {found.sigma:+.4f} | plain std {found.naive:.4f} | range {found.span:.3f}, 95 % {found.span_95:.3f} | "
        f"coverage of σ {found.coverage:.3f} | Cochran {found.cochran:.3f} | permutation {found.permutation:.3f} | "
        f"fragile {found.fragile:.3f}"
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("design", NOISE)
def test_what_noise_alone_does(design):
    cases, correlation = design
    # Correct answers are a latent normal below 0: correlation r of the answers is sin(πr/2) of the latent (accuracy .5).
    found = spreads(0.0, Planted(cases, 1, 12, 0.5, within_case=float(np.sin(np.pi / 2 * correlation))), 300)
    shown(f"no effect, n={cases}, r={correlation}", found)
    deviation, span, span_95 = NOISE[design]
    where = f"12 prompts, no effect, n = {cases}, correlation {correlation:g}"
    figures = [("standard deviation", deviation, found.naive, 0.0015), ("range", span, found.span, 0.005)]
    figures += [("95 % of ranges below", span_95, found.span_95, 0.02)]
    for name, notes, own, tolerance in figures:
        if notes is not None:
            record(TABLE, f"{where}: {name}", notes=notes, found=own, tolerance=tolerance)
            assert own == pytest.approx(notes, abs=tolerance), name
    assert abs(found.sigma) < 0.35 * found.naive
    assert found.coverage > 0.92
    assert found.fragile <= 0.02


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("sigma", "naive", "cochran"), [(0.0, 0.037, 0.048), (0.028, 0.046, 0.31), (0.046, 0.058, 0.72), (0.088, 0.094, 0.99)]
)
def test_a_true_spread_is_recovered(sigma, naive, cochran):
    found = spreads(sigma, Planted(100, 1, 12, 0.7, within_case=0.5), 1000)
    shown(f"true σ {sigma}, n=100", found)
    off = 0.006 if sigma == 0 else 0.002
    rows = (("σ̂", sigma or 0.004, found.sigma, off + 0.004 * (sigma == 0)), ("plain deviation", naive, found.naive, 0.002))
    for name, notes, own, tolerance in (*rows, ("Cochran's Q rejects", cochran, found.cochran, 0.04)):
        record(TABLE, f"true σ {sigma:g} over 12 prompts, n = 100: {name}", notes=notes, found=own, tolerance=tolerance)
        assert own == pytest.approx(notes, abs=tolerance), name
    assert found.sigma == pytest.approx(sigma, abs=off)
    assert found.permutation == pytest.approx(found.cochran, abs=0.02)
    assert 0.93 <= found.coverage <= 0.98
    assert found.naive > sigma + 0.004


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("sigma", [0.0, 0.03, 0.067])
def test_a_true_spread_is_recovered_with_patients(sigma):
    found = spreads(sigma, Planted(60, 5, 12, 0.7, within_case=0.5, within_cluster=0.3, uneven=True), 600)
    shown(f"true σ {sigma}, 60 patients x 5", found)
    assert found.sigma == pytest.approx(sigma, abs=0.006 if sigma == 0 else 0.002)
    assert 0.93 <= found.coverage <= 0.98
    if sigma == 0:
        assert found.permutation <= 0.07


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("effects", [(-0.06, 0.06), (-0.03, -0.03, -0.03, 0.09)], ids=["two kinds of prompt", "one bad quarter"])
def test_effects_that_are_not_normal(effects):
    """Tukey–Williams assumes normal effects. With two kinds of prompt it is conservative; skewed effects cost little."""
    sigma = float(np.std(effects))
    found = spreads(sigma, Planted(200, 1, 12, 0.7, within_case=0.5), 600, effects=effects)
    shown(f"effects {effects}, σ {sigma:.3f}", found)
    assert found.sigma == pytest.approx(sigma, abs=0.003)
    assert found.coverage > 0.9


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_intervals_of_sigma_compared():
    """Why Tukey–Williams: σ = .046, n = 100, the three candidates on the same studies."""
    from palpate.stats.resampling import draw_clusters, draw_prompts, replicate
    from palpate.stats.variance import jackknife_spread, pigeonhole_spread, prompt_spread

    held, width, studies, sigma = np.zeros(3), np.zeros(3), 600, 0.046
    for s in range(studies):
        rng = np.random.default_rng([s, 9])
        one = Planted(100, 1, 12, 0.7, within_case=0.5, shift=tuple(rng.normal(0, sigma, 12))).panel(s)
        right = (one.outcome[:, :, 0] == np.where(one.label == 1, 0, 1)[:, None]).astype(float)
        ones = np.ones((100, 1))
        rates = replicate(np.concatenate([right, ones], axis=1), draw_clusters(100, 400, rng)).map(lambda t: t[:, :-1] / t[:, -1:])
        found = prompt_spread(rates, 100, 0.95)
        bounds = (
            (found.low, found.high),
            jackknife_spread(rates, 100, 0.95),
            pigeonhole_spread(rates, draw_prompts(12, 400, rng), 100, 0.95),
        )
        held += [low <= sigma <= high for low, high in bounds]
        width += [high - low for low, high in bounds]
    held, width = held / studies, width / studies
    for name, share, size in zip(("Tukey–Williams", "jackknife over prompts", "pigeonhole"), held, width, strict=True):
        print(f"interval of σ = {sigma}, n=100 | {name} | coverage {share:.3f}, mean width {size:.3f}")
    assert 0.93 <= held[0] <= 0.98
    assert held[1] < 0.92  # twelve prompts are too few for it
    assert held[2] > 0.98  # holds, by being too wide
