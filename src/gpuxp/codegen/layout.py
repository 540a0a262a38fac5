"""What a compiled kernel takes for granted about a launch."""

from __future__ import annotations

from typing import NamedTuple


class Layout(NamedTuple):
    """What a compiled kernel takes for granted about its operands."""

    inner: str  # how the innermost index moves each parameter: "c" to the next element, "0" not at all, "s" by a stride
    columns: bool = False  # a reduction in which neighbours of the loop are kept, not reduced
    streams: bool = False  # a word of the launch table says whether results go past the caches
