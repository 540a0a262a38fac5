"""The kernel: what is well formed, how it reads, and the order of a reduction."""

from __future__ import annotations

import numpy as np
import pytest

from gpuxp.folding import fold
from gpuxp.kernel import BLOCK, LANES, Inst, Kernel, Reduction, combine, execute

F8, I8 = np.dtype(np.float64), np.dtype(np.int64)
LOAD0, LOAD1 = Inst("load", (), F8, 0), Inst("load", (), F8, 1)
ADD = Inst("add", (0, 1), F8)
GOOD = Kernel((F8, F8, F8), (), (LOAD0, LOAD1, ADD), ((2, 2),))
SUM = Kernel((F8, F8), (), (LOAD0,), (), (Reduction("add", 0, 1),), 2, 1)

BAD = {
    "uses a later value": Kernel((F8, F8, F8), (), (LOAD0, Inst("add", (0, 1), F8), LOAD1), ((2, 1),)),
    "unknown op": Kernel((F8, F8), (), (LOAD0, Inst("nonsense", (0,), F8)), ((1, 1),)),
    "wrong number of arguments": Kernel((F8, F8), (), (LOAD0, Inst("add", (0,), F8)), ((1, 1),)),
    "changes the dtype": Kernel((F8, I8), (), (LOAD0,), ((1, 0),)),
    "with another dtype": Kernel((I8, F8), (), (LOAD0,), ((1, 0),)),
    "two stores": Kernel((F8, F8), (), (LOAD0,), ((1, 0), (1, 0))),
    "no reduction": Kernel((F8, F8), (), (LOAD0,), (), (Reduction("subtract", 0, 1),), 1, 0),
    "without a reduction": Kernel((F8, F8), (), (LOAD0,), ((1, 0),), (), 2, 1),
    "loaded in the same kernel": Kernel((F8,), (), (LOAD0,), (), (Reduction("add", 0, 0),), 1, 0),
    "not one-dimensional": Kernel((I8,), (), (Inst("index", (), I8),), ((0, 0),), (), 2, 2),
    "unknown value": Kernel((F8, F8), (), (LOAD0,), ((1, 7),)),
}


@pytest.mark.parametrize("message", BAD)
def test_verify_refuses(message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BAD[message].verify()


def test_verify_accepts() -> None:
    GOOD.verify()
    SUM.verify()


def test_pretty() -> None:
    assert GOOD.pretty() == (
        "kernel over (i0):\n  %0: float64 = load p0\n  %1: float64 = load p1\n"
        "  %2: float64 = add %0 %1\n  p2: float64 <- %2"
    )
    assert SUM.pretty() == "kernel over (i0, r1):\n  %0: float64 = load p0\n  p1: float64 <- add-reduce %0"


def test_equal_kernels_are_one_key() -> None:
    again = Kernel((F8, F8, F8), (), (LOAD0, LOAD1, ADD), ((2, 2),))
    assert (again, hash(again), again.key()) == (GOOD, hash(GOOD), GOOD.key())
    assert GOOD.over(2, 2) != GOOD
    assert GOOD.over(2, 2) is GOOD.over(2, 2)


def test_execute() -> None:
    a, b, out = np.arange(4.0), np.arange(4.0)[::-1], np.empty(4)
    execute(GOOD, (4,), (a, b, out), ())
    assert out.tolist() == [3, 3, 3, 3]
    rows, sums = np.arange(6.0).reshape(2, 3), np.empty(2)
    execute(SUM, (2, 3), (rows, sums), ())
    assert sums.tolist() == [3, 12]


def test_execute_loads_before_it_stores() -> None:
    swap = Kernel((F8, F8), (), (LOAD0, LOAD1), ((0, 1), (1, 0)))
    a, b = np.arange(3.0), np.arange(3.0) + 10
    execute(swap, (3,), (a, b), ())
    assert (a.tolist(), b.tolist()) == ([10, 11, 12], [0, 1, 2])


LENGTHS = [
    1,
    2,
    3,
    7,
    LANES - 1,
    LANES,
    LANES + 1,
    2 * LANES + 5,
    BLOCK - 1,
    BLOCK,
    BLOCK + 1,
    3 * BLOCK + 77,
    40 * BLOCK,
]


@pytest.mark.parametrize("op", ["add", "multiply", "maximum"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize("n", LENGTHS)
def test_fold_has_the_order_of_combine(op: str, dtype: type, n: int) -> None:
    rng = np.random.default_rng(n)
    for outer in (1, 3, 70):
        if outer * n > 300_000:
            continue
        values = (1 + 1e-3 * rng.standard_normal((outer, n))).astype(dtype)
        want = combine(op, values)
        assert fold(op, values[:, :, None])[:, 0].tobytes() == want.tobytes()
        assert fold(op, np.ascontiguousarray(values.T)[None])[0].tobytes() == want.tobytes()


def test_sums_are_as_accurate_as_numpys() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((1, 1_000_000)).astype(np.float32)
    exact = values.astype(np.float64).sum()
    ours, numpys = combine("add", values)[0], values[0].sum()
    assert abs(ours - exact) <= 4 * max(abs(numpys - exact), np.spacing(np.float32(exact)))


def test_a_sum_of_negative_zeros_is_zero() -> None:
    found = combine("add", np.full((1, 300), -0.0))
    assert not np.signbit(found).any()
    assert combine("add", np.empty((2, 0))).tolist() == [0, 0]
