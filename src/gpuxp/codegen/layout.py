"""What a compiled kernel takes for granted about a launch."""

from __future__ import annotations

from typing import NamedTuple


class Layout(NamedTuple):
    """What a compiled kernel takes for granted about its operands."""

    # how the innermost index moves each parameter: "c" to the next element, "p" to the next row of `few`, "s" by a
    # stride, "0" not at all
    inner: str
    columns: bool = False  # a reduction in which neighbours of the loop are kept, not reduced
    streams: bool = False  # a word of the launch table says whether results go past the caches
    # so few elements are reduced that all are at hand at once, for neighbours side by side; of a map: so few are in a
    # row; 0: more
    few: int = 0
