"""From anything to arrays and back: `asarray`, operands, and calls of host libraries."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtypes, fallback
from .array import (
    READ_ONLY,
    VALUE,
    WRITEABLE,
    HostArray,
    contents,
    copy_of,
    fresh,
    held,
    host,
    host_operand,
    make,
    ndarray,
    wrap,
)
from .config import config
from .devices import open_runtimes, runtime_of
from .dtypes import NUMPY, DType
from .errors import UnsupportedDtypeError, mixed_devices, unsupported_dtype
from .geometry import Shape, c_strides
from .tape import LIBRARY, Node
from .threads import leave_cores, quiet

if TYPE_CHECKING:
    from .runtime import Runtime  # the engine is loaded with the first array

_LARGE = 1 << 16  # bytes
_SILENT = contextlib.nullcontext()  # what is not converted does not overflow


def asarray(
    obj: Any,
    dtype: Any = None,
    order: str | None = None,
    *,
    device: object = None,
    copy: bool | None = None,
    like: Any = None,
) -> ndarray:
    """Convert to an array.

    A gpuxp array of the right dtype and device is returned as it is. NumPy arrays are copied, because they can change
    behind gpuxp's back; ``copy=False`` shares their memory on ``"cpu"``.

    Parameters
    ----------
    obj
        Array, scalar, nested sequence, or anything that offers ``__array__`` or the buffer protocol.
    dtype, order, device, copy
        As in `numpy.asarray`; `device` is a device name.
    like
        Ignored; NumPy's keyword.

    Raises
    ------
    TypeError
        For object, string, datetime and extended-precision dtypes.
    ValueError
        For ragged sequences, or ``copy=False`` where a copy is needed.

    Examples
    --------
    >>> import gpuxp as np
    >>> np.asarray([1, 2, 3]).dtype
    dtype('int64')
    """
    if type(obj) is ndarray:
        return _from_array(obj, dtype, order, device, copy)
    runtime = runtime_of(device)
    wanted = None if dtype is None else dtypes.check(dtype)
    if copy is False:
        return _share(obj, wanted, runtime)
    there = _taken(obj, runtime)
    if there is not None:
        return there if wanted in (None, there.dtype) else copy_of(there, wanted)
    same = type(obj) is np.ndarray and wanted in (None, obj.dtype) and order in (None, "K", "C")
    if same and _is_large(obj, runtime):
        value = np.ndarray(obj.shape, obj.dtype, runtime.backend.alloc(obj.nbytes))
        value[...] = obj
        return held(runtime, value)
    try:
        plain = _plain(obj)
        with _SILENT if wanted is None else np.errstate(all="ignore"):
            value = NUMPY.array(plain, dtype=wanted, order=order or "K", copy=True)
    except ValueError as error:
        if "inhomogeneous" in str(error):
            raise ValueError(f"asarray: nested sequences must have equal lengths: {error}") from None
        raise
    if value.dtype not in dtypes.SUPPORTED:
        value = value.astype(dtypes.check(value.dtype))
    if not value.flags.owndata:
        value = value.copy(order="K")
    return held(runtime, value)


def _is_large(value: HostArray, runtime: Runtime) -> bool:
    """Whether memory of the device's, which begins in a cache line as NumPy's does not, is worth having for a copy."""
    packed = value.flags.c_contiguous and value.dtype in dtypes.SUPPORTED
    return packed and value.nbytes >= _LARGE and runtime.host_visible


_NESTED = frozenset({ndarray, list, tuple})


def _plain(obj: Any) -> Any:
    """Replace the arrays in a nested sequence by host arrays, so that NumPy need not ask each for its items."""
    if type(obj) is ndarray:
        return host_operand(obj)
    if isinstance(obj, (list, tuple)) and not _NESTED.isdisjoint(map(type, obj)):
        return [_plain(o) for o in obj]
    return obj


def _share(obj: Any, dtype: DType | None, runtime: Runtime) -> ndarray:
    value = np.asarray(obj, dtype=dtype, copy=False)
    if value.dtype not in dtypes.SUPPORTED:
        raise unsupported_dtype(value.dtype)
    if not runtime.host_visible:
        raise ValueError(f"asarray: memory of the host cannot be used on {runtime.name} without a copy")
    view = runtime.adopt(value)
    view.buffer.foreign = True
    return make(view, state=WRITEABLE if value.flags.writeable else READ_ONLY)


def _from_array(obj: ndarray, dtype: Any, order: str | None, device: object, copy: bool | None) -> ndarray:
    source = obj._runtime
    runtime = source if device is None else runtime_of(device)
    target = obj.dtype if dtype is None else dtypes.check(dtype)
    same_layout = order in (None, "K", "A") or bool(obj.flags["F" if order == "F" else "C"])
    if runtime is source and target == obj.dtype and same_layout and not copy:
        return obj
    if copy is False:
        raise ValueError("Unable to avoid copy while creating an array as requested.")
    if runtime is not source:
        moved = _moved(obj, runtime)
        return moved if target == moved.dtype else copy_of(moved, target)
    return copy_of(obj, target, order or "K")


def _moved(obj: ndarray, runtime: Runtime) -> ndarray:
    """Return a copy on another device: made by that device if it can, else through the host, by pinned memory."""
    source, caps = obj._runtime, runtime.backend.caps
    if source.backend.caps.dlpack_device[0] in caps.takes:
        packed = obj if obj.flags.forc else copy_of(obj)
        return make(runtime.take(packed, packed.shape, packed.dtype, packed.strides))
    if runtime.host_visible or source.host_visible:
        return held(runtime, np.array(host(obj), order="K"))
    return held(runtime, source.host(obj._view, caps.staging))


def _taken(obj: Any, runtime: Runtime) -> ndarray | None:
    """Return a copy of another library's array by the device itself; None where it must go through the host."""
    caps = runtime.backend.caps
    if not caps.takes or isinstance(obj, np.ndarray) or not hasattr(obj, "__dlpack_device__"):
        return None
    if int(obj.__dlpack_device__()[0]) not in caps.takes:
        return None
    dtype = dtypes.check(np.dtype(str(obj.dtype).rpartition(".")[2]))
    return make(runtime.take(obj, tuple(obj.shape), dtype, c_strides(tuple(obj.shape), dtype.itemsize)))


def as_operand(value: Any, runtime: Runtime) -> ndarray:
    """Return an operand that is no Python scalar as an array on `runtime`."""
    if type(value) is ndarray:
        return value
    if isinstance(value, (str, bytes)) or value is None:
        raise unsupported_dtype(np.asarray(value).dtype, "asarray")
    return asarray(value, device=runtime.name)


def runtime_for(function: str, values: Sequence[Any]) -> Runtime:
    """Return the runtime that the arrays among `values` share; the default one if there is none."""
    found: Runtime | None = None
    for value in values:
        if type(value) is ndarray:
            runtime = value._runtime
            if found is None:
                found = runtime
            elif found is not runtime:
                raise mixed_devices(function, (found.name, runtime.name))
    return runtime_of() if found is None else found


def host_call(name: str, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a NumPy function on the host copies of its array arguments, and bring its results back.

    On the software GPU this is the library itself; for other devices it is a fallback, and counted.
    """
    runtime, plain, named = _arguments(name, args, kwargs)
    return lift(quiet(fn, *plain, **named), runtime)


def open_call(name: str, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Do the same for a function that may call the user's, which have the user's context."""
    runtime, plain, named = _arguments(name, args, kwargs)
    with np.errstate(all="ignore"):
        return lift(fn(*plain, **named), runtime)


def by_host(name: str, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Do the same for any function of NumPy's: of its results, those that no device can hold stay as they are."""
    runtime, plain, named = _arguments(name, args, kwargs)
    return _lifted(fn(*plain, **named), runtime)


def _lifted(result: Any, runtime: Runtime) -> Any:
    try:
        return lift(result, runtime)
    except UnsupportedDtypeError:
        return type(result)(_lifted(r, runtime) for r in result) if isinstance(result, (list, tuple)) else result


def _arguments(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Runtime, list[Any], dict[str, Any]]:
    """Return the runtime of a call of the host's, and its arguments there."""
    runtime = runtime_for(name, _arrays_in((*args, *kwargs.values()) if kwargs else args))
    if not runtime.host_visible:
        fallback.on_host(runtime.name, name, "no kernel of its own")
    runtime.counters["library_calls"] += 1
    leave_cores()
    return runtime, [lowered(a) for a in args], {k: lowered(v) for k, v in kwargs.items()}


def library(
    name: str,
    fn: Callable[..., Any],
    ins: Sequence[ndarray],
    shape: Shape,
    dtype: DType,
    strides: Shape | None = None,
    **parameters: Hashable,
) -> ndarray:
    """Call a library, or record that: a function with one result.

    Nothing fuses with it, so where the host has the operands it is called at once; and so it is after what is recorded
    if the result is small, for then operations on that run at once, too. `fn` is the call for NumPy: its last argument
    is a function that returns memory for the result, or None where NumPy may as well take its own. A device's function
    of this name gets the parameters.
    """
    runtime = runtime_for(name, ins)
    if runtime.host_visible:
        small = math.prod(shape) <= config.small
        there = _ready(ins, small)
        if there is not None:
            runtime.counters["library_calls"] += 1
            leave_cores()
            if small:
                return wrap(runtime, quiet(fn, *there, _no_room))
            out = fresh(runtime, shape, dtype, strides)
            runtime.fill_by(out._view, fn, there)
            return out
    views = tuple([a._view for a in ins])
    out = fresh(runtime, shape, dtype, strides)
    loop = (*[v.ghost.dtype for v in views], dtype)
    runtime.record(Node(name, LIBRARY, (out._view,), views, loop, shape, tuple(parameters.items()), fn=fn))
    return out


def _ready(arrays: Sequence[ndarray], waiting: bool) -> list[HostArray] | None:
    """Return the contents of arrays of any size, if they are there or may be waited for; None where commands go on."""
    if config.small == 0:
        return None
    found = []
    for array in arrays:
        own = contents(array)
        if own is None and waiting:
            own = host(array)
        if own is None:
            return None
        found.append(own)
    return found


def _no_room() -> None:
    return None


def _arrays_in(values: Any) -> list[ndarray]:
    found = []
    for value in values:
        if type(value) is ndarray:
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += _arrays_in(value)
    return found


def lowered(value: Any) -> Any:
    """Return what NumPy gets for a value: our arrays on the host, not to be written to, in lists and tuples, too."""
    if type(value) is ndarray:
        if value._state == VALUE:
            return host_operand(value)
        seen = host(value).view()
        seen.setflags(write=False)
        return seen
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)([lowered(v) for v in value])
    return value


def lift(result: Any, runtime: Runtime) -> Any:
    """Return a host function's result with its arrays on the device."""
    if isinstance(result, (np.ndarray, np.generic)):
        return wrap(runtime, result)
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return type(result)(*(lift(r, runtime) for r in result))
    if isinstance(result, (list, tuple)):
        return type(result)(lift(r, runtime) for r in result)
    return result


def evaluate(*arrays: Any) -> None:
    """Run what is recorded: for the devices of `arrays`, or for all devices.

    Examples
    --------
    >>> import gpuxp as np
    >>> x = np.ones(3) + 1
    >>> np.evaluate(x)
    """
    given = _arrays_in(arrays)
    runtimes = {a._runtime for a in given} if arrays else set(open_runtimes())
    failed: list[Exception] = []
    for runtime in runtimes:  # a device that is lost keeps no other from its work
        try:
            runtime.flush()
            runtime.backend.sync()
        except Exception as error:
            failed.append(error)
    if failed:
        raise failed[0]
    for array in given:
        if array._made is not None and array._made.buffer.error is not None:
            host(array)
