"""Learning from data."""

from __future__ import annotations

import numpy

from . import data
from .program import Array, Inputs, Namespace, Outputs, Program


def _clusters(small: bool) -> Inputs:
    images, _ = data.digits()
    return {"points": images, "start": images[:10], "steps": 3 if small else 15}


def _k_means(np: Namespace, points: Array, start: Array, steps: int) -> Outputs:
    centres = start
    for _ in range(steps):
        distance = (points * points).sum(1)[:, None] - 2 * points @ centres.T + (centres * centres).sum(1)
        nearest = distance.argmin(1)
        member = (nearest[:, None] == np.arange(len(start))).astype(points.dtype)
        centres = (member.T @ points) / member.sum(0)[:, None]
    return centres, nearest, distance.min(1).sum()


def _purity(centres: Array, nearest: Array, inertia: Array) -> str:
    labels = data.digits()[1]
    found = sum(numpy.bincount(labels[nearest == k]).max() for k in range(len(centres)))
    return f"inertia {float(inertia):,.1f}, {found / len(labels):.1%} in a cluster of their digit"


def _pca(np: Namespace, points: Array) -> Outputs:
    centred = points - points.mean(0)
    _, s, vt = np.linalg.svd(centred, full_matrices=False)
    variance = s * s / (s * s).sum()
    axes = vt[:10]
    back = (centred @ axes.T) @ axes
    return variance, ((centred - back) ** 2).mean()


def _training(small: bool) -> Inputs:
    images, labels = data.digits()
    train, test = data.split(len(labels))
    rng = numpy.random.default_rng(0)
    return {
        "x": images[train], "wanted": numpy.eye(10)[labels[train]], "test": images[test],
        "w1": rng.standard_normal((64, 64)) * 0.15, "w2": rng.standard_normal((64, 10)) * 0.15,
        "epochs": 10 if small else 120,
    }  # fmt: skip


def softmax(np: Namespace, x: Array) -> Array:
    """Return exp(x) scaled so that the last axis sums to one."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _perceptron(
    np: Namespace, x: Array, wanted: Array, test: Array, w1: Array, w2: Array, epochs: int
) -> Outputs:
    w1, w2 = np.asarray(w1, copy=True), np.asarray(w2, copy=True)
    b1, b2 = np.zeros(w1.shape[1]), np.zeros(w2.shape[1])
    rate = 1.0
    for _ in range(epochs):
        hidden = np.maximum(x @ w1 + b1, 0)
        wrong = (softmax(np, hidden @ w2 + b2) - wanted) / len(x)
        back = (wrong @ w2.T) * (hidden > 0)
        w2 -= rate * (hidden.T @ wrong)
        b2 -= rate * wrong.sum(0)
        w1 -= rate * (x.T @ back)
        b1 -= rate * back.sum(0)
    return (np.maximum(test @ w1 + b1, 0) @ w2 + b2).argmax(1), w1, w2


def _digit_accuracy(found: Array, w1: Array, w2: Array) -> str:
    labels = data.digits()[1][data.split(1797)[1]]
    return f"{(found == labels).mean():.1%} of unseen digits right"


def _tumours(small: bool) -> Inputs:
    measured, benign = data.breast_cancer()
    train, test = data.split(len(benign))
    return {
        "x": measured[train], "y": benign[train], "test": measured[test], "steps": 20 if small else 400,
    }  # fmt: skip


def _logistic(np: Namespace, x: Array, y: Array, test: Array, steps: int) -> Outputs:
    w, bias = np.zeros(x.shape[1]), np.zeros(())
    for _ in range(steps):
        wrong = 1 / (1 + np.exp(-(x @ w + bias))) - y
        w -= 0.5 * (x.T @ wrong / len(y) + 1e-3 * w)
        bias -= 0.5 * wrong.mean()
    return test @ w + bias > 0, w


def _tumour_accuracy(found: Array, w: Array) -> str:
    benign = data.breast_cancer()[1]
    return f"{(found == benign[data.split(len(benign))[1]]).mean():.1%} of unseen tumours right"


def _tokens(small: bool) -> Inputs:
    heads, count, width = (2, 32, 16) if small else (8, 512, 64)
    rng = numpy.random.default_rng(4)
    return {k: rng.standard_normal((heads, count, width), dtype=numpy.float32) for k in ("q", "k", "v")}


def _attention(np: Namespace, q: Array, k: Array, v: Array) -> Outputs:
    weight = softmax(np, q @ np.swapaxes(k, -1, -2) * (1 / q.shape[-1] ** 0.5))
    return weight @ v, -(weight * np.log(weight + 1e-9)).sum(-1).mean()


PROGRAMS = (
    Program("k_means", "k-means on handwritten digits", _clusters, _k_means, _purity,
            needs="sklearn"),
    Program("pca", "Principal components by SVD", lambda small: {"points": data.digits()[0]}, _pca,
            lambda variance, error: f"10 of 64 axes keep {variance[:10].sum():.1%} of the variance", needs="sklearn"),
    Program("perceptron", "Neural network, trained on digits", _training, _perceptron, _digit_accuracy, 1e-6,
            "sklearn"),
    Program("logistic", "Logistic regression on tumours", _tumours, _logistic, _tumour_accuracy, 1e-6,
            "sklearn"),
    Program("attention", "Softmax attention, float32", _tokens, _attention,
            lambda out, entropy: f"{out.shape[0]} heads, mean entropy {float(entropy):.3f}"),
)  # fmt: skip
