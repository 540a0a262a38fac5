"""Where gpuxp differs from NumPy on purpose: each row of the table is shown to be real, and is in the docs.

Nothing else may differ: the property tests compare everything but these rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

import gpuxp
from gpuxp.testing import compare, outcome, public_class

PAGE = Path(__file__).parents[2] / "docs" / "differences.md"
INF = float("inf")


def _after(xp: Any, array: Any, change: Callable[[Any], Any]) -> Any:
    """Return an array after a change, and whether the change was refused."""
    try:
        change(array)
    except (TypeError, ValueError, OverflowError) as error:
        return [xp.asarray(array), public_class(error).__name__]
    return [xp.asarray(array), ""]


def _overlapping_copy(xp: Any) -> Any:
    a = xp.arange(10)
    a[1::2] = a[3:8]
    return a


def _masked_overlap(xp: Any) -> Any:
    a = xp.arange(6)
    return xp.isnan(a[::-1], out=a, where=xp.arange(6) > 9)


# what the docs call it -> (a program that shows it, what gpuxp is to give)
DIFFERENCES: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "0-d arrays": (lambda xp: isinstance(xp.ones(3).sum(), type(xp.ones(3))), True),
    "`floor_divide` at infinities": (lambda xp: xp.floor_divide(xp.asarray([INF, 1.0]), 2.0), [INF, 0.0]),
    "complex `expm1`, `tanh`": (lambda xp: xp.expm1(xp.asarray([complex(-INF, INF)])).real, [-1.0]),
    "`eig`, `eigvals`": (lambda xp: xp.linalg.eigvals(xp.eye(2)).dtype.kind, "c"),
    "`finfo`, `iinfo`": (lambda xp: type(xp.finfo(xp.float32).eps).__name__, "float"),
    "`asarray(numpy_array)`": (lambda xp: bool(numpy.shares_memory(numpy.asarray(xp.asarray(SHARED)), SHARED)), False),
    "in an element (": (lambda xp: _after(xp, xp.zeros(2, xp.int8), lambda a: a.__setitem__(0, xp.arange(301).max())),
                   [[44, 0], ""]),
    "one step for another": (_overlapping_copy, [0, 3, 2, 4, 4, 5, 6, 6, 8, 7]),
    "`where=` with an overlapping `out=`": (_masked_overlap, [0, 1, 2, 3, 4, 5]),
    "`ufunc.at` on a read-only array": (
        lambda xp: _after(xp, xp.broadcast_to(xp.zeros(1), (2,)), lambda a: xp.add.at(a, 0, 1)),
        [[0.0, 0.0], "ValueError"],
    ),
    "`var`, `std` of float16": (lambda xp: xp.std(xp.asarray([0.0, 700.0], "float16")), numpy.float16(350)),
    "`tril`, `triu` of a 0-d array": (lambda xp: _after(xp, xp.asarray(1), xp.tril)[1], "ValueError"),
    "`x @ y` of two values": (lambda xp: _after(xp, xp.arange(3), lambda a: a[0] @ a[1])[1], "ValueError"),
    "`nonzero`": (lambda xp: xp.nonzero(xp.ones((2, 2)))[0].flags.c_contiguous, True),
}  # fmt: skip
SHARED = numpy.zeros(3)


@pytest.mark.parametrize("what", DIFFERENCES)
@pytest.mark.parametrize("small", [16384, 0])
def test_the_difference_is_real(what: str, small: int) -> None:
    program, expected = DIFFERENCES[what]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, refused = outcome(program, numpy, ())
        with gpuxp.configure(small=small):
            ours, failed = outcome(program, gpuxp, ())
    assert failed is None
    assert refused is not None or compare(theirs, ours), "no difference any more: the row can go"
    assert _equal(ours, expected), f"gpuxp gives {ours!r}"


def _equal(found: Any, expected: Any) -> bool:
    if isinstance(found, list):
        return all(_equal(f, e) for f, e in zip(found, expected, strict=True))
    return bool(numpy.all(numpy.asarray(found) == numpy.asarray(expected)))


@pytest.mark.parametrize("what", DIFFERENCES)
def test_the_difference_is_documented(what: str) -> None:
    if not PAGE.exists():
        pytest.skip("needs the repository: the docs are not part of the package")
    assert what in PAGE.read_text()
