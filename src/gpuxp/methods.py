"""The methods and attributes of the array, each a function of the namespace."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from . import derived, elementwise, exports, gathering, hostnames, indexing, manipulation, reductions, searching
from .array import VALUE, WRITEABLE, copy_of, host, host_operand, ndarray, root, view_of
from .convert import as_operand, asarray, by_host, open_call, runtime_for
from .devices import runtime_of
from .dtypes import check
from .errors import UnsupportedDtypeError
from .manipulation import matrix_transpose, reshape
from .ufunc import UFUNCS, check_writeable, update


def _reshape(self: ndarray, *shape: Any, order: Any = "C", copy: bool | None = None) -> ndarray:
    return reshape(self, shape[0] if len(shape) == 1 else shape, order, copy=copy)


def _transpose(self: ndarray, *axes: Any) -> ndarray:
    return manipulation.transpose(self, (axes[0] if len(axes) == 1 else axes) if axes else None)


def _copy(self: ndarray, order: str = "C") -> ndarray:
    result = copy_of(self, order=order)
    result._state = WRITEABLE
    return result


def copy(a: Any, order: str = "K", subok: bool = False) -> ndarray:
    """Return a copy of an array."""
    return _copy(as_operand(a, runtime_for("copy", (a,))), order)


def isfortran(a: ndarray) -> bool:
    """Return whether the array is Fortran-contiguous and not C-contiguous."""
    return bool(a.flags.fnc)


def require(a: Any, dtype: Any = None, requirements: Any = None) -> ndarray:
    """Return an array with the layout and flags that are asked for (``C``, ``F``, ``W``, ``O``, ``A``)."""
    wanted = {str(r).upper()[0] for r in requirements or ()}
    found = asarray(a, dtype, "F" if "F" in wanted else "C" if "C" in wanted else None)
    needs_copy = ("W" in wanted and not found.flags.writeable) or ("O" in wanted and found.base is not None)
    return _copy(found, "K") if needs_copy else found


def _setflags(self: ndarray, write: Any = None, align: Any = None, uic: Any = None) -> None:
    if write is not None:
        self.flags.writeable = bool(write)


def _flatten(self: ndarray, order: Any = "C") -> ndarray:
    flat = manipulation.ravel(self, order)
    return copy_of(flat) if root(flat) is root(self) else flat


def _fill(self: ndarray, value: Any) -> None:
    self[...] = value


def _view(self: ndarray, dtype: Any = None, type: Any = None) -> ndarray:
    if dtype is None:
        return view_of(self, self._ghost.view())
    return view_of(self, self._ghost.view(check(dtype, "view")))


def _to_device(self: ndarray, device: Any, /, *, stream: Any = None) -> ndarray:
    if stream is not None:
        raise ValueError("to_device: stream must be None")
    return asarray(self, device=runtime_of(device).name)


def _partition(self: ndarray, kth: Any, axis: int = -1, kind: Any = "introselect") -> None:
    check_writeable(self, "partition")
    update(self, self._runtime, "partition", lambda v: v.partition(kth, axis, kind))


def _round(self: ndarray, ndigits: int | None = None) -> Any:
    return elementwise.round(self, ndigits or 0) if ndigits is not None or self.ndim else round(float(self))


def _set_flat(self: ndarray, value: Any) -> None:
    runtime = runtime_for("flat", (self, value))
    if runtime.host_visible:
        update(self, runtime, "flat", _assign_flat, value)
    else:
        derived.put(self, gathering.count(runtime, self.size), as_operand(value, runtime), "clip")  # needs no test


def _assign_flat(target: Any, value: Any) -> None:
    target.flat = value


class Flat:
    """``x.flat``: the elements in C order, to iterate over, read and write."""

    def __init__(self, array: ndarray) -> None:
        self.base = self._array = array
        self.index = 0
        self._rest: Any = None

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        if self._rest is None:
            self._rest = iter(manipulation.ravel(self._array))
        found = next(self._rest)
        self.index += 1
        return found

    @property
    def coords(self) -> tuple[int, ...]:
        """Where the next element is."""
        return tuple(map(int, np.unravel_index(self.index, self._array.shape)))

    def copy(self) -> ndarray:
        """Return the elements in a new array."""
        return _flatten(self._array)

    def __len__(self) -> int:
        return self._array.size

    def __getitem__(self, key: Any) -> Any:
        return manipulation.ravel(self._array)[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        check_writeable(self._array, "flat")
        runtime = runtime_for("flat", (self._array, value))

        if not runtime.host_visible:
            places = gathering.count(runtime, self._array.size)[key]
            derived.put(self._array, places, as_operand(value, runtime), "clip")  # these need no test
            return

        where = host(key) if type(key) is ndarray else key

        def write(target: Any, new: Any) -> None:
            target.flat[where] = new

        update(self._array, runtime, "flat", write, value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(host(self._array).ravel(), dtype)


def _matmul(self: ndarray, other: Any) -> Any:
    if not isinstance(other, (ndarray, np.ndarray, list, tuple)):
        return NotImplemented
    return elementwise.matmul(self, other)


def _rmatmul(self: ndarray, other: Any) -> Any:
    return elementwise.matmul(other, self) if isinstance(other, (np.ndarray, list, tuple)) else NotImplemented


def _imatmul(self: ndarray, other: Any) -> ndarray:
    return elementwise.matmul(self, other, out=self)


def _host(name: str) -> Any:
    """Return a function of the long tail, which is made when it is first asked for."""
    return getattr(hostnames, name)


def _dot(self: ndarray, b: Any, out: Any = None) -> ndarray:
    if elementwise.is_product(self, b):
        return elementwise.matmul(self, b, out)
    from .linalg import dot  # a chapter that is loaded when it is asked for

    return dot(self, b, out)


def _take(self: ndarray, indices: Any, axis: int | None = None, out: Any = None, mode: str = "raise") -> ndarray:
    return indexing.take(self, indices, axis, out, mode)


def _array_ufunc(self: ndarray, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """Take NumPy's ufuncs when they are called with our arrays."""
    ours: Any = UFUNCS.get(ufunc.__name__) or (elementwise.matmul if ufunc.__name__ == "matmul" else None)
    if ours is None:
        ours = {"divmod": elementwise.divmod, "modf": elementwise.modf, "frexp": elementwise.frexp}.get(ufunc.__name__)
    out = kwargs.get("out")
    if out is not None and not all(type(o) is ndarray for o in out):
        return NotImplemented
    if ours is None:  # another library's
        writes = out is not None or method == "at"
        return NotImplemented if writes else open_call(ufunc.__name__, getattr(ufunc, method), *inputs, **kwargs)
    runtime = runtime_for(ufunc.__name__, inputs)
    given = [as_operand(i, runtime) if isinstance(i, (np.ndarray, np.generic)) else i for i in inputs]
    return getattr(ours, method)(*given, **kwargs)


def _array_function(self: ndarray, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """Take NumPy's functions when they are called with our arrays."""
    space: Any = self.__array_namespace__()
    *path, name = f"{func.__module__}.{func.__name__}".removeprefix("numpy.").split(".")
    for part in path:
        space = getattr(space, part, space)
    ours = getattr(space, name, None)
    if ours is not None and ours is not func:
        with contextlib.suppress(UnsupportedDtypeError):  # of another operand, such as an array of objects
            return ours(*args, **kwargs)
    return by_host(name, func, *args, **kwargs)


def _of_values(name: str) -> property:
    """Return an attribute that NumPy's scalars have and its arrays do not."""

    def read(self: ndarray) -> Any:
        if self._state != VALUE:
            raise AttributeError(f"'ndarray' object has no attribute {name!r}", name=name, obj=self)
        return getattr(host_operand(self), name)

    return property(read, doc=f"Of a value, what NumPy's scalar has as `{name}`.")


_FUNCTIONS = {
    reductions: "sum prod max min any all mean var std argmax argmin ptp cumsum cumprod",
    manipulation: "swapaxes squeeze diagonal trace ravel repeat",
    searching: "argsort nonzero searchsorted",
    indexing: "put",
    elementwise: "clip round",
}

_OTHERS: dict[str, Any] = {
    "reshape": _reshape, "transpose": _transpose, "copy": _copy, "flatten": _flatten, "fill": _fill, "view": _view,
    "astype": elementwise.astype_method, "to_device": _to_device,
    "setflags": _setflags, "partition": _partition,
    "dumps": lambda self: host(self).dumps(), "sort": searching.sort_in_place, "take": _take,
    "__round__": _round, "__matmul__": _matmul, "__rmatmul__": _rmatmul, "__imatmul__": _imatmul,
    "__array__": exports.array, "__dlpack__": exports.dlpack_capsule, "__dlpack_device__": exports.dlpack_device,
    "__array_ufunc__": _array_ufunc, "__array_function__": _array_function,
    "dot": _dot,
    "argpartition": lambda self, kth, axis=-1, kind="introselect": _host("argpartition")(self, kth, axis, kind),
    "compress": lambda self, condition, axis=None: _host("compress")(condition, self, axis),
    "choose": lambda self, choices, mode="raise": _host("choose")(self, choices, mode=mode),
    "conjugate": lambda self: UFUNCS["conjugate"](self),  # noqa: PLW0108 - a ufunc does not bind as a method
    "tofile": lambda self, file, sep="", format="%s": host(self).tofile(file, sep, format),
    "dump": lambda self, file: host(self).dump(file),
}  # fmt: skip
_OTHERS["conj"] = _OTHERS["conjugate"]

_PROPERTIES: dict[str, Any] = {
    "T": property(manipulation.transpose, doc="The array with its axes reversed."),
    "mT": property(matrix_transpose, doc="The array with its last two axes exchanged."),
    "real": property(elementwise.real, elementwise.set_real, doc="The real part."),
    "imag": property(elementwise.imag, elementwise.set_imag, doc="The imaginary part."),
    "flat": property(Flat, _set_flat, doc="The elements in C order."),
} | {name: _of_values(name) for name in "as_integer_ratio bit_count denominator hex is_integer numerator".split()}


def _attach() -> None:
    for module, names in _FUNCTIONS.items():
        for name in names.split():
            setattr(ndarray, name, getattr(module, name))
    for name, member in {**_OTHERS, **_PROPERTIES}.items():
        setattr(ndarray, name, member)


_attach()
