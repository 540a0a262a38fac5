"""Bad input gets NumPy's class of error, and a message that says function, value and rule."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy
import pytest

import gpuxp
from gpuxp.testing import public_class

# What a program does wrong, with NumPy or with gpuxp; a few words that gpuxp's message holds
WRONG: dict[str, tuple[Callable[[Any], Any], str]] = {
    "shapes": (lambda np: np.ones(3) + np.ones(4), "could not be broadcast together with shapes"),
    "out shape": (lambda np: np.add(np.ones((2, 3)), 1, out=np.ones(3)), "non-broadcastable output operand"),
    "in-place shape": (lambda np: np.ones(3).__iadd__(np.ones((2, 3))), "non-broadcastable output operand"),
    "in-place cast": (lambda np: np.arange(3).__iadd__(1.5), "Cannot cast ufunc 'add' output"),
    "assign shape": (lambda np: np.zeros(3).__setitem__(slice(None), np.ones(4)), "could not broadcast input array"),
    "index": (lambda np: np.ones(3)[5], "index 5 is out of bounds"),
    "index array": (lambda np: np.ones(3)[np.array([0, 9])], "index 9 is out of bounds"),
    "too many indices": (lambda np: np.ones(3)[0, 0], "too many indices"),
    "index by float": (lambda np: np.ones(3)[1.0], "only integers"),
    "mask shape": (lambda np: np.ones(3)[np.array([True, False])], "boolean index did not match"),
    "mask and values": (
        lambda np: np.ones(3).__setitem__(np.ones(3, dtype=bool), np.ones((1, 3))),
        "requires a 0 or 1-dimensional input",
    ),
    "index and values": (
        lambda np: np.ones(3).__setitem__(np.array([0, 1]), np.ones((2, 2))),
        "could not be broadcast to indexing result",
    ),
    "no index and values": (
        lambda np: np.ones(3).__setitem__(np.zeros(0, dtype=int), np.ones((0, 1))),
        "could not be broadcast to indexing result",
    ),
    "write at index": (lambda np: np.ones(3).__setitem__(7, 1), "index 7 is out of bounds"),
    "axis": (lambda np: np.ones((2, 2)).sum(axis=2), "axis 2 is out of bounds"),
    "axis type": (lambda np: np.ones(3).sum(axis="x"), "cannot be interpreted as an integer"),
    "axis twice": (lambda np: np.ones((2, 2)).sum(axis=(0, 0)), "repeated axis"),
    "empty maximum": (lambda np: np.zeros(0).max(), "zero-size array to reduction operation maximum"),
    "reshape": (lambda np: np.arange(6).reshape(4, 2), "cannot reshape array of size 6 into shape"),
    "transpose": (lambda np: np.ones((2, 3)).transpose(0, 0), "repeated axis"),
    "stack": (lambda np: np.stack([np.ones(2), np.ones(3)]), "same shape"),
    "concatenate": (lambda np: np.concatenate([np.ones((2, 3)), np.ones((2, 4)).T]), "must match exactly"),
    "concatenate nothing": (lambda np: np.concatenate([]), "need at least one array"),
    "matmul": (lambda np: np.ones((2, 3)) @ np.ones((2, 3)), "mismatch"),
    "singular": (lambda np: np.linalg.inv(np.zeros((2, 2))), "Singular matrix"),
    "negative size": (lambda np: np.zeros(-1), "negative dimensions"),
    "huge size": (lambda np: np.empty((2**62, 8)), "too big"),
    "impossible size": (lambda np: np.empty(2**52), "Unable to allocate"),
    "ragged": (lambda np: np.array([[1, 2], [3]]), "inhomogeneous"),
    "number too large": (lambda np: np.array([1], dtype=np.uint8) + 300, "out of bounds for uint8"),
    "negative power": (lambda np: np.arange(3) ** -1, "Integers to negative integer powers"),
    "bits of floats": (lambda np: np.ones(2) & 1, "bitwise_and"),
    "read-only": (lambda np: np.broadcast_to(np.ones(1), (3,)).__setitem__(0, 1), "read-only"),
    "truth": (lambda np: bool(np.arange(3)), "truth value"),
    "float of many": (lambda np: float(np.ones(3)), "only 0-dimensional arrays"),
    "len of one": (lambda np: len(np.ones(())), "unsized"),
    "iterate one": (lambda np: iter(np.ones(())), "0-d array"),
    "hash": (lambda np: hash(np.ones(3)), "unhashable"),
    "arange step": (lambda np: np.arange(0, 1, 0), ""),
    "arguments": (lambda np: np.add(1), "positional argument"),
    "where of one": (lambda np: np.where(np.ones(2) > 0, 1), "neither"),
    "order": (lambda np: np.zeros(3, order="Z"), "order"),
    "searching side": (lambda np: np.searchsorted(np.arange(3), 1, side="middle"), "left"),
    "take": (lambda np: np.take(np.arange(3), [3]), "out of bounds"),
    "unravel": (lambda np: np.unravel_index(10, (2, 2)), "out of bounds"),
}


@pytest.mark.parametrize("small", [0, 16384])
@pytest.mark.parametrize("name", WRONG)
def test_class_and_message(name: str, small: int, device: str) -> None:
    program, words = WRONG[name]
    with pytest.raises(Exception) as expected:  # noqa: PT011 - whatever NumPy raises
        program(numpy)
    settings = gpuxp.configure(small=small, fallback="allow")
    with settings, gpuxp.device(device), pytest.raises(Exception) as found:  # noqa: PT011
        getattr(program(gpuxp), "tolist", int)()  # what the data show is known when they are read
    assert public_class(found.value) is public_class(expected.value), repr(found.value)
    assert words in str(found.value)


@pytest.mark.parametrize(
    "value", [["a"], [None], numpy.array(["2020-01-01"], "M8[D]"), [object()], numpy.zeros(2, "V4")]
)
def test_unsupported_dtypes_say_what_to_do(value: Any) -> None:
    with pytest.raises(TypeError, match=r"is not supported; gpuxp arrays hold .* Convert the data first"):
        gpuxp.asarray(value)


@pytest.mark.parametrize("dtype", ["O", "U3", "M8[s]", "longdouble", "i4,f8"])
def test_unsupported_dtype_arguments(dtype: str) -> None:
    with pytest.raises(TypeError, match="is not supported"):
        gpuxp.zeros(3, dtype=dtype)


def test_unknown_device_lists_the_known_ones() -> None:
    for use in (lambda: gpuxp.zeros(3, device="cuda:7"), lambda: gpuxp.ones(2).to_device("nonsense")):
        with pytest.raises(gpuxp.UnknownDeviceError, match="cpu"):
            use()
    with pytest.raises(TypeError, match="device must be a string"):
        gpuxp.zeros(3, device=7)


def test_devices_do_not_mix_silently() -> None:
    a, b = gpuxp.ones(3), gpuxp.ones(3, device="reference")
    for use in (lambda: a + b, lambda: gpuxp.concatenate([a, b]), lambda: a.__setitem__(0, b[0])):
        with pytest.raises(gpuxp.MixedDeviceError, match=r"cpu, reference.*to_device"):
            use()
    assert (a + b.to_device("cpu")).tolist() == [2, 2, 2]


def test_settings_are_checked() -> None:
    with (
        pytest.raises(ValueError, match="fallback='maybe' is not valid: expected one of allow, warn, error"),
        gpuxp.configure(fallback="maybe"),
    ):
        pass
    with pytest.raises(TypeError, match="unknown setting 'colour'"), gpuxp.configure(colour=1):
        pass


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GPUXP_TILE", "many"), ("GPUXP_TILE", "0"), ("GPUXP_NUM_THREADS", "-1"), ("GPUXP_FALLBACK", "perhaps"),
        ("GPUXP_FUSION", "2"), ("GPUXP_DEVICE", "toaster"),
    ],
)  # fmt: skip
def test_bad_variables_are_named(variable: str, value: str) -> None:
    env = {**os.environ, variable: value}
    code = "import gpuxp; gpuxp.zeros(3)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert f"{variable}={value!r}" in last


def test_the_class_is_not_called() -> None:
    with pytest.raises(TypeError, match="make arrays with asarray"):
        gpuxp.ndarray((2, 2))


@pytest.mark.parametrize("small", [0, 5, 1000])
def test_a_wrong_dtype_is_refused_before_a_wrong_shape(small: int) -> None:
    with gpuxp.configure(small=small):
        flags = gpuxp.asarray([True] * 4)
        with pytest.raises(TypeError, match="same_kind"):
            flags *= gpuxp.asarray([1, 2], dtype="uint8")
        with pytest.raises(ValueError, match="broadcast"):
            gpuxp.ones(4) + gpuxp.ones(2)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_powers_of_integers_need_no_host(device: str, dtype: str) -> None:
    """They wrap around as NumPy's do; a negative exponent is refused, and nothing else is lost."""
    rng = numpy.random.default_rng(0)
    a = rng.integers(-5 if dtype[0] == "i" else 0, 9, 500).astype(dtype)
    b = rng.integers(0, 12, 500).astype(dtype)
    x, y = (gpuxp.asarray(v, device=device) for v in (a, b))
    cases = (lambda p, q: p**q, lambda p, q: p**3, lambda p, q: p[::2] ** q[::-2], lambda p, q: (p + 1) ** (q % 3))
    with gpuxp.configure(fallback="error"):
        for case in cases:
            found, wanted = numpy.asarray(case(x, y)), case(a, b)
            assert found.dtype == wanted.dtype
            assert numpy.array_equal(found, wanted)
        if dtype[0] == "i":
            kept = x + y
            with pytest.raises(ValueError, match="Integers to negative integer powers"):
                numpy.asarray(x ** gpuxp.where(y == 3, -1, y).astype(dtype))
            assert numpy.array_equal(numpy.asarray(kept), a + b)
        x **= y
        assert numpy.array_equal(numpy.asarray(x), a**b)


@pytest.mark.parametrize("values", [(0, 0), (3, 0), (1, 1), (2, 1, 0)])
def test_values_for_nothing(values: tuple[int, ...], device: str) -> None:
    """NumPy takes these where nothing is written, though it would not broadcast them."""
    for np, where in ((numpy, {}), (gpuxp, {"device": device})):
        x = np.ones(3, **where)
        x[np.zeros(0, dtype=np.int64, **where)] = np.zeros(values, **where)
        assert x.tolist() == [1, 1, 1]
