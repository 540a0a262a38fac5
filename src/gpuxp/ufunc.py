"""Universal functions: the public face of the elementwise rows, with ``out``, ``where``, ``dtype`` and ``reduce``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtypes, fallback, small
from .array import (
    READ_ONLY,
    VALUE,
    WRITEABLE,
    adopted,
    fresh,
    host,
    host_operand,
    make,
    ndarray,
    record_copy,
    settled,
    wrap,
)
from .config import config
from .convert import as_operand, asarray, host_call, runtime_for
from .dtypes import BOOL, DType
from .errors import mixed_devices
from .geometry import Shape, broadcast_shapes, broadcasts_to, layout
from .ops import ELEMENTWISE, Elementwise
from .recipes import Recipes
from .small import PYTHON_SCALARS, apply_row, binary, in_order, plain_operands, too_large, unary
from .storage import View
from .tape import MAP, Node, clashes, constant
from .threads import quiet, quiet_call

if TYPE_CHECKING:
    from .runtime import Runtime  # the engine is loaded with the first array

_COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")

class ufunc:  # noqa: N801 - NumPy's name
    """A function applied element by element, with NumPy's broadcasting, promotion and keywords.

    Examples
    --------
    >>> import gpuxp as np
    >>> np.add([1, 2], [[10], [20]])
    array([[11, 12],
           [21, 22]])
    >>> np.multiply.reduce(np.arange(1, 5))
    np.int64(24)
    """

    nout = 1
    signature = None

    def __init__(self, name: str, row: Elementwise) -> None:
        self.row = row
        self.numpy = row.ufunc
        self.nin = row.nin
        self._compares = name in _COMPARISONS
        self._recipes = Recipes(row.name)
        self._small: Any = unary(row, self.plain) if row.nin == 1 else binary(row, self.plain)
        self.__name__ = self.__qualname__ = name
        self.nargs = row.nin + 1
        self.identity = row.ufunc.identity
        self.__doc__ = f"{_summary(row.ufunc)}\n\nThe same function as `numpy.{name}`, on any device."

    def __repr__(self) -> str:
        return f"<ufunc '{self.__name__}'>"

    def __reduce__(self) -> Any:
        return _find, (self.__name__,)

    @property
    def types(self) -> list[str]:
        """The loops, by the characters of their dtypes."""
        return self.numpy.types

    @property
    def ntypes(self) -> int:
        """How many loops there are."""
        return self.numpy.ntypes

    # Calling

    def __call__(self, *args: Any, **keywords: Any) -> ndarray:
        """Apply the function; keywords as in NumPy."""
        if keywords or len(args) != self.nin:
            return self._call(*args, **keywords)
        found: ndarray = self._small(*args)
        return found

    def _call(
        self, *args: Any, out: Any = None, where: Any = True, dtype: Any = None, casting: Any = "same_kind",
        order: str = "K", subok: bool = True, signature: Any = None,
    ) -> ndarray:  # fmt: skip
        default = where is True and dtype is None and signature is None and casting == "same_kind" and order == "K"
        if len(args) != self.nin:
            if len(args) == self.nargs and out is None:
                args, out = args[: self.nin], args[self.nin]
            else:
                raise TypeError(
                    f"{self.__name__}() takes from {self.nin} to {self.nargs} positional arguments "
                    f"but {len(args)} were given"
                )
        if default and out is None:
            return self(*args)
        out = _single(out, self.__name__)
        if default and type(out) is ndarray and small.into(self.row, args, out):
            return out
        runtime = runtime_for(self.__name__, args)
        operands = [a if type(a) is ndarray or type(a) in PYTHON_SCALARS else as_operand(a, runtime) for a in args]
        if dtype is None and signature is not None:
            dtype = signature[-1] if isinstance(signature, tuple) else signature
        return self._record(runtime, operands, out, where, dtype, casting, order)

    def plain(self, *args: Any) -> ndarray:
        """Apply the function without keywords to operands that are not small arrays, or not alike."""
        again = self._recipes.record(args)
        if again is not None:
            return again
        alike = _alike(args)
        if alike is not None:
            return self._record_alike(*alike, args)
        runtime = runtime_for(self.__name__, args)
        operands = [a if type(a) is ndarray or type(a) in PYTHON_SCALARS else as_operand(a, runtime) for a in args]
        direct = self._direct(runtime, operands)
        return self._record(runtime, operands, None, True, None, "same_kind", "K") if direct is None else direct

    def _direct(self, runtime: Runtime, operands: Sequence[Any]) -> ndarray | None:
        """Run small operands at once, by the same function that runs a tile."""
        if config.small and runtime.host_visible and all(type(o) in PYTHON_SCALARS for o in operands):
            values = operands
        else:
            found = plain_operands(operands)
            if found is None or too_large(found[1]):
                return None
            values = found[1]
        result = quiet(apply_row, self.row, values)
        if not isinstance(result, (np.generic, np.ndarray)):  # of a Python integer beyond 64 bits
            return None
        runtime.direct_calls += 1
        return wrap(runtime, in_order(values, result))

    def resolve(self, operands: Sequence[Any], dtype: Any = None, casting: Any = "same_kind") -> tuple[DType, ...]:
        """Return the loop's dtypes for arrays and Python scalars, as NumPy decides them."""
        found = tuple(a.dtype if type(a) is ndarray else type(a) for a in operands)
        if dtype is None:
            if casting != "same_kind":  # refuses what the rule forbids
                self.numpy.resolve_dtypes((*found, *(None,) * self.numpy.nout), casting=casting)
            return dtypes.resolve(self.numpy, found)
        target = dtypes.check(dtype, self.__name__)
        if self.numpy.nout == 1 and self.numpy.nin == self.nin:
            wanted: Any = (None,) * self.nin + (target,)
            return tuple(self.numpy.resolve_dtypes((*found, None), signature=wanted, casting=casting))
        return (*dtypes.resolve(self.numpy, found)[: self.nin], target)

    def into_first(self, target: ndarray, other: Any) -> ndarray:
        """Do ``target op= other``."""
        alike = _alike((target, other))
        if alike is not None:
            runtime, shape, kinds = alike
            loop = dtypes.resolve(self.numpy, kinds)
            if loop[-1] == kinds[0]:
                ins = tuple(_inputs((target, other), loop))
                self._commit(runtime, Node(self.row.name, MAP, (target._view,), ins, loop, shape), None, False)
                return target
        return self(target, other, out=target)

    def _record_alike(self, runtime: Runtime, shape: Shape, kinds: tuple[Any, ...], operands: Sequence[Any]) -> ndarray:
        """Record the function of large arrays of one shape, and Python scalars: the common case, with little work."""
        if self._compares and int in kinds and self._out_of_range(operands) is not None:
            return self._record(runtime, list(operands), None, True, None, "same_kind", "K")
        loop = dtypes.resolve(self.numpy, kinds)
        ins = _inputs(operands, loop)
        out = loop[-1]
        strides = None
        if len(shape) > 1:
            strides = layout([v.ghost for v in ins if type(v) is View], shape, out.itemsize)
        target = runtime.new_buffer(shape, out, strides)
        result = make(target, WRITEABLE if shape else VALUE)  # holds the buffer while the tape may run
        sign = self._recipes.learn(operands, loop, target)
        runtime.record(Node(self.row.name, MAP, (target,), tuple(ins), loop, shape, sign=sign))
        return result

    def _record(
        self, runtime: Runtime, operands: list[Any], out: Any, where: Any, dtype: Any, casting: Any, order: str
    ) -> ndarray:
        constant = self._out_of_range(operands) if self._compares else None
        loop = self.resolve(operands, dtype, casting) if constant is None else (BOOL, BOOL, BOOL)
        arrays = [a for a in operands if type(a) is ndarray]
        mask = None if where is True else as_operand(where, runtime)
        if mask is not None and mask.dtype != BOOL:
            raise TypeError(f"{self.__name__}: where must be a bool array, not {mask.dtype}")
        if out is not None:
            self._check_out(runtime, out, loop, casting)
        shape = broadcast_shapes(*(a.shape for a in arrays), *(() if mask is None else (mask.shape,)))
        if out is None:
            strides = layout([a._ghost for a in arrays], shape, loop[-1].itemsize, order)
            result = fresh(runtime, shape, loop[-1], strides)
            if not shape:
                result._state = VALUE
        else:
            result = out
            if shape != out.shape and broadcast_shapes(shape, out.shape) != out.shape:
                shown = (str(s).replace(" ", "") for s in (out.shape, broadcast_shapes(shape, out.shape)))
                raise ValueError(
                    "non-broadcastable output operand with shape {} doesn't match the broadcast shape {}".format(*shown)
                )
            shape = out.shape
        if constant is not None:
            ins: tuple[Any, ...] = (np.asarray(constant),)
            node = Node("copy", MAP, (result._view,), ins, (BOOL, BOOL), shape)
            self._commit(runtime, node, mask, out is None)
        else:
            ins = tuple(_inputs(operands, loop))
            node = Node(self.row.name, MAP, (result._view,), ins, loop, shape)
            if out is None and where is True and dtype is None and (casting, order) == ("same_kind", "K"):
                node.sign = self._recipes.learn(operands, loop, result._view)
            self._commit(runtime, node, mask, out is None)
        return result

    def _commit(self, runtime: Runtime, node: Node, mask: ndarray | None, is_fresh: bool) -> None:
        """Record the command; overlapping inputs are copied first, ``where`` becomes a selection."""
        target = node.outs[0]
        if mask is not None or (self.row.name == "power" and not is_fresh):
            result = fresh(runtime, node.shape, node.loop[-1])  # the result, before it is put in place
            node.outs = (result._view,)
            runtime.record(node)
            if mask is None:
                record_copy(target, result._view)
            else:
                choose(runtime, target, mask, result._view, None if is_fresh else target)
            return
        copies: list[ndarray] = []
        if not is_fresh:
            node.ins = _untangled(target, node.ins, copies)
        runtime.record(node)

    def _check_out(self, runtime: Runtime, out: ndarray, loop: tuple[DType, ...], casting: Any) -> None:
        if type(out) is not ndarray:
            raise TypeError(f"{self.__name__}: return arrays must be gpuxp arrays, not {type(out).__name__}")
        check_writeable(out, self.__name__)
        if out._runtime is not runtime:
            raise mixed_devices(self.__name__, (out.device, runtime.name))
        if not np.can_cast(loop[-1], out.dtype, casting):
            self._refuse_cast(loop, out.dtype, casting)

    def _refuse_cast(self, loop: tuple[DType, ...], target: DType, casting: Any) -> None:
        """Raise NumPy's own error for a result that `out` cannot take."""
        fn: Any = self.numpy
        fn(*(np.empty(0, d) for d in loop[: self.nin]), out=np.empty(0, target), casting=casting)
        raise TypeError(f"Cannot cast ufunc {self.__name__!r} output from {loop[-1]!r} to {target!r} ({casting!r})")

    def _out_of_range(self, operands: Sequence[Any]) -> bool | None:
        """Return the answer of a comparison with a Python integer that the array's dtype cannot hold."""
        for place, value in enumerate(operands):
            other = operands[1 - place]
            if type(value) is int and type(other) is ndarray and other.dtype.kind in "iu":
                info = np.iinfo(other.dtype)
                if not info.min <= value <= info.max:
                    pair = [np.zeros((), other.dtype), value]
                    return bool(self.numpy(*(pair if place else pair[::-1])))
        return None

    # Methods

    def reduce(
        self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False,
        initial: Any = None, where: Any = True,
    ) -> ndarray:  # fmt: skip
        """Combine the elements along `axis`, as `numpy.ufunc.reduce`."""
        from .reductions import reduce  # the reductions are built upon this class

        return reduce(self, array, axis, dtype, _single(out, self.__name__), keepdims, initial, where)

    def accumulate(self, array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> ndarray:
        """Return all intermediate results of `reduce`."""
        self._need_binary("accumulate")
        x = as_operand(array, runtime_for(self.__name__, (array,)))
        if x._runtime.host_visible:
            result = host_call(f"{self.__name__}.accumulate", self.numpy.accumulate, x, axis, dtype)
        else:
            from .gathering import accumulate  # which is built upon this class

            result = accumulate(self.__name__, x, axis, dtype)
        return into(result, out, self.__name__, "unsafe")

    def reduceat(self, array: Any, indices: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> ndarray:
        """Reduce over slices given by consecutive indices."""
        self._need_binary("reduceat")
        x = as_operand(array, runtime_for(self.__name__, (array, indices)))
        result = host_call(f"{self.__name__}.reduceat", self.numpy.reduceat, x, indices, axis, dtype)
        return into(result, out, self.__name__, "unsafe")

    def outer(self, a: Any, b: Any, **kwargs: Any) -> ndarray:
        """Apply the function to all pairs of elements of `a` and `b`."""
        self._need_binary("outer")
        runtime = runtime_for(self.__name__, (a, b))
        x, y = (asarray(v, device=None if type(v) is ndarray else runtime.name) for v in (a, b))
        return self(x.reshape(x.shape + (1,) * y.ndim), y, **kwargs)

    def at(self, a: ndarray, indices: Any, b: Any = None) -> None:
        """Apply the function in place at `indices`, once for each time an index occurs."""
        if type(a) is not ndarray:
            raise TypeError(f"{self.__name__}.at: the first operand must be an array")
        check_writeable(a, f"{self.__name__}.at")
        runtime = runtime_for(f"{self.__name__}.at", (a, indices, b))
        operands = (indices,) if self.nin == 1 else (indices, b)
        update(a, runtime, f"{self.__name__}.at", self.numpy.at, *operands)

    def _need_binary(self, method: str) -> None:
        if self.nin != 2:
            raise ValueError(f"{self.__name__}.{method}: only supported for binary functions")


def _alike(args: Sequence[Any]) -> tuple[Runtime, Shape, tuple[Any, ...]] | None:
    """Return runtime, shape and kinds of operands that are large arrays of one shape and Python scalars, else None."""
    shape: Shape | None = None
    kinds: list[Any] = []
    for a in args:
        if type(a) is ndarray:
            made = a._made
            ghost = a._ghost if made is None else made.ghost
            if shape is None:
                runtime, shape = a._runtime, ghost.shape
                if runtime.at_once(ghost.size):
                    return None
            elif ghost.shape != shape or a._runtime is not runtime:
                return None
            kinds.append(ghost.dtype)
        elif type(a) in PYTHON_SCALARS:
            kinds.append(type(a))
        else:
            return None
    return None if shape is None else (runtime, shape, tuple(kinds))


def _inputs(operands: Sequence[Any], loop: Sequence[DType]) -> list[Any]:
    """Return operands as commands read them: views, and scalars in the loop's dtypes."""
    return [a._made or a._view if type(a) is ndarray else constant(a, loop[n]) for n, a in enumerate(operands)]


def _summary(fn: np.ufunc) -> str:
    lines = (fn.__doc__ or "").split("\n", 5)[1:5]
    return next((line.strip() for line in lines if line.strip()), fn.__name__)


def _single(out: Any, name: str) -> Any:
    if isinstance(out, tuple):
        if len(out) != 1:
            raise ValueError(f"{name}: the 'out' tuple must have exactly one entry per output")
        return out[0]
    return out


def _untangled(target: View, values: Sequence[Any], copies: list[ndarray]) -> tuple[Any, ...]:
    """Return inputs that may be read while `target` is written: copies where they overlap.

    The caller holds `copies` until its command is recorded: a flush before that would drop what nobody holds.
    """
    found = []
    for value in values:
        if clashes(target, value):
            copies.append(fresh(target.buffer.runtime, value.ghost.shape, value.ghost.dtype))
            record_copy(copies[-1]._view, value)
            found.append(copies[-1]._view)
        else:
            found.append(value)
    return tuple(found)


def choose(runtime: Runtime, target: View, mask: ndarray, value: Any, other: View | None) -> None:
    """Record ``target[...] = where(mask, value, other)``; without `other`, zeros."""
    dtype = target.ghost.dtype
    rest: Any = np.zeros((), dtype) if other is None else other
    shape = target.ghost.shape
    for view in (mask._view, value):
        if view.ghost.shape != shape and broadcast_shapes(view.ghost.shape, shape) != shape:
            raise ValueError(f"could not broadcast a mask or values of shape {view.ghost.shape} into shape {shape}")
    copies: list[ndarray] = []
    ins = _untangled(target, (mask._view, value, rest), copies)
    runtime.record(Node("select", MAP, (target,), ins, (BOOL, dtype, dtype, dtype), shape))


def select(condition: Any, x: Any, y: Any) -> ndarray:
    """Return elements of `x` where `condition` is true, of `y` elsewhere."""
    found = plain_operands((condition, x, y))
    if found is not None and not too_large(found[1]):
        return adopted(found[0], quiet_call(np.where, *found[1]))
    again = _SELECT.record((condition, x, y))
    if again is not None:
        return again
    runtime = runtime_for("where", (condition, x, y))
    mask = as_operand(condition, runtime)
    if mask.dtype != BOOL:
        mask = UFUNCS["not_equal"](mask, 0)
    operands = [a if type(a) is ndarray or type(a) in PYTHON_SCALARS else as_operand(a, runtime) for a in (x, y)]
    arrays = [a for a in (mask, *operands) if type(a) is ndarray]
    found = plain_operands((mask, *operands))
    if found is not None and not too_large(found[1]):
        return adopted(runtime, quiet_call(np.where, *found[1]))
    dtype = dtypes.resolve(np.add, tuple(a.dtype if type(a) is ndarray else type(a) for a in operands))[-1]
    shape = broadcast_shapes(*(a.shape for a in arrays))
    result = fresh(runtime, shape, dtype, layout([a._ghost for a in arrays], shape, dtype.itemsize))
    ins = tuple(a._view if type(a) is ndarray else quiet_call(np.asarray(a).astype, dtype) for a in operands)
    loop = (BOOL, dtype, dtype, dtype)
    learns = all(type(a) is ndarray for a in operands)
    sign = _SELECT.learn((mask, *operands), loop, result._view) if learns else None
    runtime.record(Node("select", MAP, (result._view,), (mask._view, *ins), loop, shape, sign=sign))
    return result


_SELECT = Recipes("select")


def check_writeable(array: ndarray, function: str) -> None:
    """Raise as NumPy does where an array must not be written."""
    if array._state == READ_ONLY:
        raise ValueError(f"{function}: assignment destination is read-only")


def assign(target: ndarray, value: ndarray) -> None:
    """Record ``target[...] = value`` with a checked broadcast and any conversion."""
    if small.write(target, ..., value) or target._view is value._view:
        return
    lead = max(value.ndim - target.ndim, 0)
    if any(n != 1 for n in value.shape[:lead]) or not broadcasts_to(value.shape[lead:], target.shape):
        shown = (str(s).replace(" ", "") for s in (value.shape, target.shape))
        raise ValueError("could not broadcast input array from shape {} into shape {}".format(*shown))
    if lead:
        value = value.reshape(value.shape[lead:])
    copies: list[ndarray] = []
    record_copy(target._view, *_untangled(target._view, (value._view,), copies))


def into(result: ndarray, out: Any, function: str, casting: Any = "same_kind") -> ndarray:
    """Return `result`, put into `out` if there is one."""
    out = _single(out, function)
    if out is None:
        return result
    if type(out) is not ndarray:
        raise TypeError(f"{function}: out must be a gpuxp array, not {type(out).__name__}")
    check_writeable(out, function)
    if not np.can_cast(result.dtype, out.dtype, casting):
        raise TypeError(f"{function}: cannot cast the result from {result.dtype} to {out.dtype}, rule {casting!r}")
    if result.shape != out.shape:
        raise ValueError(f"{function}: out has shape {out.shape}, the result has shape {result.shape}")
    assign(out, result)
    return out


def update(array: ndarray, runtime: Runtime, name: str, fn: Any, *operands: Any) -> None:
    """Run ``fn(contents, *operands)``, which changes the contents in place."""
    memory = settled(array)
    plain = [host_operand(o) if type(o) is ndarray else o for o in operands]
    plain = [tuple(host(i) if type(i) is ndarray else i for i in p) if isinstance(p, tuple) else p for p in plain]
    if not runtime.host_visible:
        fallback.on_host(runtime.name, name, "no kernel of its own")
        memory = memory.copy()
        quiet(fn, memory, *plain)
        assign(array, asarray(memory, device=runtime.name))
        return
    runtime.counters["library_calls"] += 1
    quiet(fn, memory, *[_apart(memory, p) for p in plain])


def _apart(memory: Any, operand: Any) -> Any:
    if isinstance(operand, np.ndarray) and np.may_share_memory(memory, operand):
        return operand.copy()
    return operand


UFUNCS: dict[str, ufunc] = {}


def _find(name: str) -> ufunc:
    return UFUNCS[name]


SPECIAL: tuple[str, ...] = ("expit", "logit")  # rows of `gpuxp.special`
_NOT_PUBLIC = ("select", "frexp_mantissa", "frexp_exponent", *SPECIAL)
_ALIASES = {
    "abs": "absolute", "acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan",
    "atan2": "arctan2", "atanh": "arctanh", "bitwise_invert": "invert", "bitwise_not": "invert",
    "bitwise_left_shift": "left_shift", "bitwise_right_shift": "right_shift", "concat": "concatenate",
    "conj": "conjugate", "degrees": "rad2deg", "mod": "remainder", "pow": "power", "radians": "deg2rad",
    "true_divide": "divide",
}  # fmt: skip

for _name, _row in ELEMENTWISE.items():
    UFUNCS[_name] = ufunc(_name, _row)
for _alias, _name in _ALIASES.items():
    if _name in UFUNCS:
        UFUNCS[_alias] = UFUNCS[_name]

PUBLIC = {name: fn for name, fn in UFUNCS.items() if name not in _NOT_PUBLIC}
