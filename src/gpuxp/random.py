"""Random numbers: NumPy's generators, so that a seed gives NumPy's own stream on every device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .array import host, ndarray, wrap
from .convert import runtime_for
from .ufunc import check_writeable, update

BitGenerator, MT19937, PCG64, PCG64DXSM = (
    np.random.BitGenerator,
    np.random.MT19937,
    np.random.PCG64,
    np.random.PCG64DXSM,
)
Philox, SFC64, SeedSequence = np.random.Philox, np.random.SFC64, np.random.SeedSequence


def _lower(value: Any) -> Any:
    return host(value) if type(value) is ndarray else value


def _draw(fn: Callable[..., Any], name: str, args: Any, kwargs: Any) -> Any:
    """Call a NumPy method that returns numbers; arrays go to the device of the array arguments."""
    runtime = runtime_for(name, [*args, *kwargs.values()])
    result = fn(*(_lower(a) for a in args), **{k: _lower(v) for k, v in kwargs.items()})
    return wrap(runtime, result) if isinstance(result, np.ndarray) else result


def _shuffle(fn: Callable[..., Any], x: Any, *args: Any) -> None:
    if type(x) is not ndarray:
        fn(x, *args)
        return
    check_writeable(x, "shuffle")
    update(x, x._runtime, "random.shuffle", lambda value: fn(value, *args))


class _Wrapped:
    """Shared by `Generator` and `RandomState`: NumPy's methods, with arrays on a device."""

    _inner: Any

    def shuffle(self, x: Any, *axis: Any) -> None:
        """Shuffle a sequence in place."""
        _shuffle(self._inner.shuffle, x, *axis)

    def __repr__(self) -> str:
        return repr(self._inner)

    def __reduce__(self) -> Any:
        return _restore, (type(self).__name__, self._inner)


class Generator(_Wrapped):
    """A stream of random numbers; made by `default_rng`."""

    def __init__(self, bit_generator: Any) -> None:
        self._inner = (
            bit_generator if isinstance(bit_generator, np.random.Generator) else np.random.Generator(bit_generator)
        )

    @property
    def bit_generator(self) -> Any:
        """The source of the random bits."""
        return self._inner.bit_generator

    def spawn(self, n_children: int) -> list[Generator]:
        """Return independent generators."""
        return [Generator(g) for g in self._inner.spawn(n_children)]


class RandomState(_Wrapped):
    """NumPy's legacy generator, with its exact streams."""

    def __init__(self, seed: Any = None) -> None:
        self._inner = seed if isinstance(seed, np.random.RandomState) else np.random.RandomState(_lower(seed))


def _restore(kind: str, inner: Any) -> Any:
    return Generator(inner) if kind == "Generator" else RandomState(inner)


def _method(name: str, doc: str) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _draw(getattr(self._inner, name), name, args, kwargs)

    method.__name__, method.__doc__ = name, doc
    return method


def _summary(fn: Any) -> str:
    lines = [line.strip() for line in (fn.__doc__ or "").splitlines() if line.strip()]
    return next((line for line in lines if "(" not in line.split(" ")[0]), lines[0] if lines else "Draw samples.")


def _delegate(cls: type, numpy_cls: type) -> None:
    for name in dir(numpy_cls):
        if not name.startswith("_") and not hasattr(cls, name) and callable(getattr(numpy_cls, name)):
            setattr(
                cls, name, _method(name, f"{_summary(getattr(numpy_cls, name))}\n\nAs NumPy's method, on a device.")
            )


_delegate(Generator, np.random.Generator)
_delegate(RandomState, np.random.RandomState)


def default_rng(seed: Any = None) -> Generator:
    """Return a generator; a seed gives the same numbers as `numpy.random.default_rng`.

    Examples
    --------
    >>> import gpuxp as np
    >>> rng = np.random.default_rng(0)
    >>> rng.random(2).shape
    (2,)
    """
    if isinstance(seed, Generator):
        return seed
    return Generator(np.random.default_rng(_lower(seed)))


_state = RandomState(np.random.RandomState())


def _function(name: str) -> Any:
    def function(*args: Any, **kwargs: Any) -> Any:
        return getattr(_state, name)(*args, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{_summary(getattr(np.random.RandomState, name, None))}\n\nThe same as `numpy.random.{name}`."
    return function


FUNCTIONS = tuple(name for name in dir(np.random.RandomState) if not name.startswith("_") and hasattr(np.random, name))
globals().update({name: _function(name) for name in FUNCTIONS})
sample = ranf = _function("random_sample")
random = _function("random_sample")

__all__ = [  # noqa: PLE0604 - the legacy functions are made from NumPy's list
    "BitGenerator", "Generator", "MT19937", "PCG64", "PCG64DXSM", "Philox", "RandomState", "SFC64", "SeedSequence",
    "default_rng", "random", "ranf", "sample", *FUNCTIONS,
]  # fmt: skip
