"""Reading and writing elements: ``x[key]`` and ``x[key] = value``.

Basic keys (integers, slices, None, ...) go to the ghost and give views. A boolean mask that is written with one value
is a selection, and fuses. Other keys need the values of the indices: they run at once, with NumPy's errors.
"""

from __future__ import annotations

import operator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from . import derived, gathering
from .array import (
    VALUE,
    WRITEABLE,
    HostArray,
    adopted,
    contents,
    copy_of,
    fresh,
    held,
    host,
    ndarray,
    root,
    view_of,
    wrap,
)
from .convert import as_operand, asarray, host_call, runtime_for
from .dtypes import BOOL
from .small import write
from .tape import constant
from .threads import PARALLEL, quiet_call
from .ufunc import assign, check_writeable, choose, into, update

if TYPE_CHECKING:
    from .runtime import Runtime  # the engine is loaded with the first array

BASIC, MASK, ADVANCED = range(3)
_HOST = np.ndarray  # found faster so
_PLAIN = frozenset({int, slice, type(None), type(Ellipsis)})


def _plain(part: Any) -> tuple[Any, int]:
    """Return one part of a key with 0-d integer arrays as integers, and what kind of part it is."""
    kind = type(part)
    if kind in _PLAIN:
        return part, BASIC
    if kind is ndarray:
        if part.ndim == 0 and part.dtype.kind in "iu":
            return int(part), BASIC
        return part, ADVANCED
    if isinstance(part, np.integer):
        return int(part), BASIC
    if isinstance(part, (np.ndarray, list, tuple, bool, np.bool_, range)):
        found = np.asarray(_host_list(part))
        if found.ndim == 0 and found.dtype.kind in "iu":
            return int(found), BASIC
        if not found.size and found.dtype == np.float64 and not isinstance(part, np.ndarray):
            found = found.astype(np.intp)  # an empty list selects nothing
        return found, ADVANCED
    if hasattr(part, "__index__"):
        return part.__index__(), BASIC
    raise IndexError(
        "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or boolean arrays are valid "
        f"indices, not {kind.__name__}"
    )


def _host_list(part: Any) -> Any:
    return [host(p) if type(p) is ndarray else p for p in part] if isinstance(part, (list, tuple)) else part


def _are_plain(key: tuple[Any, ...]) -> bool:
    for part in key:  # noqa: SIM110 - `all` takes twice as long
        if type(part) not in _PLAIN:
            return False
    return True


def classify(key: Any) -> tuple[Any, int]:
    """Return the key in NumPy's terms, and whether it is basic, one boolean mask, or advanced."""
    if type(key) in _PLAIN:
        return key, BASIC
    if type(key) is not tuple:
        part, kind = _plain(key)
        if kind == ADVANCED and part.dtype == BOOL:
            return part, MASK
        return part, kind
    if _are_plain(key):
        return key, BASIC
    parts = [_plain(p) for p in key]
    kind = max((k for _, k in parts), default=BASIC)
    return tuple(p for p, _ in parts), kind


def _index(self: ndarray, key: ndarray) -> HostArray | None:
    """Return the contents of one index array, or mask, for an array that one thread reads or writes; or None."""
    if key._state == VALUE or key._runtime is not self._runtime or self.size >= PARALLEL:
        return None
    found = contents(key)
    if found is None or not found.ndim:
        return None
    return found.copy() if root(key) is root(self) else found


def getitem(self: ndarray, key: Any) -> ndarray:
    """Return ``self[key]``."""
    own, owner = self._own, self._owner
    basic = type(key) in _PLAIN or (type(key) is tuple and _are_plain(key))
    if basic and type(own) is _HOST and (owner is None or owner._own is not None):
        found = own[key]
        return view_of(self, found) if type(found) is _HOST else adopted(self._runtime, found)
    index = _index(self, key) if type(key) is ndarray else None
    if index is not None:
        there = contents(self)
        if there is not None:
            self._runtime.counters["library_calls"] += 1
            return wrap(self._runtime, quiet_call(operator.getitem, there, index))
    plain, kind = classify(key)
    if kind == BASIC:
        return _basic(self, plain)
    full = plain if type(plain) is tuple else (plain,)
    runtime = runtime_for("__getitem__", (self, *full))
    if not runtime.host_visible:
        return gathering.read(gathering.Selection(self, full))
    runtime.counters["library_calls"] += 1
    memory, keys = host(self), tuple([host(k) if type(k) is ndarray else k for k in full])
    masked = _masked(runtime, memory, keys[0]) if kind == MASK else None
    if masked is not None:
        selected = masked.select(keys[0])
        result = fresh(runtime, (selected.size,), memory.dtype)
        selected.read(memory, host(result))
        return result
    return wrap(runtime, quiet_call(operator.getitem, memory, keys))


def _masked(runtime: Runtime, memory: HostArray, mask: HostArray) -> Any:
    """Return what reads and writes the elements under a mask on several threads, if there is such a thing for these."""
    if runtime.direct is None or memory.size < PARALLEL or mask.shape != memory.shape:
        return None
    if not (memory.flags.c_contiguous and mask.flags.c_contiguous):
        return None
    return runtime.direct.masked(memory.itemsize).wanted(memory.size)


def _basic(self: ndarray, key: Any) -> ndarray:
    there = contents(self)
    found = self._ghost[key] if there is None else there[key]
    if type(found) is np.ndarray:
        return view_of(self, found)
    # every dimension is indexed by an integer: NumPy gives the value, not a view
    if there is not None:
        return adopted(self._runtime, found)
    full = key if type(key) is tuple else (key,)
    picked = copy_of(view_of(self, self._ghost[(*(k for k in full if k is not Ellipsis), Ellipsis)], VALUE))
    picked._state = VALUE
    return picked


def setitem(self: ndarray, key: Any, value: Any) -> None:
    """Do ``self[key] = value``."""
    if self._state == WRITEABLE:
        basic = type(key) in _PLAIN or (type(key) is tuple and _are_plain(key))
        picked = _index(self, key) if type(key) is ndarray else None
        if (basic or picked is not None) and write(self, key if basic else picked, value):
            return
    runtime = self._runtime
    check_writeable(self, "__setitem__")
    plain, kind = classify(key)
    if kind == BASIC:
        if write(self, plain, value):
            return
        geometry = self._ghost[plain]
        if type(geometry) is not np.ndarray:
            full = plain if type(plain) is tuple else (plain,)
            geometry = self._ghost[(*(k for k in full if k is not Ellipsis), Ellipsis)]
        target = view_of(self, geometry, WRITEABLE)
        _store(target, _stored(value, target, runtime))
        return
    full = plain if type(plain) is tuple else (plain,)
    runtime_for("__setitem__", (self, value, *full))
    many = type(value) is ndarray and value.ndim == 1 and self.size >= PARALLEL
    if kind == MASK and not many and _mask_fits(self, plain):
        there = contents(plain) if type(plain) is ndarray else plain
        if there is not None and write(self, there, value):
            return
        operand = _stored(value, self, runtime)
        if operand.ndim == 0:
            mask = plain if type(plain) is ndarray else asarray(plain, device=runtime.name)
            mask = mask.reshape(mask.shape + (1,) * (self.ndim - mask.ndim))
            if operand.dtype != self.dtype:
                operand = copy_of(operand, self.dtype)
            choose(runtime, self._view, mask, operand._view, self._view)
            return
        value = operand
    if runtime.host_visible:
        update(self, runtime, "put", partial(_write, runtime), full, _host_value(value))
    else:
        if kind == MASK and plain.ndim == self.ndim:
            value = _stored(value, self, runtime)
            if value.ndim > 1:
                raise TypeError(
                    "NumPy boolean array indexing assignment requires a 0 or 1-dimensional input,"
                    f" input has {value.ndim} dimensions"
                )
        selection = gathering.Selection(self, full)  # an error in the key comes before one in the value
        gathering.write(selection, _stored(value, self, runtime))


def _mask_fits(self: ndarray, mask: Any) -> bool:
    return bool(mask.ndim > 0 and mask.shape == self.shape[: mask.ndim])


def _host_value(value: Any) -> Any:
    return host(value) if type(value) is ndarray else value


def _write(runtime: Runtime, target: HostArray, key: tuple[Any, ...], value: Any) -> None:
    packed = isinstance(value, np.ndarray) and value.dtype == target.dtype and value.flags.c_contiguous
    if packed and len(key) == 1 and getattr(key[0], "dtype", None) == BOOL:
        masked = _masked(runtime, target, key[0])
        selected = None if masked is None else masked.select(key[0])
        if selected is not None and value.shape == (selected.size,):
            selected.write(target, value)
            return
    target[key] = value


def _operand(value: Any, target: ndarray, runtime: Runtime) -> ndarray:
    """Return what is to be stored as an array; Python scalars take the target's dtype, as in NumPy."""
    if type(value) is ndarray:
        runtime_for("__setitem__", (target, value))
        return value
    if type(value) in (int, float, bool, complex):
        return held(runtime, constant(value, target.dtype))  # with NumPy's error for a value out of range
    return as_operand(value, runtime)


def _stored(value: Any, target: ndarray, runtime: Runtime) -> ndarray:
    """Return what is assigned as an array; sequences of Python scalars take the target's dtype as well."""
    if type(value) in (list, tuple):
        return asarray(value, target.dtype, device=runtime.name)
    return _operand(value, target, runtime)


def _safely(values: Any, target: ndarray, runtime: Runtime) -> ndarray:
    """Return what is assigned by `place` and `putmask`: arrays of a dtype that the target's holds."""
    found = _stored(values, target, runtime)
    scalar = found._state == VALUE if type(values) is ndarray else not isinstance(values, np.ndarray)
    if not scalar and not np.can_cast(found.dtype, target.dtype):
        raise TypeError(
            f"Cannot cast array data from {found.dtype!r} to {target.dtype!r} according to the rule 'safe'"
        )
    return found


def _store(target: ndarray, value: ndarray) -> None:
    if target.size or value.shape != target.shape:
        assign(target, value)


def take(a: Any, indices: Any, axis: int | None = None, out: Any = None, mode: str = "raise") -> ndarray:
    """Return the elements at `indices` along `axis`; an index out of bounds raises `IndexError`."""
    runtime = runtime_for("take", (a, indices))
    x = as_operand(a, runtime)
    found: ndarray
    if runtime.host_visible:
        found = host_call("take", np.take, x, indices, axis, None, mode)
    else:
        found = derived.take(x, indices, axis, mode)
    return into(found, out, "take")


def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> ndarray:
    """Return the elements picked by an index array along one axis."""
    x, index = _together("take_along_axis", arr, indices)
    if not x._runtime.host_visible:
        return derived.take_along(x, index, axis)
    found: ndarray = host_call("take_along_axis", np.take_along_axis, x, index, axis)
    return found


def _together(function: str, *values: Any) -> list[ndarray]:
    runtime = runtime_for(function, values)
    return [as_operand(v, runtime) for v in values]


def put(a: ndarray, ind: Any, v: Any, mode: str = "raise") -> None:
    """Set elements of the flattened array, in place."""
    check_writeable(a, "put")
    runtime = runtime_for("put", (a, ind, v))
    if runtime.host_visible:
        update(a, runtime, "put", np.put, ind, v, mode)
    else:
        derived.put(a, ind, _stored(v, a, runtime), mode)


def put_along_axis(arr: ndarray, indices: Any, values: Any, axis: int | None) -> None:
    """Set the elements picked by an index array along one axis, in place."""
    check_writeable(arr, "put_along_axis")
    runtime = runtime_for("put_along_axis", (arr, indices, values))
    if runtime.host_visible:
        update(arr, runtime, "put_along_axis", np.put_along_axis, indices, values, axis)
    else:
        derived.put_along(arr, indices, _stored(values, arr, runtime), axis)


def place(arr: ndarray, mask: Any, vals: Any) -> None:
    """Set the elements where `mask` is true, in order, in place."""
    check_writeable(arr, "place")
    runtime = runtime_for("place", (arr, mask, vals))
    if runtime.host_visible:
        update(arr, runtime, "place", np.place, mask, vals)
    else:
        flags = derived.mask_for("place", arr, as_operand(mask, runtime))
        derived.place(arr, flags, _safely(vals, arr, runtime))


def putmask(a: ndarray, mask: Any, values: Any) -> None:
    """Set the elements where `mask` is true to those of `values` at the same place, in place."""
    check_writeable(a, "putmask")
    runtime = runtime_for("putmask", (a, mask, values))
    if runtime.host_visible:
        update(a, runtime, "putmask", np.putmask, mask, values)
    else:
        flags = derived.mask_for("putmask", a, as_operand(mask, runtime))
        derived.putmask(a, flags, _safely(values, a, runtime))


def fill_diagonal(a: ndarray, val: Any, wrap: bool = False) -> None:
    """Set the main diagonal, in place."""
    check_writeable(a, "fill_diagonal")
    runtime = runtime_for("fill_diagonal", (a, val))
    if runtime.host_visible:
        update(a, runtime, "fill_diagonal", np.fill_diagonal, val, wrap)
    else:
        derived.fill_diagonal(a, _stored(val, a, runtime), wrap)


def copyto(dst: ndarray, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    """Copy `src` into `dst`, where `where` is true."""
    check_writeable(dst, "copyto")
    runtime = runtime_for("copyto", (dst, src, where))
    weak = _RANKS.get(type(src))
    value = _operand(src, dst, runtime) if weak is None or weak <= _KIND_RANKS[dst.dtype.kind] else asarray(src)
    fits = value.dtype == dst.dtype or np.can_cast(value.dtype, dst.dtype, casting)
    if not fits:
        raise TypeError(
            f"Cannot cast array data from {value.dtype!r} to {dst.dtype!r} according to the rule {casting!r}"
        )
    if where is True:
        assign(dst, value)
        return
    mask = as_operand(where, runtime)
    if mask.dtype != BOOL:
        raise TypeError(f"copyto: where must be a bool array, not {mask.dtype}")
    same = value if value.dtype == dst.dtype else copy_of(value, dst.dtype)
    choose(runtime, dst._view, mask, same._view, dst._view)


_RANKS: dict[type, int] = {bool: 0, int: 1, float: 2, complex: 3}  # a Python scalar adapts to dtypes from its rank on
_KIND_RANKS = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 3}

ndarray.__getitem__ = getitem  # type: ignore[method-assign]
ndarray.__setitem__ = setitem  # type: ignore[method-assign]
