"""From a kernel to LLVM IR: the software GPU's compiled tier.

A kernel becomes one function over a range of units: pieces of rows for a map, blocks for a reduction. Sizes, strides,
addresses and scalars come in one table of words, so the text depends on the kernel and its `Layout` alone. What LLVM
has no exact instruction for is left to NumPy's own inner loops, called on pieces that stay in the first-level cache:
that keeps the bits of both tiers, and of NumPy, equal.
"""

from __future__ import annotations

from typing import NamedTuple

from ..errors import Unsupported
from ..kernel import Kernel
from .layout import Layout
from .llvmbody import Call, Writer
from .llvmops import type_of
from .llvmreduce import Reducer


class Source(NamedTuple):
    """A rendered kernel."""

    text: str
    calls: tuple[Call, ...]  # the loops whose addresses it expects
    streams: bool  # whether it can stream its results


def render(kernel: Kernel, layout: Layout) -> Source:
    """Return the kernel as LLVM IR, or raise `Unsupported`."""
    for dtype in (*kernel.params, *kernel.scalars, *(i.dtype for i in kernel.body)):
        if type_of(dtype) is None:
            raise Unsupported(f"{dtype} is not compiled")
    writer = (Reducer if kernel.reductions else Mapper)(kernel, layout)
    text = writer.text()
    return Source(text, tuple(writer.calls), bool(writer.streamed))


class Mapper(Writer):
    """Writes a kernel without reductions."""

    def loops(self) -> None:
        """Write the loops over the pieces."""
        last = self.kernel.ndim - 1
        if self.layout.few:
            self._units(lambda row: self.body(
                self._moved(self._bases(), self._split(row, range(last))), str(self.layout.few), "0", last
            ))  # fmt: skip
            return
        extent = self.shape[last]
        pieces = self.emit(f"udiv i64 {self.add(extent, self.emit(f'sub i64 {self.step}, 1'))}, {self.step}")

        def unit(number: str) -> None:
            along, indices = number, {}
            if last:
                along = self.emit(f"urem i64 {number}, {pieces}")
                indices = self._split(self.emit(f"udiv i64 {number}, {pieces}"), range(last))
            start = self.mul(along, self.step)
            pointers = self._moved(self._bases(), {**indices, last: start})
            size = self.least(self.emit(f"sub i64 {extent}, {start}"), self.step)
            self.body(pointers, size, start, last)

        self._units(unit)
