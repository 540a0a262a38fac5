"""Buffers, and the views that commands read and write."""

from __future__ import annotations

import weakref
from collections.abc import Set as AbstractSet
from sys import getrefcount
from typing import TYPE_CHECKING, Any

import numpy as np

from .geometry import VOID_ADDRESS, Ghost, Key, address, key_of, start_of

if TYPE_CHECKING:
    from .runtime import Runtime


class Buffer:
    """One allocation of one device, made when the first command needs it.

    While its owner lives (the first array that saw it, which all views of that array hold), somebody can still see the
    buffer. The two share an object, `life`, that nobody else holds: its reference count says whether the owner is still
    there. The tape holds buffers and never an owner. No finalizer runs, threads cannot miscount, and the garbage
    collector has nothing to walk or to clear.
    """

    # class attributes hold what most buffers never change, so that making one costs little
    life: object = None  # of the array that owns the buffer
    write_epoch = 0  # the tape's epoch in which a recorded command last writes (reads) this buffer
    read_epoch = 0
    error: BaseException | None = None  # why the contents could not be computed
    exports: AbstractSet[weakref.ref[Any]] = frozenset()  # what other libraries hold of this memory
    foreign = False  # memory that came from another library, which may change it at any time
    address = 0  # of the memory, where it is known
    made = 0  # the epoch whose flush gave the buffer its memory
    fixed = False  # its contents follow from its geometry, and nobody changes them

    def __init__(self, runtime: Runtime, nbytes: int, mem: Any = None) -> None:
        self.runtime = runtime
        self.nbytes = nbytes
        self.mem = mem  # the backend's memory object; None until needed

    @property
    def base(self) -> int:
        """Address of the memory, which ghosts over it count from."""
        if not self.address:
            self.address = start_of(self.mem)
        return self.address

    @property
    def exported(self) -> bool:
        """Whether another library still holds a view of this memory."""
        return bool(self.exports)

    @property
    def wanted(self) -> bool:
        """Whether the contents can still be seen after the tape has run."""
        return (self.life is not None and getrefcount(self.life) > _UNOWNED) or bool(self.exports)

    @property
    def shared(self) -> bool:
        """Whether another library can see this memory, so that commands must run in step with it."""
        return self.foreign or self.exported

    def overlaps(self, other: Buffer) -> bool:
        """Whether another buffer is over the same memory: it went to another library and came back."""
        return self.shared and other.shared and bool(np.may_share_memory(self.mem, other.mem))


def _references() -> int:
    """Return how many references to its life a buffer without an owner counts."""
    buffer = Buffer(None, 0)  # type: ignore[arg-type]
    buffer.life = object()
    return getrefcount(buffer.life)


_UNOWNED = _references()


class View:
    """A buffer seen through a dtype, shape, strides and offset. Immutable.

    `ghost` lies over the void, or (`real`) over the buffer's own memory; then it is also the host's way to the data.
    """

    __slots__ = ("_covers", "_key", "buffer", "ghost", "known", "real")

    def __init__(self, buffer: Buffer, ghost: Ghost, real: bool = False, key: Key | None = None) -> None:
        self.buffer = buffer
        self.ghost = ghost
        self.real = real
        self._key = self.known = key  # of a whole new buffer: views of one geometry share it
        self._covers: bool | None = None

    @property
    def key(self) -> Key:
        """The geometry, relative to the buffer."""
        found = self._key
        if found is None:
            start = self.buffer.base if self.real else VOID_ADDRESS
            found = self._key = key_of(address(self.ghost) - start, self.ghost)
        return found

    @property
    def offset(self) -> int:
        """Offset of the first element in bytes."""
        return self.key[0]

    def with_ghost(self, ghost: Ghost) -> View:
        """Return another view of the same buffer, made from this one's ghost by NumPy."""
        return View(self.buffer, ghost, self.real)

    def extent(self) -> tuple[int, int]:
        """Return the byte range that the view touches."""
        low = high = self.offset
        for stride, extent in zip(self.ghost.strides, self.ghost.shape, strict=True):
            reach = stride * (extent - 1)
            low, high = low + min(reach, 0), high + max(reach, 0)
        return low, high + self.ghost.itemsize

    def covers(self) -> bool:
        """Whether the view holds every byte of its buffer exactly once."""
        found = self._covers
        if found is None:
            ghost = self.ghost
            found = self._covers = ghost.nbytes == self.buffer.nbytes and (
                ghost.flags.c_contiguous or ghost.flags.f_contiguous or _packed(ghost)
            )
        return found


def _packed(ghost: Ghost) -> bool:
    """Whether some order of the axes makes the array contiguous."""
    reach = ghost.itemsize
    for stride, extent in sorted((abs(s), n) for s, n in zip(ghost.strides, ghost.shape, strict=True) if n > 1):
        if stride != reach:
            return False
        reach *= extent
    return True


def host_memory(array: Ghost) -> Ghost:
    """Return the block of memory that an array lies in, contiguous, so that views can be laid over it."""
    if array.flags.c_contiguous:
        return array
    if array.flags.f_contiguous:
        return array.T
    low, high = np.lib.array_utils.byte_bounds(array)
    return np.asarray(_Memory(array, low, high))


class _Memory:
    """A block of foreign memory, kept alive by the array it came from."""

    def __init__(self, array: Ghost, low: int, high: int) -> None:
        self.array = array
        self.__array_interface__ = {
            "shape": (high - low,), "typestr": "|u1", "data": (low, not array.flags.writeable), "version": 3,
        }  # fmt: skip
