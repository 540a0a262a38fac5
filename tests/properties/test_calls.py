"""Every function, method and operator gives NumPy's result for some typical calls, recorded or run at once."""

from __future__ import annotations

import re
from typing import Any

import numpy
import pytest

import gpuxp
from gpuxp import namespace
from gpuxp.testing import compare, outcome, public_class, to_gpuxp
from gpuxp.ufunc import PUBLIC

from .calls import ARRAYS, CALLS

# Read from or write files, change NumPy's own settings, or are NumPy's own objects: nothing to compare
APART = set(
    "errstate geterr seterr get_printoptions set_printoptions printoptions fromfile fromregex genfromtxt load loadtxt "
    "save savetxt savez savez_compressed".split()
)


def _run(line: str, xp: Any, arrays: dict[str, Any]) -> Any:
    return eval(line, {"np": xp, "numpy": numpy, **arrays})


def _plain(found: Any) -> Any:
    """Return a result without what only names it: NumPy's named tuples and ours are tuples."""
    if isinstance(found, (list, tuple)):
        return [_plain(f) for f in found]
    return found


@pytest.mark.parametrize("line", CALLS)
def test_call(line: str) -> None:
    want, refused = outcome(lambda xp: _run(line, xp, {k: x.copy() for k, x in ARRAYS.items()}), numpy, ())
    for small in (16384, 0):
        with gpuxp.configure(small=small):
            got, failed = outcome(lambda xp: _run(line, xp, {k: to_gpuxp(x) for k, x in ARRAYS.items()}), gpuxp, ())
        classes = [None if e is None else public_class(e) for e in (refused, failed)]
        assert classes[0] is classes[1], f"small={small}: NumPy raised {refused!r}, gpuxp raised {failed!r}"
        problem = compare(_plain(want), _plain(got), ulp=4, atol=1e-13)
        assert not problem, f"small={small}: {problem}"


def _called(prefix: str) -> set[str]:
    text = "\n".join(CALLS)
    return set(re.findall(rf"\b{re.escape(prefix)}\.(\w+)", text))


def test_every_function_is_called() -> None:
    members = {n: namespace.member(n) for n in namespace.names()}
    functions = {n for n, f in members.items() if callable(f) and not isinstance(f, type) and n not in PUBLIC}
    assert functions - APART - _called("np") == set()
    for part in ("linalg", "fft"):
        module = getattr(gpuxp, part)
        names = {n for n in module.__all__ if not isinstance(getattr(module, n), type)}
        assert names - _called(f"np.{part}") == set(), part


def test_every_method_is_called() -> None:
    lines = "\n".join(line for line in CALLS)
    methods = {n for n in dir(gpuxp.ndarray) if not n.startswith("_")}
    elsewhere = {"base", "device", "dump", "dumps", "flags", "partition", "ptp", "setflags", "to_device", "tofile"}
    missing = {n for n in methods - elsewhere if not re.search(rf"\.{n}\b", lines)}
    assert missing == set()
