"""Data sets of the demo programs, all of which scikit-learn ships."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@functools.cache
def digits() -> tuple[Array, Array]:
    """Return 1797 handwritten digits of 8 x 8 pixels, between 0 and 1, and what they are."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return np.ascontiguousarray(images / 16.0), labels.astype(np.int64)


@functools.cache
def breast_cancer() -> tuple[Array, Array]:
    """Return 30 standardised measurements of 569 tumours, and which are benign."""
    from sklearn.datasets import load_breast_cancer

    measured, benign = load_breast_cancer(return_X_y=True)
    return (measured - measured.mean(0)) / measured.std(0), benign.astype(np.float64)


@functools.cache
def photograph() -> Array:
    """Return a colour photograph, 427 x 640 x 3, as float32 between 0 and 1."""
    from sklearn.datasets import load_sample_image

    return np.asarray(load_sample_image("china.jpg"), np.float32) / np.float32(255)


def split(count: int, share: float = 0.75) -> tuple[Array, Array]:
    """Return the indices of a training and a test set."""
    order = np.random.default_rng(1).permutation(count)
    cut = int(count * share)
    return order[:cut], order[cut:]
