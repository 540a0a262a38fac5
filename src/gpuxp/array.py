"""The array: a view of a device buffer that behaves as `numpy.ndarray`.

The class holds what an array *is*; operators and methods are attached by the modules that define them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtypes
from .devices import Device, runtime_of
from .dtypes import FLOAT64, DType
from .errors import unsupported_dtype
from .geometry import Ghost, Shape, ghost, layout_like
from .storage import View
from .tape import MAP, Node
from .threads import PARALLEL, quiet_call

if TYPE_CHECKING:
    from .runtime import Runtime  # the engine is loaded with the first array

HostArray = np.ndarray[Any, Any]
WRITEABLE, READ_ONLY, VALUE = 0, 2, 1
_new, _asarray, _HOST = object.__new__, np.asarray, np.ndarray  # found faster so


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
        return getattr(self._array._ghost.flags, name)

    def __getitem__(self, name: str) -> Any:
        if name in ("W", "WRITEABLE"):
            return self.writeable
        flags: Any = self._array._ghost.flags
        return flags[name]

    def __setitem__(self, name: str, value: bool) -> None:
        if name not in ("W", "WRITEABLE"):
            raise ValueError(f"flags: {name!r} cannot be set, only WRITEABLE can")
        self.writeable = value

    def __repr__(self) -> str:
        shown = repr(self._array._ghost.flags).splitlines()
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

    __slots__ = ("__weakref__", "_base", "_life", "_made", "_own", "_owner", "_runtime", "_state")
    __array_priority__ = 100.0

    # host memory (contiguous, if not a view of another array's) that no command knows of; None once it has a `_made`;
    # of a value, a scalar of NumPy's until somebody asks for memory (`_cell`)
    _own: HostArray | None
    _made: Any  # the `View` that commands have of it; None before
    _owner: ndarray | None  # the first array to see the buffer, which keeps it wanted; None: this one
    _life: object  # of a first array that commands know of
    _runtime: Runtime
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
    def _view(self) -> View:
        """The array as commands see it."""
        found: View = self._made or _introduce(self)
        return found

    @property
    def _ghost(self) -> Ghost:
        """The geometry as an array of NumPy's."""
        own = self._own
        found: Ghost = self._made.ghost if own is None else own if type(own) is _HOST else _cell(self)
        return found

    @property
    def shape(self) -> Shape:
        """Extent of each dimension; assigning reshapes in place where no copy is needed."""
        own = self._own
        found: Shape = self._made.ghost.shape if own is None else own.shape
        return found

    @shape.setter
    def shape(self, shape: Any) -> None:
        view = self._view
        try:
            self._made = view.with_ghost(np.reshape(view.ghost, shape, copy=False))
        except ValueError:
            np.reshape(ghost(self.shape, self.dtype), shape)  # raises where the sizes differ
            raise AttributeError(
                f"shape: cannot give {self.shape} the shape {shape} without a copy; use reshape"
            ) from None

    @property
    def dtype(self) -> DType:
        """NumPy dtype of the elements."""
        own = self._own
        found: DType = self._made.ghost.dtype if own is None else own.dtype
        return found

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        own = self._own
        found: int = self._made.ghost.ndim if own is None else own.ndim
        return found

    @property
    def size(self) -> int:
        """Number of elements."""
        own = self._own
        found: int = self._made.ghost.size if own is None else own.size
        return found

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self._ghost.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._ghost.nbytes

    @property
    def strides(self) -> Shape:
        """Bytes to step in each dimension."""
        return self._ghost.strides

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
        return Device(self._runtime.name)

    def _set_writeable(self, value: bool) -> None:
        if value and self._state == READ_ONLY and (self._base is not None or self._view.buffer.foreign):
            raise ValueError("cannot set WRITEABLE flag to True of this array")
        if self._state != VALUE:
            self._state = WRITEABLE if value else READ_ONLY

    # To the host

    def __len__(self) -> int:
        shape = self.shape
        if not shape:
            raise TypeError("len() of unsized object")
        return shape[0]

    def __bool__(self) -> bool:
        return bool(_scalar(self))

    def __int__(self) -> int:
        return int(_scalar(self))

    def __float__(self) -> float:
        return float(_scalar(self))

    def __complex__(self) -> complex:
        return complex(_scalar(self))

    def __index__(self) -> int:
        if self.ndim or self.dtype.kind not in "iu":
            raise TypeError("only integer scalar arrays can be converted to a scalar index")
        return int(_scalar(self))

    def __hash__(self) -> int:
        if self._state != VALUE:
            raise TypeError("unhashable type: 'gpuxp.ndarray'")
        return hash(_scalar(self))

    def __format__(self, spec: str) -> str:
        return format(_scalar(self), spec)

    def __str__(self) -> str:
        return str(host(self))

    def __repr__(self) -> str:
        return repr(host_operand(self))

    def __iter__(self) -> Iterator[ndarray]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return map(self.__getitem__, range(self.shape[0]))

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    def item(self, *index: Any) -> Any:
        """Return one element as a Python scalar."""
        return _scalar(self).item(*index)

    def tolist(self) -> Any:
        """Return the elements as nested lists of Python scalars."""
        return _scalar(self).tolist()

    def tobytes(self, order: Any = "C") -> bytes:
        """Return the elements' bytes."""
        return host(self).tobytes(order)

    def __reduce__(self) -> Any:
        return _rebuild, (np.array(host(self)), self._state == VALUE)

    def __copy__(self) -> ndarray:
        return copy_of(self)

    def __deepcopy__(self, memo: Any) -> ndarray:
        return copy_of(self)


def _rebuild(value: HostArray, is_value: bool) -> ndarray:
    """Unpickle onto the default device."""
    return held(runtime_of(), value, VALUE if is_value else WRITEABLE)


# Between arrays and views


def make(view: View, state: int = WRITEABLE) -> ndarray:
    """Return the first array over a buffer: while it lives, the buffer is wanted."""
    self = _new(ndarray)
    buffer = view.buffer
    self._life = buffer.life = object()
    self._own = None
    self._made = view
    self._owner = None
    self._runtime = buffer.runtime
    self._state = state
    self._base = None
    return self


def held(runtime: Runtime, value: HostArray, state: int = WRITEABLE) -> ndarray:
    """Return an array that takes over a host array, which nobody else may hold."""
    if not runtime.host_visible or not value.flags.c_contiguous:
        return make(runtime.adopt(value), state)
    self = _new(ndarray)
    self._own = value
    self._made = None
    self._owner = None
    self._runtime = runtime
    self._state = state
    self._base = None
    return self


def _introduce(array: ndarray) -> View:
    """Give host memory a view for the tape: from now on the runtime knows when it may be used."""
    runtime = array._runtime
    with runtime.lock:
        own = array._own
        if own is not None:
            if array._owner is None:
                own = _asarray(own)
                view = runtime.adopt(own)
                array._life = view.buffer.life = object()
            else:
                view = View(array._owner._view.buffer, own, True)
            array._made = view  # in this order: who reads without the lock must find one of the two
            array._own = None
    found: View = array._made
    return found


def _cell(array: ndarray) -> HostArray:
    """Return the memory of an array that holds a scalar of NumPy's."""
    with array._runtime.lock:
        if array._own is not None:  # else another thread has introduced it meanwhile
            array._own = _asarray(array._own)
    return array._ghost


def contents(array: ndarray) -> HostArray | None:
    """Return the array's memory if the host may use it now; None where recorded commands come first."""
    own = array._own
    if own is not None and (array._owner is None or array._owner._own is not None):
        return own if type(own) is _HOST else _cell(array)
    runtime = array._runtime
    if not runtime.host_visible:
        return None
    view = array._view
    buffer = view.buffer
    if buffer.mem is None or buffer.write_epoch > runtime.done or buffer.error is not None:
        return None
    return view.ghost if view.real else runtime.host(view)


def is_pending(array: ndarray) -> bool:
    """Whether a recorded command is still to read or write the array's buffer."""
    if array._own is not None and (array._owner is None or array._owner._own is not None):
        return False
    return array._runtime.pending(array._view)


def settled(array: ndarray) -> HostArray:
    """Return the contents for changing them in place: nothing that is recorded reads or writes them any more."""
    if is_pending(array):
        array._runtime.flush()
    return host(array)


def fresh(runtime: Runtime, shape: Shape, dtype: DType, strides: Shape | None = None) -> ndarray:
    """Return an array over a new buffer, not yet written."""
    return make(runtime.new_buffer(shape, dtype, strides))


def root(array: ndarray) -> ndarray:
    """Return the first array over the buffer: two arrays with one root can share memory."""
    return array if array._owner is None else array._owner


def view_of(array: ndarray, geometry: Ghost, state: int | None = None) -> ndarray:
    """Return a view of `array` with the geometry that NumPy made from its ghost.

    A value does not change: what may be written is a copy of it, unless `state` is given.
    """
    self = _new(ndarray)
    if array._own is not None:
        self._own = geometry
        self._made = None
    else:
        self._own = None
        self._made = array._view.with_ghost(geometry)
    owner, base = array._owner, array._base
    self._owner = array if owner is None else owner
    self._runtime = array._runtime
    self._state = state if state is not None else READ_ONLY if array._state == READ_ONLY else WRITEABLE
    self._base = array if base is None else base
    return copy_of(self) if state is None and array._state == VALUE else self


def wrap(runtime: Runtime, result: Any) -> ndarray:
    """Return a host result as an array: a NumPy scalar becomes a 0-d value."""
    state = WRITEABLE
    if type(result) is not np.ndarray:
        result, state = np.asarray(result), VALUE
    if result.dtype not in dtypes.SUPPORTED:
        raise unsupported_dtype(result.dtype)
    return held(runtime, result if result.base is None or result.flags.owndata else result.copy(order="K"), state)


def adopted(runtime: Runtime, result: Any) -> ndarray:
    """Return what a ufunc made of small host arrays as an array: `wrap` for a result that needs no checks."""
    self = _new(ndarray)
    if type(result) is float:
        result = FLOAT64.type(result)
    self._own = result
    if type(result) is not _HOST:
        self._state = VALUE
    elif result.ndim > 1 and not result.flags.c_contiguous:
        return make(runtime.adopt(result))
    else:
        self._state = WRITEABLE
    self._made = None
    self._owner = None
    self._runtime = runtime
    self._base = None
    return self


def host(array: ndarray) -> HostArray:
    """Return the contents for reading: never hand this to a user, it may be the buffer's own memory."""
    own = array._own
    if own is not None and (array._owner is None or array._owner._own is not None):
        return own if type(own) is _HOST else _cell(array)
    return array._runtime.host(array._view)


def host_operand(array: ndarray) -> Any:
    """Return the contents as NumPy's functions get them: a value as a scalar, for which they have their own rules."""
    return _scalar(array) if array._state == VALUE else host(array)


def _scalar(array: ndarray) -> Any:
    """Return the contents for reading, those of a 0-d array as a scalar of NumPy's."""
    own = array._own
    return own if own is not None and type(own) is not _HOST else host(array)[()]


def copy_of(array: ndarray, dtype: DType | None = None, order: str = "K") -> ndarray:
    """Return a copy, converted to `dtype`."""
    there = contents(array)
    if there is not None and array._runtime.at_once(there.size):
        return _converted(array._runtime, there, dtype, order)
    target = array.dtype if dtype is None else dtype
    shape = array.shape
    out = fresh(array._runtime, shape, target, layout_like(array._ghost, target.itemsize, order))
    record_copy(out._view, array._view)
    return out


def _converted(runtime: Runtime, value: HostArray, dtype: DType | None, order: Any) -> ndarray:
    """Copy or convert host memory: on several threads if it is packed, and enough."""
    runtime.direct_calls += 1
    packed = value.flags.c_contiguous
    if packed and value.size >= PARALLEL and runtime.direct is not None and order != "F":
        cast = runtime.direct.cast(value.dtype, dtype or value.dtype).wanted(value.size)
        if cast is not None:
            return adopted(runtime, quiet_call(cast, value.reshape(-1)).reshape(value.shape))
    found = value.copy(order) if dtype is None else quiet_call(value.astype, dtype, order)
    return adopted(runtime, found) if packed and order != "F" else held(runtime, found)


def record_copy(out: View, value: View | HostArray) -> None:
    """Record ``out[...] = value``, converting; `value` must broadcast and must not clash with `out`."""
    loop = value.ghost.dtype if isinstance(value, View) else value.dtype
    runtime = out.buffer.runtime
    runtime.record(Node("copy", MAP, (out,), (value,), (loop, loop), out.ghost.shape))
