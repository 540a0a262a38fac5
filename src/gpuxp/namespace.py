"""The namespaces: `gpuxp` itself for the default device, and one object per device for arrays of other devices."""

from __future__ import annotations

import functools
import importlib
import types
from typing import Any

import numpy as np

from . import (
    creation,
    devices,
    elementwise,
    hostnames,
    indexing,
    manipulation,
    methods,
    reductions,
    searching,
)
from .array import ndarray
from .convert import evaluate
from .dtypes import COMPLEX128, FLOAT64, INT64, INTP, KINDS, NAMES, STANDARD, DType
from .errors import AxisError
from .explain import explain
from .geometry import broadcast_shapes
from .ufunc import PUBLIC, ufunc

VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12")

_CHAPTERS: dict[Any, str] = {
    creation: " ".join(creation.MAKERS)
    + " asarray_chkfinite empty_like full_like meshgrid ones_like tril triu zeros_like",
    manipulation: "array_split atleast_1d atleast_2d atleast_3d block broadcast_arrays "
    "broadcast_to column_stack concatenate diagonal dsplit dstack expand_dims flip fliplr flipud hsplit hstack "
    "matrix_transpose moveaxis permute_dims ravel repeat reshape resize roll rollaxis "
    "rot90 split squeeze stack swapaxes tile trace transpose unstack vsplit vstack",
    reductions: "all amax amin any argmax argmin average count_nonzero cumprod cumsum cumulative_prod cumulative_sum "
    "max mean min prod ptp std sum var",
    searching: "argsort argwhere flatnonzero isin isscalar nonzero searchsorted sort unique unique_all unique_counts "
    "unique_inverse unique_values where",
    indexing: "copyto fill_diagonal place put put_along_axis putmask take take_along_axis",
    elementwise: "allclose angle array_equal array_equiv astype can_cast clip common_type diff divmod finfo fix frexp "
    "iinfo imag isclose iscomplex iscomplexobj isdtype isneginf isposinf isreal isrealobj matmul may_share_memory "
    "min_scalar_type modf nan_to_num ndim outer real result_type round shape shares_memory sinc size",
    methods: "copy isfortran require",
}

# Names that are loaded when they are asked for: chapters, and functions of them
LATE = {name: name for name in ("fft", "linalg", "random", "special")} | {
    **dict.fromkeys(("dot", "tensordot", "vecdot"), "linalg"),
    **dict.fromkeys(hostnames.NAMES, "hostnames"),
}

_DTYPES = {name: getattr(np, name) for name in NAMES if name != "bool"} | {
    "bool": np.bool_, "bool_": np.bool_, "byte": np.byte, "ubyte": np.ubyte, "short": np.short, "ushort": np.ushort,
    "intc": np.intc, "uintc": np.uintc, "int_": np.int_, "uint": np.uint, "intp": np.intp, "uintp": np.uintp,
    "long": np.long, "ulong": np.ulong, "longlong": np.longlong, "ulonglong": np.ulonglong, "half": np.half,
    "single": np.single, "double": np.double, "csingle": np.csingle, "cdouble": np.cdouble, "generic": np.generic,
    "number": np.number, "integer": np.integer, "signedinteger": np.signedinteger,
    "unsignedinteger": np.unsignedinteger, "inexact": np.inexact, "floating": np.floating,
    "complexfloating": np.complexfloating, "dtype": np.dtype,
}  # fmt: skip

# NumPy's own, which need no device
_SHARED = {
    "False_": np.False_, "True_": np.True_, "exceptions": np.exceptions, "broadcast": np.broadcast,
    "str_": np.str_, "bytes_": np.bytes_, "object_": np.object_, "void": np.void, "character": np.character,
    "flexible": np.flexible, "datetime64": np.datetime64, "timedelta64": np.timedelta64,
    "e": np.e, "euler_gamma": np.euler_gamma, "inf": np.inf, "nan": np.nan, "newaxis": None, "pi": np.pi,
    "errstate": np.errstate, "geterr": np.geterr, "seterr": np.seterr, "get_printoptions": np.get_printoptions,
    "set_printoptions": np.set_printoptions, "printoptions": np.printoptions, "promote_types": np.promote_types,
    "issubdtype": np.issubdtype, "iterable": np.iterable, "ndindex": np.ndindex, "typename": np.typename,
    "broadcast_shapes": broadcast_shapes, "ScalarType": np.ScalarType, "typecodes": np.typecodes,
}  # fmt: skip


def ndenumerate(arr: Any) -> Any:
    """Yield index and value of each element."""
    return np.ndenumerate(np.asarray(arr))


class Info:
    """What a namespace offers, as the standard's inspection functions tell it.

    Examples
    --------
    >>> import gpuxp as np
    >>> np.__array_namespace_info__().default_device()
    'cpu'
    """

    def __init__(self, device: str | None = None) -> None:
        self._device = device

    def capabilities(self) -> dict[str, Any]:
        """Return what the library supports."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> devices.Device:
        """Return the device that new arrays go to."""
        return devices.Device(self._device or devices.default_device())

    def default_dtypes(self, *, device: object = None) -> dict[str, DType]:
        """Return the dtypes that Python numbers get."""
        return {"real floating": FLOAT64, "complex floating": COMPLEX128, "integral": INT64, "indexing": INTP}

    def dtypes(self, *, device: object = None, kind: Any = None) -> dict[str, DType]:
        """Return the dtypes of a device, of one kind (or a tuple of kinds), by name."""
        runtime = devices.runtime_of(device if device is not None else self._device)
        have = {d.name: d for d in STANDARD if d in runtime.backend.caps.dtypes}
        if kind is None:
            return have
        kinds = kind if isinstance(kind, tuple) else (kind,)
        unknown = [k for k in kinds if k not in KINDS]
        if unknown:
            raise ValueError(f"dtypes: unknown kind {unknown[0]!r}; the kinds are {', '.join(KINDS)}")
        names = {name for k in kinds for name in KINDS[k]}
        return {name: dtype for name, dtype in have.items() if name in names}

    def devices(self) -> tuple[devices.Device, ...]:
        """Return the devices of this machine."""
        return devices.devices()


def _names() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for module, names in _CHAPTERS.items():
        found |= {name: getattr(module, name) for name in names.split()}
    found |= PUBLIC | _DTYPES | _SHARED
    found |= {
        "concat": found["concatenate"], "row_stack": found["vstack"], "around": found["round"],
        "ndarray": ndarray, "ufunc": ufunc, "ndenumerate": ndenumerate,
        "lib": manipulation.lib, "evaluate": evaluate, "explain": explain, "AxisError": AxisError,
    }  # fmt: skip
    return found


_members = _names()
_members["__array_namespace_info__"] = Info


def members() -> dict[str, Any]:
    """Return what is loaded so far of the namespace, by name."""
    return _members


def names() -> list[str]:
    """Return every name of the namespace."""
    return [*_members, *(name for name in LATE if name not in _members)]


def member(name: str) -> Any:
    """Return what a name stands for; chapters that few programs need are loaded now."""
    if name not in _members and name in LATE:
        chapter = importlib.import_module(f"gpuxp.{LATE[name]}")
        _members[name] = chapter if LATE[name] == name else getattr(chapter, name)
    try:
        return _members[name]
    except KeyError:
        raise AttributeError(
            f"module 'gpuxp' has no attribute {name!r}; the names it has are in docs/coverage.md"
        ) from None


class DeviceNamespace(types.ModuleType):
    """`gpuxp` with another default device; one object a device, so that it can be compared and hashed."""

    def __init__(self, device: str) -> None:
        super().__init__("gpuxp.on_" + device.replace(":", "_"), f"The namespace of gpuxp arrays on {device}.")
        self.__dict__.update(_members)
        self.__array_api_version__ = VERSIONS[-1]
        self.__array_namespace_info__ = functools.partial(Info, device)
        for name in creation.MAKERS:
            setattr(self, name, _bound(_members[name], device))
        fft = member("fft")
        submodule = types.ModuleType(f"{self.__name__}.fft", fft.__doc__)
        submodule.__dict__.update({name: getattr(fft, name) for name in fft.__all__})
        for name in ("fftfreq", "rfftfreq"):
            setattr(submodule, name, _bound(getattr(fft, name), device))
        self.fft = submodule

    def __getattr__(self, name: str) -> Any:
        found = self.__dict__[name] = member(name)
        return found

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *names()})

    def __reduce__(self) -> Any:
        return namespace_of, (self.__name__.removeprefix("gpuxp.on_").replace("_", ":"),)


def _bound(fn: Any, device: str) -> Any:
    """Return a creation function whose default device is `device`."""

    @functools.wraps(fn)
    def create(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("device") is None and not any(type(a) is ndarray for a in args):
            kwargs["device"] = device
        return fn(*args, **kwargs)

    return create


@functools.cache
def namespace_of(device: str) -> DeviceNamespace:
    """Return the namespace whose default device is `device`."""
    return DeviceNamespace(device)


def array_namespace(self: ndarray, /, *, api_version: str | None = None) -> Any:
    """Return the namespace of the array's device."""
    if api_version is not None and api_version not in VERSIONS:
        raise ValueError(f"__array_namespace__: unknown API version {api_version!r}; gpuxp has {', '.join(VERSIONS)}")
    name = self._runtime.name
    if name == devices.runtime_of().name:
        return _main()
    return namespace_of(name)


def _main() -> Any:
    import gpuxp  # the package that this module is a part of: complete by the time an array exists

    return gpuxp


ndarray.__array_namespace__ = array_namespace  # type: ignore[attr-defined]
