"""What the words of a text tell of a label, out of fold: a ceiling to what a reader can take from their mere presence.

Words and pairs of words (TF-IDF, its weights from the training cases) and logistic regression. It is no bound: a reader knows from
elsewhere what words mean, and a probe learns little from few texts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from palpate.stats.probes import Folds, Labels
from palpate.stats.resampling import Array

STRENGTH = 10.0
"""Inverse of the penalty on the weights. Rows have length 1: under scikit-learn's default of 1 they hardly count."""
MOST_WORDS = 20_000


def text_probe(texts: Sequence[str], label: Labels, fold: Folds) -> Array:
    """(R, n) log odds of the condition for n texts, each by a model that saw neither the text nor any of its fold (R, n).

    Raises ImportError without scikit-learn, ValueError where a fold leaves one class to learn from.
    """
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
    from sklearn.linear_model import LogisticRegression

    if any(not 0 < label[f != g].sum() < (f != g).sum() for f in fold for g in np.unique(f)):
        raise ValueError("a fold leaves only one class to learn from: too few groups for that many folds")
    score = np.zeros(fold.shape)
    try:
        # Which words a text holds depends on no other text; one that no training text holds gets no weight.
        counts = CountVectorizer(ngram_range=(1, 2), max_features=MOST_WORDS, token_pattern=r"(?u)\b\w+\b").fit_transform(texts)
    except ValueError:  # no word in any of them
        return score
    for r, folds in enumerate(fold):
        for f in np.unique(folds):
            out, seen = np.flatnonzero(folds == f), np.flatnonzero(folds != f)
            weights = TfidfTransformer(sublinear_tf=True).fit(counts[seen])
            found = LogisticRegression(C=STRENGTH, max_iter=500).fit(weights.transform(counts[seen]), label[seen])
            score[r, out] = found.decision_function(weights.transform(counts[out]))
    return score
