"""Source text: golden kernels, the whole table in each dialect, and the arithmetic of launches. No device is needed.

``python -m tests.pure.test_cstyle`` writes the golden files anew; read the difference before it is committed.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuxp.backends import launching
from gpuxp.backends.base import Arg
from gpuxp.codegen.cstyle import ENTRY, fits_by_value, place_format, render, scalar_format
from gpuxp.codegen.spelling import _HELPERS, CUDA, OPENCL, OPENCL_CPU, cast
from gpuxp.dtypes import BOOL, STANDARD
from gpuxp.errors import Unsupported
from gpuxp.kernel import BLOCK, LANES, Inst, Kernel, Reduction
from gpuxp.ops import ELEMENTWISE

GOLDEN = Path(__file__).parent / "golden"
F4, F8, I4, I8, C8 = (np.dtype(d) for d in ("float32", "float64", "int32", "int64", "complex64"))
DIALECTS = {"alone": OPENCL_CPU, "group": OPENCL, "cuda": CUDA}

SAXPY = Kernel(
    (F4, F4), (F4,),
    (
        Inst("load", (), F4, 0), Inst("scalar", (), F4, 0), Inst("multiply", (0, 1), F4), Inst("load", (), F4, 1),
        Inst("add", (2, 3), F4),
    ),
    ((1, 4),), (), 3, 3,
)  # fmt: skip
INTEGERS = Kernel(
    (I4, I8, BOOL), (),
    (
        Inst("index", (), I8), Inst("literal", (), I8, 3), Inst("floor_divide", (0, 1), I8), Inst("cast", (2,), I4),
        Inst("left_shift", (3, 3), I4), Inst("cast", (2,), F8), Inst("cast", (5,), I8), Inst("cast", (5,), BOOL),
    ),
    ((0, 4), (1, 6), (2, 7)),
)  # fmt: skip
PRODUCT = Kernel(
    (C8, C8, C8), (C8,),
    (
        Inst("load", (), C8, 0), Inst("load", (), C8, 1), Inst("multiply", (0, 1), C8), Inst("scalar", (), C8, 0),
        Inst("divide", (2, 3), C8),
    ),
    ((2, 4),),
)  # fmt: skip
MOMENTS = Kernel(
    (F8, F8, F8, F8), (),
    (Inst("load", (), F8, 0), Inst("multiply", (0, 0), F8)),
    ((3, 1),), (Reduction("add", 1, 1), Reduction("maximum", 0, 2)), 3, 1,
)  # fmt: skip

RENDERED: dict[str, Any] = {
    "saxpy-group.cl": lambda: render(SAXPY, OPENCL),
    "saxpy-alone.cl": lambda: render(SAXPY, OPENCL_CPU),
    "integers.cl": lambda: render(INTEGERS, OPENCL),
    "complex-bytewise.cl": lambda: render(PRODUCT, OPENCL, bytewise=True),
    "moments-group.cl": lambda: render(MOMENTS, OPENCL),
    "moments-rows.cl": lambda: render(MOMENTS, OPENCL_CPU),
    "moments-columns.cl": lambda: render(MOMENTS, OPENCL_CPU, columns=True),
    "saxpy.cu": lambda: render(SAXPY, CUDA),
    "integers.cu": lambda: render(INTEGERS, CUDA),
    "complex.cu": lambda: render(PRODUCT, CUDA),
    "complex-bytewise.cu": lambda: render(PRODUCT, CUDA, bytewise=True),
    "moments.cu": lambda: render(MOMENTS, CUDA),
}


@pytest.mark.parametrize("name", RENDERED)
def test_golden_source(name: str) -> None:
    assert RENDERED[name]() == (GOLDEN / name).read_text()


def _struct_format(kernel: Kernel) -> str:
    return place_format(kernel) + "".join(scalar_format(d) for d in kernel.scalars)


@pytest.mark.parametrize("kernel", [SAXPY, INTEGERS, PRODUCT, MOMENTS], ids=["saxpy", "integers", "product", "moments"])
def test_golden_kernels_are_well_formed(kernel: Kernel) -> None:
    kernel.verify()


def loops_of(name: str) -> list[tuple[Any, ...]]:
    """Return the dtypes, inputs then result, for which a row has C."""
    row = ELEMENTWISE[name]
    if name == "select":
        return [(BOOL, d, d, d) for d in STANDARD]
    found = []
    for dtype in STANDARD:
        if dtype.kind in row.c or ("*" in row.c and dtype.kind in "biuf"):
            try:
                loop = row.ufunc.resolve_dtypes((dtype,) * row.nin + (None,) * row.ufunc.nout)
            except TypeError:
                continue
            found.append((*loop[: row.nin], loop[-1]))
    return found


def one_row(name: str, loop: tuple[Any, ...]) -> Kernel:
    nin = len(loop) - 1
    body = (*(Inst("load", (), d, n) for n, d in enumerate(loop[:nin])), Inst(name, tuple(range(nin)), loop[-1]))
    return Kernel(loop, (), body, ((nin, nin),))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", [n for n, row in ELEMENTWISE.items() if row.c])
def test_every_spelled_row_renders(name: str, dialect: str) -> None:
    loops = loops_of(name)
    assert loops
    for loop in loops:
        text = render(one_row(name, loop), DIALECTS[dialect])
        assert_plain(text)


def assert_plain(text: str) -> None:
    """Braces close, no field of a template is left, and all helpers are defined before they are called."""
    assert text.count("{") == text.count("}")
    assert text.count("(") == text.count(")")
    assert not re.search(r"\{[0-9A-Z]", text)
    known: set[str] = set()
    for line in text.splitlines():
        defined = re.match(r"(?:__device__ )?\w+ (gpx_\w+)\(", line)
        called = set(re.findall(r"gpx_\w+", line)) - ({defined[1]} if defined else set())
        assert called <= known, line
        if defined:
            known.add(defined[1])


@pytest.mark.parametrize("name", [n for n, row in ELEMENTWISE.items() if row.associative and row.c])
def test_every_reduction_renders(name: str) -> None:
    for dtype in (d for d in STANDARD if (d, d, d) in loops_of(name)):
        kernel = Kernel((dtype, dtype), (), (Inst("load", (), dtype, 0),), (), (Reduction(name, 0, 1),), 2, 1)
        for dialect in DIALECTS.values():
            for columns in (False, True):
                assert_plain(render(kernel, dialect, columns=columns))


def test_every_helper_is_used() -> None:
    templates = " ".join(c for row in ELEMENTWISE.values() for c in row.c.values()) + " ".join(_HELPERS.values())
    templates += " ".join(cast("x", s, d, OPENCL) for s in STANDARD for d in STANDARD)
    for helper in _HELPERS:
        assert f"gpx_{helper.partition(':')[0]}_" in templates


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        (one_row("add", (np.dtype("float16"),) * 3), "float16"),
        (one_row("hypot", (C8, C8, C8)), "hypot of complex64"),
        (one_row("maximum", (C8, C8, C8)), "maximum of complex64"),
        (one_row("spacing", (F8, F8)), "spacing of float64"),
    ],
)
def test_what_has_no_spelling_says_so(kernel: Kernel, reason: str) -> None:
    with pytest.raises(Unsupported, match=reason):
        render(kernel, OPENCL)


def test_the_text_depends_on_structure_alone() -> None:
    assert render(SAXPY, OPENCL) == render(SAXPY.over(3, 3), OPENCL)
    assert render(SAXPY, OPENCL) != render(SAXPY.over(2, 2), OPENCL)
    assert ENTRY in render(SAXPY, OPENCL)


# Launches


@pytest.mark.parametrize("kernel", [SAXPY, INTEGERS, PRODUCT, MOMENTS], ids=["saxpy", "integers", "product", "moments"])
def test_the_struct_has_the_layout_of_its_format(kernel: Kernel) -> None:
    """Count the struct's bytes as C does: every field has eight bytes, or two of four."""
    declared = re.search(r"typedef struct \{(.*?)\} launch;", render(kernel, OPENCL), re.DOTALL)
    assert declared is not None
    size = 0
    for c_type, names in re.findall(r"(\w+) ([^;]+);", declared[1]):
        for name in names.split(","):
            size += {"float": 4}.get(c_type, 8) * math.prod(int(n) for n in re.findall(r"\[(\d+)\]", name))
    assert struct.calcsize(_struct_format(kernel)) == size


def test_packing_counts_elements_or_bytes() -> None:
    packer = launching.Packer(PRODUCT)
    args = [Arg(None, 16, (24,)), Arg(None, 4, (8,)), Arg(None, 0, (-8,))]
    assert packer.aligned(args)
    form = _struct_format(PRODUCT)
    given = packer.scalars([2 + 3j])
    assert struct.unpack(form, packer.place((5,), args, False) + given) == (5, 16, 4, 0, 6, 2, -2, 2, 3)
    assert struct.unpack(form, packer.place((5,), args, True) + given) == (5, 16, 4, 0, 24, 8, -8, 2, 3)
    assert not packer.aligned([Arg(None, 2, (24,)), *args[1:]])
    assert not packer.aligned([Arg(None, 0, (6,)), *args[1:]])


def test_scalars_keep_their_values() -> None:
    dtypes = [d for d in STANDARD if d.kind != "c"]
    kernel = Kernel((F8,), tuple(dtypes), tuple(Inst("scalar", (), d, n) for n, d in enumerate(dtypes)), ())
    values = [d.type(1) if d.kind == "b" else np.iinfo(d).max if d.kind in "iu" else d.type(0.1) for d in dtypes]
    packer = launching.Packer(kernel)
    packed = packer.place((1,), [Arg(None, 0, (0,))], False) + packer.scalars(values)
    assert struct.unpack(_struct_format(kernel), packed)[3:] == tuple(values)


def test_a_large_struct_comes_through_constant_memory() -> None:
    body = tuple(Inst("scalar", (), F8, n) for n in range(200))
    kernel = Kernel((F8,), (F8,) * 200, body, ((0, 199),))
    assert not fits_by_value(kernel, OPENCL)
    assert "constant const launch* a" in render(kernel, OPENCL)
    assert fits_by_value(SAXPY, OPENCL)
    assert "const launch a" in render(kernel, CUDA)
    assert not fits_by_value(replace(kernel, scalars=(F8,) * 300), CUDA)


MACHINES = [SimpleNamespace(dialect=d, units=4, local_bytes=16384) for d in DIALECTS.values()]
extents = st.lists(st.integers(1, 5000), min_size=1, max_size=3).map(tuple)


@given(extents, st.booleans())
def test_map_grids_cover_the_loop(shape: tuple[int, ...], group: bool) -> None:
    grid = launching.map_grid(shape, group, 4)
    assert 1 <= math.prod(grid.threads) <= launching.GROUP
    assert min(grid.groups) >= 1
    assert max(grid.groups) <= 65535
    if group and math.prod(shape) < 65535:
        assert grid.items[0] >= shape[-1]
        assert grid.items[1] >= math.prod(shape[:-1])


@given(extents, st.integers(0, 3), st.booleans())
def test_reduce_grids_cover_the_loop(shape: tuple[int, ...], kept: int, columns: bool) -> None:
    kept = min(kept, len(shape))
    columns = columns and kept > 0
    body = (Inst("load", (), F8, 0),)
    kernel = Kernel((F8, F8), (), body, (), (Reduction("add", 0, 1),), len(shape), kept)
    outer, blocks = math.prod(shape[:kept]), launching.blocks_of(shape, kept)
    assert (blocks - 1) * BLOCK < math.prod(shape[kept:]) <= blocks * BLOCK
    alone, group, _ = (launching.reduce_grid(kernel, shape, columns, machine) for machine in MACHINES)
    assert alone.threads == (1, 1)
    width, workers = group.threads
    assert width * workers == launching.WORKERS
    assert group.groups[0] * width >= outer * blocks
    assert min(LANES, math.prod(shape[kept:])) * width * 8 <= group.scratch <= 16384


@pytest.mark.parametrize("shape", [(1,), (3, 4), (2, 1, 5)])
def test_packed_strides_are_numpys(shape: tuple[int, ...]) -> None:
    assert launching.packed_strides(shape, 8) == np.empty(shape).strides


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, made in RENDERED.items():
        (GOLDEN / name).write_text(made())
