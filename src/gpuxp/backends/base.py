"""The backend contract: five methods, and what the device can do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..dtypes import DType
from ..kernel import Kernel


class Arg(NamedTuple):
    """One parameter of a launch: an allocation seen through strides (in bytes) over the loop."""

    mem: Any
    offset: int
    strides: tuple[int, ...]


class Operand(NamedTuple):
    """An array that a native reads or writes: an allocation seen through shape and strides (in bytes)."""

    mem: Any
    offset: int
    strides: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: DType


# native(parameters of the call, what it reads, what it writes); raises `Unsupported` before it writes anything
Native = Callable[[Mapping[str, Any], Sequence[Operand], Sequence[Operand]], None]
# launch(shape of the loop, one Arg per parameter, one NumPy scalar per scalar)
Launch = Callable[[tuple[int, ...], Sequence[Arg], Sequence[Any]], None]


class Held(Protocol):
    """What holds an allocation: a buffer."""

    mem: Any
    address: int  # of the memory; 0: not known yet

    @property
    def base(self) -> int:
        """The address of the memory, where the host sees it."""
        ...


# a launch over loops of one geometry: one holder per parameter, one NumPy scalar per scalar
Placed = Callable[[Sequence[Held], Sequence[Any]], None]


def placed(launch: Launch, shape: tuple[int, ...], places: Sequence[tuple[int, tuple[int, ...]]]) -> Placed:
    """Return a launch over loops of one geometry: by the launch's own method of this name, if it has one.

    `places` are the offset and the strides of each parameter.
    """
    own = getattr(launch, "placed", None)
    if own is not None:
        found: Placed = own(shape, places)
        return found

    def run(held: Sequence[Held], scalars: Sequence[Any]) -> None:
        launch(shape, [Arg(h.mem, *place) for h, place in zip(held, places, strict=True)], scalars)

    return run


class Neighbour(NamedTuple):
    """What a launch has to do with those before and after it; buffers are numbers."""

    buffers: tuple[int, ...]  # of the parameters
    dead: tuple[int, ...]  # nothing uses these afterwards
    shared: tuple[int, int] | None  # the only result, which the next launch alone reads: parameter here and there


class Joint(Protocol):
    """Several launches that run as one pass over memory."""

    launches: int  # how many; 0: it was found that none can
    temporaries: frozenset[int]  # buffers that need no memory
    written: frozenset[int]  # buffers that must not be seen by others meanwhile

    def ready(self) -> int | None:
        """Return the bytes of memory that a run needs for its own use; None: it cannot be done yet, or never."""

    def run(self, scratch: Any, held: Sequence[Sequence[Held]], scalars: Sequence[Sequence[Any]]) -> None:
        """Run all, with that memory."""


Staging = Callable[[int], np.ndarray[Any, Any]]  # gives bytes of the host's memory


def pageable(nbytes: int) -> np.ndarray[Any, Any]:
    """Return memory of the host as NumPy allocates it."""
    return np.empty(nbytes, np.uint8)


@dataclass(frozen=True)
class Caps:
    """What a device can do; everything the runtime needs to know about it."""

    dtypes: frozenset[DType]
    host_visible: bool = False  # a Mem is an array that NumPy can use in place
    max_params: int = 32  # buffers that one kernel may take
    memory: int = 1 << 62  # bytes that one allocation may ask for
    survives_fork: bool = False
    dlpack_device: tuple[int, int] = (1, 0)  # DLPack's name of the memory; other than the host's, a Mem has a `handle`
    share: Callable[[Any], np.ndarray[Any, Any]] | None = None  # a Mem as bytes of the host, where both use one memory
    # the first of some launches, as many as can be, as one pass; None if not even two can
    joint: Callable[[Sequence[Placed], Sequence[Neighbour]], Joint | None] | None = None
    direct: Any = None  # compiled ufuncs for host arrays: `gpuxp.backends.direct.Direct`
    takes: frozenset[int] = frozenset()  # DLPack device types whose arrays `take` copies
    take: Callable[[Any, Operand], None] | None = None  # copy what offers DLPack into memory of the device
    staging: Staging = pageable  # memory of the host that the device copies from fast
    description: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)  # what the device counts for itself; part of `stats()`


class Backend(Protocol):
    """A device's memory, queue and kernel compiler."""

    caps: Caps
    library: Mapping[str, Native]  # natives by the name of the call, such as "matmul"; may be empty

    def alloc(self, nbytes: int) -> Any:
        """Return memory of this size, or raise `MemoryError`."""
        ...

    def write(self, mem: Any, offset: int, host: np.ndarray[Any, Any]) -> None:
        """Copy a contiguous host array to the device."""
        ...

    def read(self, mem: Any, offset: int, host: np.ndarray[Any, Any]) -> None:
        """Copy from the device into a contiguous host array; return when it is there."""
        ...

    def compile(self, kernel: Kernel) -> Launch:
        """Return the kernel, ready to launch, or raise `gpuxp.errors.Unsupported`."""
        ...

    def source(self, kernel: Kernel) -> str:
        """Return the generated code, for people."""
        ...

    def sync(self) -> None:
        """Wait until everything launched has run."""
        ...
