"""The probe of words: out of fold, by groups, and blind where the words are."""

from __future__ import annotations

import numpy as np
import pytest

from palpate.stats.probes import ladder_folds
from palpate.stats.text_probe import text_probe

pytest.importorskip("sklearn")
from sklearn.metrics import roc_auc_score

N = 80
RNG = np.random.default_rng(0)
CLUSTER = np.arange(N) // 2
LABEL = (RNG.permutation(N // 2) % 2)[CLUSTER].astype(np.int8)
FOLD = ladder_folds(LABEL, CLUSTER, 0, "t")[:2]
FILLER = ("bright", "dark", "round", "left", "right", "small")


def filler() -> str:
    return " ".join(RNG.choice(FILLER, 8))


def test_words_that_tell_are_found():
    texts = [f"{filler()} {'nodule' if y else 'smooth'}" for y in LABEL]
    score = text_probe(texts, LABEL, FOLD)
    assert score.shape == FOLD.shape
    assert roc_auc_score(LABEL, score.mean(axis=0)) == 1.0


def test_a_pair_of_words_tells_what_neither_does():
    texts = [f"{'no mass edema' if y else 'no edema mass'} {filler()}" for y in LABEL]
    assert roc_auc_score(LABEL, text_probe(texts, LABEL, FOLD).mean(axis=0)) > 0.95


def test_words_that_tell_nothing_tell_nothing():
    areas = [roc_auc_score(LABEL, text_probe([filler() for _ in LABEL], LABEL, FOLD).mean(axis=0)) for _ in range(8)]
    assert abs(np.mean(areas) - 0.5) < 0.12


def test_a_group_s_own_word_is_not_learnt_from_it():
    """Each patient has a word of its own, and two images: what is known only by heart must not help."""
    texts = [f"patient{c} patient{c}" for c in CLUSTER]
    assert roc_auc_score(LABEL, text_probe(texts, LABEL, FOLD)[0]) <= 0.6


@pytest.mark.parametrize("text", ["", "…", " \n"])
def test_without_words_every_score_is_the_same(text):
    assert not text_probe([text] * N, LABEL, FOLD).any()


def test_one_class_in_a_fold_is_an_error():
    with pytest.raises(ValueError, match="one class"):
        text_probe(["a b"] * 4, np.array([1, 1, 0, 0], np.int8), np.array([[0, 0, 1, 1]]))


def test_it_is_what_scikit_learn_s_pipeline_gives():
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts = [f"{filler()} {'nodule' if y else ''}" for y in LABEL]
    expected = np.empty(N)
    for f in np.unique(FOLD[0]):
        out = FOLD[0] == f
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
        pipeline = make_pipeline(words, LogisticRegression(C=10.0, max_iter=500))
        pipeline.fit([t for t, o in zip(texts, out, strict=True) if not o], LABEL[~out])
        expected[out] = pipeline.decision_function([t for t, o in zip(texts, out, strict=True) if o])
    # Words that no training text holds have weight 0 either way; only their part in a text's length differs.
    assert np.corrcoef(expected, text_probe(texts, LABEL, FOLD[:1])[0])[0, 1] > 0.99
