"""The array: a view of a device buffer that behaves as `numpy.ndarray`.

The class holds what an array *is*; operators and methods are attached by the modules that define them.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import dlpack, dtypes
from .config import config
from .devices import Device, runtime_of
from .dtypes import DType
from .errors import unsupported_dtype
from .geometry import Ghost, Shape, c_strides, ghost, memory_order, strides_in_order
from .runtime import Runtime
from .storage import Buffer, Owner, View
from .tape import MAP, Node
from .threads import quiet

HostArray = np.ndarray[Any, Any]
WRITEABLE, READ_ONLY, VALUE = 0, 2, 1


class _Export:
    """What NumPy holds while it looks at a buffer's memory."""

    def __init__(self, owner: Owner, host: HostArray, read_only: bool) -> None:
        self.owner = owner
        self.__array_interface__ = dict(host.__array_interface__)
        if read_only:
            self.__array_interface__["data"] = (host.__array_interface__["data"][0], True)
        self.host = host


class Flags:
    """Memory layout, as ``numpy.ndarray.flags``."""

    def __init__(self, array: ndarray) -> None:
        self._array = array

    @property
    def writeable(self) -> bool:
        """Whether the array can be written."""
        return self._array._state == WRITEABLE

    @writeable.setter
    def writeable(self, value: bool) -> None:
        self._array._set_writeable(bool(value))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._array._view.ghost.flags, name)

    def __getitem__(self, name: str) -> Any:
        if name in ("W", "WRITEABLE"):
            return self.writeable
        flags: Any = self._array._view.ghost.flags
        return flags[name]

    def __setitem__(self, name: str, value: bool) -> None:
        if name not in ("W", "WRITEABLE"):
            raise ValueError(f"flags: {name!r} cannot be set, only WRITEABLE can")
        self.writeable = value

    def __repr__(self) -> str:
        shown = repr(self._array._view.ghost.flags).splitlines()
        return "\n".join(f"  WRITEABLE : {self.writeable}" if "WRITEABLE" in line else line for line in shown)


class ndarray:  # noqa: N801 - NumPy's name
    """An array on a device. Made by `asarray`, `zeros`, `arange` and the like, not by calling the class.

    Results that NumPy gives as scalars (of reductions, of arithmetic on 0-d arrays, of ``x[i]``) are 0-d arrays here;
    like scalars they are values: ``s += 1`` makes a new one, and they hash.

    Examples
    --------
    >>> import gpuxp as np
    >>> x = np.arange(6).reshape(2, 3)
    >>> x[:, 1] += 10
    >>> x
    array([[ 0, 11,  2],
           [ 3, 14,  5]])
    """

    __slots__ = ("__weakref__", "_base", "_owner", "_state", "_view")
    __array_priority__ = 100.0

    _view: View
    _owner: Owner
    _state: int
    _base: Any

    if TYPE_CHECKING:  # attached by the modules above this one

        def __getattr__(self, name: str) -> Any: ...
        def __add__(self, other: Any) -> ndarray: ...
        def __radd__(self, other: Any) -> ndarray: ...
        def __sub__(self, other: Any) -> ndarray: ...
        def __rsub__(self, other: Any) -> ndarray: ...
        def __mul__(self, other: Any) -> ndarray: ...
        def __rmul__(self, other: Any) -> ndarray: ...
        def __truediv__(self, other: Any) -> ndarray: ...
        def __rtruediv__(self, other: Any) -> ndarray: ...
        def __floordiv__(self, other: Any) -> ndarray: ...
        def __mod__(self, other: Any) -> ndarray: ...
        def __pow__(self, other: Any) -> ndarray: ...
        def __matmul__(self, other: Any) -> ndarray: ...
        def __and__(self, other: Any) -> ndarray: ...
        def __or__(self, other: Any) -> ndarray: ...
        def __xor__(self, other: Any) -> ndarray: ...
        def __lt__(self, other: Any) -> ndarray: ...
        def __le__(self, other: Any) -> ndarray: ...
        def __gt__(self, other: Any) -> ndarray: ...
        def __ge__(self, other: Any) -> ndarray: ...
        def __neg__(self) -> ndarray: ...
        def __invert__(self) -> ndarray: ...
        def __eq__(self, other: Any) -> ndarray: ...  # type: ignore[override]
        def __ne__(self, other: Any) -> ndarray: ...  # type: ignore[override]
        def __abs__(self) -> ndarray: ...
        def __getitem__(self, key: Any) -> ndarray: ...
        def __setitem__(self, key: Any, value: Any) -> None: ...

    def __new__(cls, *args: Any, **kwargs: Any) -> ndarray:
        """Refuse: arrays are made by functions."""
        raise TypeError("gpuxp.ndarray: make arrays with asarray, zeros, empty, arange, ... instead of the class")

    # What it is

    @property
    def shape(self) -> Shape:
        """Extent of each dimension; assigning reshapes in place where no copy is needed."""
        found: Shape = self._view.ghost.shape
        return found

    @shape.setter
    def shape(self, shape: Any) -> None:
        try:
            self._view = self._view.with_ghost(np.reshape(self._view.ghost, shape, copy=False))
        except ValueError:
            np.reshape(ghost(self.shape, self.dtype), shape)  # raises where the sizes differ
            raise AttributeError(
                f"shape: cannot give {self.shape} the shape {shape} without a copy; use reshape"
            ) from None

    @property
    def dtype(self) -> DType:
        """NumPy dtype of the elements."""
        found: DType = self._view.ghost.dtype
        return found

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self._view.ghost.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._view.ghost.size

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self._view.ghost.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._view.ghost.nbytes

    @property
    def strides(self) -> Shape:
        """Bytes to step in each dimension."""
        return self._view.ghost.strides

    @property
    def flags(self) -> Flags:
        """Memory layout."""
        return Flags(self)

    @property
    def base(self) -> Any:
        """The array that this one is a view of, or None."""
        return self._base

    @property
    def device(self) -> Device:
        """Name of the device that holds the array."""
        return Device(self._view.buffer.runtime.name)

    def _set_writeable(self, value: bool) -> None:
        if value and self._state == READ_ONLY and (self._view.buffer.foreign or self._base is not None):
            raise ValueError("cannot set WRITEABLE flag to True of this array")
        if self._state != VALUE:
            self._state = WRITEABLE if value else READ_ONLY

    # To the host

    def __len__(self) -> int:
        shape: Shape = self._view.ghost.shape
        if not shape:
            raise TypeError("len() of unsized object")
        return shape[0]

    def __bool__(self) -> bool:
        return bool(host(self))

    def __int__(self) -> int:
        return int(host(self))

    def __float__(self) -> float:
        return float(host(self))

    def __complex__(self) -> complex:
        return complex(host(self))

    def __index__(self) -> int:
        if self.ndim or self.dtype.kind not in "iu":
            raise TypeError("only integer scalar arrays can be converted to a scalar index")
        return int(host(self))

    def __hash__(self) -> int:
        if self._state != VALUE:
            raise TypeError("unhashable type: 'gpuxp.ndarray'")
        return hash(host(self)[()])

    def __format__(self, spec: str) -> str:
        return format(host(self)[()] if self.ndim == 0 else host(self), spec)

    def __str__(self) -> str:
        return str(host(self))

    def __repr__(self) -> str:
        value = host(self)
        return repr(value[()]) if self._state == VALUE else repr(value)

    def __iter__(self) -> Iterator[ndarray]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(self.shape[0]))

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    def item(self, *index: Any) -> Any:
        """Return one element as a Python scalar."""
        return host(self).item(*index)

    def tolist(self) -> Any:
        """Return the elements as nested lists of Python scalars."""
        return host(self).tolist()

    def tobytes(self, order: Any = "C") -> bytes:
        """Return the elements' bytes."""
        return host(self).tobytes(order)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> HostArray:
        """Return a NumPy array: of the same memory where NumPy can see it, else a copy."""
        exported = export(self)
        if dtype is not None and np.dtype(dtype) != exported.dtype:
            if copy is False:
                raise ValueError("Unable to avoid copy while creating an array as requested: the dtype differs")
            return exported.astype(dtype)
        return exported.copy() if copy else exported

    def __dlpack__(
        self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
    ) -> Any:
        """Export the array: without a copy where the host sees the memory."""
        if stream is not None:
            raise ValueError("__dlpack__: stream must be None, the data is exported from host memory")
        home = self.__dlpack_device__()
        wanted = home if dl_device is None else tuple(dl_device)
        if wanted not in (home, dlpack.HOST):
            raise BufferError(f"__dlpack__: cannot export to DLPack device {wanted}, only to {home} or {dlpack.HOST}")
        if wanted != dlpack.HOST:
            return _export_on_device(copy_of(self) if copy else self, home)
        if self._state != WRITEABLE and max_version is None:
            copy = True if copy is None else copy
        exported = _shared_with_host(self) if copy is False and home != dlpack.HOST else export(self)
        if copy:
            exported = exported.copy()
        return exported.__dlpack__(max_version=max_version)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return the DLPack device of the memory: ``(1, 0)`` is the host's."""
        return self._view.buffer.runtime.backend.caps.dlpack_device

    def __reduce__(self) -> Any:
        return _rebuild, (np.array(host(self)), self._state == VALUE)

    def __copy__(self) -> ndarray:
        return copy_of(self)

    def __deepcopy__(self, memo: Any) -> ndarray:
        return copy_of(self)


def _rebuild(value: HostArray, is_value: bool) -> ndarray:
    """Unpickle onto the default device."""
    runtime = runtime_of()
    return make(runtime.adopt(value), state=VALUE if is_value else WRITEABLE)


# Between arrays and views


def make(view: View, owner: Owner | None = None, state: int = WRITEABLE, base: Any = None) -> ndarray:
    """Return the array over a view; without `owner` it is the first to see the buffer."""
    self = object.__new__(ndarray)
    self._view = view
    self._owner = owner if owner is not None else Owner(view.buffer)
    self._state = state
    self._base = base
    return self


def fresh(runtime: Runtime, shape: Shape, dtype: DType, strides: Shape | None = None) -> ndarray:
    """Return an array over a new buffer, not yet written."""
    return make(runtime.new_buffer(shape, dtype, strides))


def view_of(array: ndarray, geometry: Ghost, state: int | None = None) -> ndarray:
    """Return a view of `array` with the geometry that NumPy made from its ghost."""
    if state is None:
        state = array._state if array._state != VALUE else WRITEABLE
    base = array if array._base is None else array._base
    return make(array._view.with_ghost(geometry), array._owner, state, base)


def wrap(runtime: Runtime, result: Any) -> ndarray:
    """Return a host result as an array: a NumPy scalar becomes a 0-d value."""
    if type(result) is not np.ndarray:
        result = np.asarray(result)
        if result.dtype not in dtypes.SUPPORTED:
            raise unsupported_dtype(result.dtype)
        return make(runtime.adopt(result), state=VALUE)
    if result.dtype not in dtypes.SUPPORTED:
        raise unsupported_dtype(result.dtype)
    return make(runtime.adopt(result if result.base is None or result.flags.owndata else result.copy(order="K")))


def adopted(runtime: Runtime, result: Any) -> ndarray:
    """Return what a ufunc made of small host arrays as an array: `wrap` for a result that needs no checks."""
    self = object.__new__(ndarray)
    if type(result) is np.ndarray:
        self._state = WRITEABLE
    else:
        result = np.asarray(result)
        self._state = VALUE
    buffer = Buffer(runtime, result.nbytes, result)
    self._view = View(buffer, result, True)
    self._owner = Owner(buffer)
    self._base = None
    return self if result.flags.c_contiguous else make(runtime.adopt(result))


def host(array: ndarray) -> HostArray:
    """Return the contents for reading: never hand this to a user, it may be the buffer's own memory."""
    view = array._view
    return view.buffer.runtime.host(view)


def host_operand(array: ndarray) -> Any:
    """Return the contents as NumPy's functions get them: a value as a scalar, for which they have their own rules."""
    found = host(array)
    return found[()] if array._state == VALUE else found


def export(array: ndarray) -> HostArray:
    """Return a NumPy array that may outlive this call; commands on shared memory run in step from now on."""
    runtime = array._view.buffer.runtime
    if runtime.pending(array._view):
        runtime.flush()
    value = host(array)
    if not runtime.host_visible:
        return value if array._state == WRITEABLE else _locked(value)
    if array._state == VALUE:
        return value.copy()
    return _exported(array, value)


def _export_on_device(array: ndarray, device: tuple[int, int]) -> Any:
    """Return a DLPack capsule over the device's own memory; commands on it run in step while it is held."""
    view = array._view
    _settle(array)
    holder = _Holder(array._owner)
    view.buffer.exports = (*view.buffer.exports, weakref.ref(holder))
    geometry = view.ghost
    handle = view.buffer.mem.handle
    return dlpack.capsule(handle, device, array.dtype, geometry.shape, geometry.strides, view.offset, holder)


def _settle(array: ndarray) -> None:
    """Have everything recorded on the array's buffer done, and raise if that failed."""
    view = array._view
    runtime = view.buffer.runtime
    if runtime.pending(view):
        runtime.flush()
    if view.buffer.error is not None:
        runtime.host(view)
    runtime.ensure(view.buffer)
    runtime.backend.sync()


def _shared_with_host(array: ndarray) -> HostArray:
    """Return a NumPy array over the memory of a device that shares the host's, such as an OpenCL device on the CPU."""
    share = array._view.buffer.runtime.backend.caps.share
    if share is None:
        raise BufferError(f"__dlpack__: an array on {array.device} can only be moved to the host by copy")
    _settle(array)
    view = array._view
    geometry = view.ghost
    seen: HostArray = np.ndarray(geometry.shape, geometry.dtype, share(view.buffer.mem), view.offset, geometry.strides)
    return _exported(array, seen)


def _exported(array: ndarray, seen: HostArray) -> HostArray:
    """Return host memory of an array for others to hold; while they do, commands on it run in step."""
    holder = _Export(array._owner, seen, array._state == READ_ONLY)
    buffer = array._view.buffer
    buffer.exports = (*buffer.exports, weakref.ref(holder))
    return np.asarray(holder)


class _Holder:
    """What the consumer of a capsule keeps alive."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner


def _locked(value: HostArray) -> HostArray:
    value.flags.writeable = False
    return value


def copy_of(array: ndarray, dtype: DType | None = None, order: str = "K") -> ndarray:
    """Return a copy, converted to `dtype`."""
    target = array.dtype if dtype is None else dtype
    shape = array.shape
    runtime = array._view.buffer.runtime
    if is_direct(runtime, (array._view,)):
        return make(runtime.adopt(quiet(_host_copy, runtime.host(array._view), target, order)))
    out = fresh(runtime, shape, target, layout((array._view,), shape, target.itemsize, order))
    record_copy(out._view, array._view)
    return out


def _host_copy(value: HostArray, dtype: DType, order: Any) -> HostArray:
    return value.astype(dtype, order=order, copy=True)


def record_copy(out: View, value: View | HostArray) -> None:
    """Record ``out[...] = value``, converting; `value` must broadcast and must not clash with `out`."""
    loop = value.ghost.dtype if isinstance(value, View) else value.dtype
    runtime = out.buffer.runtime
    runtime.record(Node("copy", MAP, (out,), (value,), (loop, loop), out.ghost.shape))


def layout(views: Sequence[View], shape: Shape, itemsize: int, order: str = "K") -> Shape | None:
    """Return the strides of a result as NumPy lays it out; None means C order."""
    if order == "C" or len(shape) < 2:
        return None
    if order == "F":
        return strides_in_order(shape, tuple(range(len(shape) - 1, -1, -1)), itemsize)
    flags = [v.ghost.flags for v in views if v.ghost.ndim]
    if all(f.c_contiguous for f in flags):
        return None
    if order == "A":
        fortran = all(f.f_contiguous for f in flags)
        return layout(views, shape, itemsize, "F" if fortran else "C")
    operands = []
    for view in views:
        ghost = view.ghost
        own = tuple(0 if n == 1 else s for n, s in zip(ghost.shape, ghost.strides, strict=True))
        operands.append((0,) * (len(shape) - ghost.ndim) + own)
    axes = memory_order(len(shape), tuple(operands))
    strides = strides_in_order(shape, axes, itemsize)
    return None if strides == c_strides(shape, itemsize) else strides


def is_direct(runtime: Runtime, views: Sequence[View], size: int | None = None) -> bool:
    """Whether an operation on these views is done faster at once, by NumPy, than recorded: small, and all there."""
    if not runtime.host_visible:
        return False
    limit = config.small
    if size is not None and size > limit:
        return False
    done = runtime.done
    for view in views:
        buffer = view.buffer
        if view.ghost.size > limit or buffer.write_epoch > done or buffer.mem is None or buffer.error is not None:
            return False
    return True
