"""Fields, particles and cells."""

from __future__ import annotations

import numpy

from .program import Array, Inputs, Namespace, Outputs, Program


def _plate(small: bool) -> Inputs:
    n = 96 if small else 1024
    u = numpy.zeros((n, n))
    u[0, :] = 100.0
    u[n // 3 : n // 2, n // 3 : n // 2] = 250.0
    return {"start": u, "steps": 10 if small else 40}


def _heat(np: Namespace, start: Array, steps: int) -> Outputs:
    u = np.asarray(start, copy=True)
    middle = u[1:-1, 1:-1]
    for _ in range(steps):
        middle += 0.2 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4 * middle)
    return (u,)


def _pond(small: bool) -> Inputs:
    n = 96 if small else 1024
    y, x = numpy.mgrid[:n, :n] / n - 0.5
    return {"drop": numpy.exp(-400 * (x * x + y * y)), "steps": 10 if small else 40}


def _wave(np: Namespace, drop: Array, steps: int) -> Outputs:
    before, now = np.asarray(drop, copy=True), np.asarray(drop, copy=True)
    for _ in range(steps):
        after = np.zeros_like(now)
        lap = now[:-2, 1:-1] + now[2:, 1:-1] + now[1:-1, :-2] + now[1:-1, 2:] - 4 * now[1:-1, 1:-1]
        after[1:-1, 1:-1] = 2 * now[1:-1, 1:-1] - before[1:-1, 1:-1] + 0.25 * lap
        before, now = now, after
    return now, (now * now).sum()


def _charges(small: bool) -> Inputs:
    n = 64 if small else 768
    source = numpy.zeros((n, n))
    source[n // 4, n // 4], source[3 * n // 4, 3 * n // 4] = 1.0, -1.0
    return {"source": source, "steps": 20 if small else 100}


def _jacobi(np: Namespace, source: Array, steps: int) -> Outputs:
    u = np.zeros_like(source)
    right = source[1:-1, 1:-1]
    for _ in range(steps):
        inside = 0.25 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] + right)
        u[1:-1, 1:-1] = inside
    residual = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4 * u[1:-1, 1:-1] + right
    return u, np.abs(residual).max()


def _cluster(small: bool) -> Inputs:
    count = 64 if small else 1000
    rng = numpy.random.default_rng(5)
    return {
        "start": rng.standard_normal((count, 3)), "speed": 0.1 * rng.standard_normal((count, 3)),
        "mass": rng.uniform(0.5, 1.5, count) / count, "steps": 5,
    }  # fmt: skip


def _n_body(np: Namespace, start: Array, speed: Array, mass: Array, steps: int, dt: float = 0.01) -> Outputs:
    x, v = np.asarray(start, copy=True), np.asarray(speed, copy=True)

    def pull() -> Array:
        away = x[None, :, :] - x[:, None, :]
        distance = (away * away).sum(-1) + 0.01
        return (away * (mass / (distance * np.sqrt(distance)))[:, :, None]).sum(1)

    force = pull()
    for _ in range(steps):
        v += 0.5 * dt * force
        x += dt * v
        force = pull()
        v += 0.5 * dt * force
    return x, v, 0.5 * (mass * (v * v).sum(-1)).sum()


def _soup(small: bool) -> Inputs:
    n = 96 if small else 1024
    return {"start": (numpy.random.default_rng(2).random((n, n)) < 0.3).astype(numpy.uint8), "steps": 10}


def _life(np: Namespace, start: Array, steps: int) -> Outputs:
    cells = np.asarray(start, copy=True)
    for _ in range(steps):
        rows = np.roll(cells, 1, 0) + cells + np.roll(cells, -1, 0)
        near = np.roll(rows, 1, 1) + rows + np.roll(rows, -1, 1) - cells
        cells = ((near == 3) | ((near == 2) & (cells == 1))).astype(np.uint8)
    return cells, cells.sum()


def _window(small: bool) -> Inputs:
    height, width = (60, 90) if small else (600, 900)
    y, x = numpy.mgrid[:height, :width]
    return {"x": x / width * 3 - 2.1, "y": y / height * 2 - 1.0, "steps": 60}


def _mandelbrot(np: Namespace, x: Array, y: Array, steps: int) -> Outputs:
    re, im = np.zeros_like(x), np.zeros_like(y)
    escaped = np.full(x.shape, steps, dtype=np.int32)
    for step in range(steps):
        re2, im2 = re * re, im * im
        out = (re2 + im2 > 4) & (escaped == steps)
        escaped[out] = step
        re, im = np.clip(re2 - im2 + x, -4, 4), np.clip(2 * re * im + y, -4, 4)
    return (escaped,)


PROGRAMS = (
    Program("heat", "Heat in a plate, in-place stencil", _plate, _heat, lambda u: f"mean {u.mean():.3f} degrees"),
    Program("wave", "Waves in a pond", _pond, _wave, lambda now, energy: f"energy {float(energy):.4f}"),
    Program("jacobi", "Poisson equation by Jacobi", _charges, _jacobi, lambda u, left: f"residual {float(left):.2e}"),
    Program("n_body", "Gravity of a star cluster", _cluster, _n_body,
            lambda x, v, energy: f"{len(x):,} stars, kinetic energy {float(energy):.5f}"),
    Program("life", "Game of life", _soup, _life, lambda cells, alive: f"{int(alive):,} cells live"),
    Program("mandelbrot", "Mandelbrot set", _window, _mandelbrot,
            lambda steps: f"{(steps == steps.max()).mean():.1%} inside"),
)  # fmt: skip
