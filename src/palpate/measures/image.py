"""Does the model look at the image, and does it see the condition there?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from palpate.measures._cells import Cell, cells
from palpate.measures._estimates import Made, judged, made
from palpate.measures._linear import CLUSTERED, CLUSTERED_T, DELONG, class_clusters, clusters_in_use, margins, rate, whole
from palpate.measures._pairing import NULL_IMAGES, change, kind_counts, rerun_floor, same_cell, with_others
from palpate.measures._tests import Tested, adjusted, alone, by_error, nearest
from palpate.nouns import Estimate, Panel
from palpate.parts import Headline, MeasureSettings, Thresholds
from palpate.stats.influence import Linear, change_interval, score_error, share_interval
from palpate.stats.information import expected_entropy, miller_madow, plugin_entropy
from palpate.stats.intervals import Interval
from palpate.stats.resampling import Array, cluster_sums
from palpate.stats.roc import linear_auroc

NO_NULL = "no null image was asked: add blank, noise, no_image or other_modality to the study's perturbations"
NULL_SILENT = "the null images were never given a definite answer"
NOT_BOTH = "cases of both classes are needed"


class Image:
    """Image dependence, label dependence, and what the model says about images that show nothing."""

    name: ClassVar[str] = "image"
    question: ClassVar[int] = 5
    estimates: ClassVar[Mapping[str, str]] = {
        "image_dependence": "Share of answers that differ from the answer to a null image, less the share that differ between two "
        "runs of the same question; null images with a definite answer. 0: the image is ignored",
        "label_dependence": "AUROC − 0.5 of the mean margin or, without margins, of the share of positive answers; cases with one",
        "answer_information": "Mutual information between image and answer in bits, mean over prompts; read trials. 0: ignored",
        "mirage_rate": "Answers that assert the condition / all read trials on null images",
        "null_answer_rate": "Definite answers / all read trials on null images, where nothing can be seen",
    }

    headlines: ClassVar[tuple[Headline, ...]] = (
        Headline("image_dependence", 0.0, ("label_dependence", "mirage_rate", "null_answer_rate")),
    )

    def measure(self, panels: Sequence[Panel], settings: MeasureSettings) -> Iterator[Estimate]:
        """Per cell, and per null image; the verdict on image_dependence takes label_dependence into account.

        Both are tested over the tasks of a model (Holm), each as a family of its own.
        """
        found: list[_Cell] = []
        for panel, others in with_others(panels):
            for cell in cells(panel):
                batch = made(cell, settings.level)
                null = {p.perturbation: same_cell(cell, p) for p in others if p.perturbation.name in NULL_IMAGES}
                nulls = {str(perturbation): c for perturbation, c in null.items() if c is not None}
                bounds = settings.thresholds
                moved = _dependence(cell, list(nulls.values()), batch, bounds.image_dependence)
                label = _label_dependence(cell, batch, bounds.label_dependence)
                found.append(_Cell(moved, label, [_information(cell, batch), *_on_null_images(cell, nulls, batch)]))
        p = adjusted([one.moved for one in found]), adjusted([one.label for one in found])
        for one, p_moved, p_label in zip(found, *p, strict=True):
            yield _with_verdict(one, float(p_moved), float(p_label), settings)
            yield one.label.estimate
            yield from one.others


@dataclass(frozen=True, slots=True)
class _Cell:
    """What one cell gives: image_dependence and label_dependence with their tests, and the rest."""

    moved: Tested
    label: Tested
    others: Sequence[Estimate]


# ---------------------------------------------------------------- does the image move the answer


def _dependence(cell: Cell, nulls: Sequence[Cell], batch: Made, bound: float = 0.0) -> Tested:
    """ID = P(answer ≠ answer to a null image) − rerun floor, the mean over null images and prompts (METHODS E1).

    Tested against 0 and all up to the study's ``bound``.
    """
    if not nulls:
        return Tested(batch.estimate("image_dependence", 0, np.nan, (np.nan, np.nan), CLUSTERED, NO_NULL))
    real = kind_counts(cell)
    definite = [kind_counts(null)[..., :2] for null in nulls]  # abstaining on a null image is right, and counted apart
    differs = [change(real, np.concatenate([d, np.zeros((*d.shape[:2], 1))], axis=-1)) for d in definite]
    top, bottom = (np.sum([pair[k] for pair in differs], axis=0) for k in (0, 1))
    moved = rate(cell, top, bottom).mean()
    count = int(clusters_in_use(cell, bottom > 0)[0])
    # Were the image ignored, both answers would come from one distribution: two runs of either differ as often.
    floor = rerun_floor(cell, [real, *definite])
    if floor is None:
        how = f"{CLUSTERED}; mean over {len(nulls)} null images; one repeat: the rerun floor is taken as 0"
        interval = share_interval(moved, count, batch.level)
        found = whole(batch, "image_dependence", moved.value, interval, how, NULL_SILENT, count)
        if found.value is None:
            return Tested(found)
        if bound == 0:  # with the floor at 0, an answer that moves is movement: there is nothing it could be by chance
            return replace(by_error(found, interval), p=0.0 if found.value else 1.0)
        by_score = replace(interval, error=score_error(moved, count, nearest(found.value, (0.0, bound))))
        return by_error(found, by_score, null=(0.0, bound))
    beyond = moved - floor
    interval = change_interval(beyond, 1 / (count + 2) ** 2, count, batch.level)
    how = f"{CLUSTERED_T}; mean over {len(nulls)} null images; rerun floor {float(floor.value):.3f} taken off"
    found = whole(batch, "image_dependence", beyond.value, _within(interval, -1.0, 1.0), how, NULL_SILENT, count)
    return by_error(found, interval, null=(0.0, bound))


def _within(interval: Interval, low: float, high: float) -> Interval:
    return replace(interval, low=np.maximum(interval.low, low), high=np.minimum(interval.high, high))


def _information(cell: Cell, batch: Made) -> Estimate:
    """I(image; answer) = H(answer) − H(answer | image). The bias of few repeats is taken out exactly: see ``expected_entropy``."""
    counts = kind_counts(cell)
    clusters = int(clusters_in_use(cell, counts.sum(axis=-1) > 0)[0])
    columns = [_prompt_information(cell, counts[:, p]) for p in range(counts.shape[1])]
    mean = Linear(np.array([c.value for c in columns]), np.stack([c.influence for c in columns], axis=-1)).mean()
    floor = (np.log2(clusters + 2) / (clusters + 2)) ** 2  # what one answer of another kind adds to the entropy
    interval = change_interval(mean, floor, max(clusters, 1), batch.level)
    repeats = cell.outcome.shape[2]
    how = "entropy of few repeats corrected exactly" if repeats > 1 else "one repeat: answers taken as certain; Miller–Madow"
    bounds = _within(interval, -np.inf, np.log2(3))
    return whole(batch, "answer_information", mean.value, bounds, f"{CLUSTERED_T}; {how}", "", clusters)


def _prompt_information(cell: Cell, counts: Array) -> Linear:
    """Of one prompt, over the cases whose repeats were all read."""
    repeats = cell.outcome.shape[2]
    full = counts.sum(axis=1) == repeats
    if not full.any():
        return Linear(np.asarray(np.nan), np.full(cell.clusters, np.nan))
    pool = counts[full].sum(axis=0)
    share = pool / pool.sum()
    own = np.where(full[:, None], counts / repeats, 0.0)
    if repeats == 1:
        value = float(miller_madow(pool))
        each = np.where(full, -np.log2(np.maximum((own * share).sum(axis=1), 1e-12)) - plugin_entropy(pool), 0.0)
    else:
        spread = np.where(full, plugin_entropy(np.where(full[:, None], counts, 1.0)), 0.0)
        value = expected_entropy(pool.astype(np.int64), repeats) - float(spread[full].mean())
        slope = np.array([_binomial_slope(s, repeats) for s in share])
        each = np.where(full, (own - share) @ slope - (spread - spread[full].mean()), 0.0)
    return Linear(np.asarray(value), cluster_sums(each / full.sum(), cell.panel.cluster, cell.clusters))


def _binomial_slope(share: float, repeats: int, step: float = 1e-5) -> float:
    """d/d share of the expected −(k/R) log₂(k/R), k binomial: how the entropy under independence follows a kind's share."""
    from scipy.special import comb

    drawn = np.arange(1, repeats)
    bits = -(drawn / repeats) * np.log2(drawn / repeats) * comb(repeats, drawn)

    def expected(f: float) -> float:
        return float((bits * f**drawn * (1 - f) ** (repeats - drawn)).sum())

    low, high = max(share - step, 0.0), min(share + step, 1.0)
    return (expected(high) - expected(low)) / (high - low)


# ---------------------------------------------------------------- does it see the condition


def _label_dependence(cell: Cell, batch: Made, bound: float) -> Tested:
    score, how = _score(cell)
    used = np.isfinite(score)
    positive = np.broadcast_to(cell.positive[:, None], used.shape)
    area = linear_auroc(score, positive, used, cell.panel.cluster, cell.clusters)
    clusters = int(class_clusters(cell, used)[:, 0].min())
    wide, narrow = (share_interval(area, clusters, at) for at in (batch.level, 2 * batch.level - 1))
    shifted = replace(wide, low=wide.low - 0.5, high=wide.high - 0.5)
    found = whole(batch, "label_dependence", area.value - 0.5, shifted, f"{DELONG}; {how}", NOT_BOTH, clusters)
    # The score test of the AUROC, which agrees with its interval: against 0.5 and all within the study's bound of it.
    blind = (-bound, bound)
    by_score = replace(shifted, error=score_error(area, clusters, 0.5 + nearest(area.value - 0.5, blind)))
    return by_error(found, by_score, null=blind, narrow=replace(narrow, low=narrow.low - 0.5, high=narrow.high - 0.5))


def _score(cell: Cell) -> tuple[Array, str]:
    """(n, 1) what AUROC is taken of, and its name."""
    by_prompt = margins(cell)
    used = np.isfinite(by_prompt).any(axis=0)
    if used.any():
        return by_prompt[:, used].mean(axis=1, keepdims=True), "of the mean margin"
    counts = kind_counts(cell)
    total = counts.sum(axis=(1, 2))
    # An answer left open counts half: it says neither.
    votes = (counts[..., 0] + 0.5 * counts[..., 2]).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (votes / total)[:, None], "of the share of positive answers (no margins)"


def _with_verdict(one: _Cell, p_moved: float, p_label: float, settings: MeasureSettings) -> Estimate:
    bounds, level = settings.thresholds, settings.level
    rule = (
        f"(both Holm over tasks) uses the image where this and label_dependence lie above {bounds.image_dependence:g} and "
        f"{bounds.label_dependence:g}; sees, but says the opposite where label_dependence lies below {-bounds.label_dependence:g}; "
        f"ignores it where this does not, and lies below {bounds.ignored:g}; looks but blind where this does, and label_dependence "
        f"does not and lies below {bounds.blind:g} ({100 * (2 * level - 1):.3g} % interval)"
    )
    shown = p_moved < 1 - level, p_label < 1 - level
    found = judged(one.moved.estimate, _word(one.moved.estimate, one.label, shown, bounds), rule)
    if shown[0]:
        return alone(found, one.label.p, p_label, "tasks", "label_dependence")
    return alone(found, one.moved.p, p_moved, "tasks")


def _word(found: Estimate, label: Tested, shown: tuple[bool, bool], bounds: Thresholds) -> str | None:
    """``shown``: whether ID and LD are other than 0, over all tasks."""
    if found.low is None or found.high is None:
        return None
    if not shown[0] or found.low <= bounds.image_dependence:
        return "ignores the image" if found.high < bounds.ignored else "undetermined"
    low, high = label.estimate.low, label.estimate.high
    if low is None or high is None:
        return "undetermined"
    if shown[1] and low > bounds.label_dependence:
        return "uses the image"
    if shown[1] and high < -bounds.label_dependence:
        return "sees, but says the opposite"
    return "looks but blind" if label.narrow[1] < bounds.blind else "undetermined"


# ---------------------------------------------------------------- what is said where nothing is shown


def _on_null_images(cell: Cell, nulls: Mapping[str, Cell], batch: Made) -> Iterator[Estimate]:
    """Over all null images, and for each; image_dependence for each too."""
    groups: list[tuple[dict[str, str], list[Cell]]] = [({}, list(nulls.values()))]
    groups += [({"null_image": name}, [null]) for name, null in nulls.items()]
    for more, members in groups:
        if more:
            yield _named(replace(_dependence(cell, members, batch).estimate, mde=None), more)
        counts = [kind_counts(null) for null in members]
        read = np.sum([c.sum(axis=-1) for c in counts], axis=0) if counts else np.zeros((len(cell.panel.cases), len(cell.prompts)))
        for name, kinds in (("mirage_rate", [0]), ("null_answer_rate", [0, 1])):
            top = np.sum([c[..., kinds].sum(axis=-1) for c in counts], axis=0) if counts else read
            share = rate(cell, top, read).mean()
            clusters = int(clusters_in_use(cell, read > 0)[0])
            interval = share_interval(share, clusters, batch.level)
            why = NO_NULL if not counts else "no null image was read"
            left_out = sum(int(null.left_out.sum()) for null in members)
            found = whole(batch, name, share.value, interval, f"{CLUSTERED}, mean over prompts", why, clusters)
            cases = int((read > 0).any(axis=1).sum())
            yield _named(replace(found, n_cases=cases, n_clusters=clusters, n_left_out=left_out), more)


def _named(estimate: Estimate, more: Mapping[str, str]) -> Estimate:
    return replace(estimate, by={**estimate.by, **more})


PARTS = (Image(),)
