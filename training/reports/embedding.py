"""Features of samples in two dimensions, and how well their clusters are the classes.

V-score: the V-measure (Rosenberg and Hirschberg, EMNLP 2007), harmonic mean of homogeneity and
completeness, of the labels against k-means clusters of the features themselves, not of their
picture; as many clusters as classes occur. The papers that print a V-score do not say how they
cluster.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pi_cache.errors import InvalidSpec
from training.reports.paired import ReportsNotInstalled

PERPLEXITY = 30.0
MOST = 2000
"""Samples of a picture; t-SNE of more takes minutes. The V-score is of all samples."""
STARTS = 10
"""Of k-means; the best one counts."""

Floats = NDArray[np.float64]


class Embedding(NamedTuple):
    """points: (m, 2). labels: (m,). v_score: of all samples. perplexity: that was used."""

    points: Floats
    labels: NDArray[np.int64]
    v_score: float
    perplexity: float


def v_score(features: NDArray[Any], labels: NDArray[Any], *, seed: int = 0) -> float:
    """The V-score of features (n, F) and labels (n,), 0..1; see this module.

    Raises InvalidSpec for features that are not finite, ReportsNotInstalled.
    """
    values = _parse(features, labels)
    cluster, metrics = _sklearn("cluster"), _sklearn("metrics")
    count = min(len(np.unique(labels)), len(np.unique(values, axis=0)))
    found = cluster.KMeans(n_clusters=count, n_init=STARTS, random_state=seed).fit_predict(values)
    return float(metrics.v_measure_score(labels, found))


def embed(
    features: NDArray[Any], labels: NDArray[Any], *, seed: int = 0, most: int = MOST
) -> Embedding:
    """t-SNE (van der Maaten and Hinton, 2008) of features (n, F), started from their PCA.

    most: so many samples are drawn for it. Perplexity 30, less of few samples.
    Raises InvalidSpec, ReportsNotInstalled.
    """
    values = _parse(features, labels)
    if len(values) < 4:
        raise InvalidSpec(f"t-SNE needs 4 samples at least, got {len(values)}")
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(values))[:most])
    perplexity = min(PERPLEXITY, (len(chosen) - 1) / 3)
    tsne = _sklearn("manifold").TSNE(
        perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed
    )
    points = tsne.fit_transform(values[chosen])
    return Embedding(
        np.asarray(points, np.float64),
        np.asarray(labels)[chosen],
        v_score(values, labels, seed=seed),
        perplexity,
    )


def _parse(features: NDArray[Any], labels: NDArray[Any]) -> Floats:
    values = np.asarray(features, dtype=np.float64)
    if values.ndim != 2 or len(values) != len(labels) or not len(values):
        raise InvalidSpec(f"expected features (n, F) and labels (n,), got {values.shape}")
    if not np.isfinite(values).all():
        raise InvalidSpec("features are NaN or infinite; the network diverged in training")
    return values


def _sklearn(module: str) -> Any:
    try:
        from sklearn import cluster, manifold, metrics
    except ImportError as error:
        raise ReportsNotInstalled(f'{error}; pip install "pi-cache[report]"') from None
    return {"cluster": cluster, "manifold": manifold, "metrics": metrics}[module]
