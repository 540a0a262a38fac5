"""CUDA sources without a GPU: NVIDIA's compiler takes them all, and run as C++ they do what the kernel says."""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gpuxp.codegen.cstyle import render
from gpuxp.codegen.spelling import CUDA
from gpuxp.dtypes import STANDARD
from gpuxp.kernel import Inst, Kernel, Reduction, execute
from gpuxp.ops import ELEMENTWISE
from tests.backend import test_opencl as clike
from tests.cuda import compilers
from tests.cuda.compilers import Host, compile_cuda
from tests.cuda.samples import Case, copies, drawn
from tests.pure.test_cstyle import GOLDEN, loops_of

needs_nvrtc = pytest.mark.skipif(compilers.nvrtc() is None, reason=compilers.NO_NVRTC)
needs_gxx = pytest.mark.skipif(not compilers.have_gxx(), reason=compilers.NO_GXX)
ARCHITECTURES = ("compute_75", "sm_80", "sm_90")
BATCH = 28  # rows in one kernel: each has an output of its own


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    return Host(tmp_path_factory.mktemp("cuda"))


def row_kernels(dtype: Any) -> list[Kernel]:
    rows = clike.spellings(dtype)
    return [clike.row_kernel(dtype, rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]


# NVIDIA's compiler


@needs_nvrtc
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("name", sorted(p.name for p in GOLDEN.glob("*.cu")))
def test_nvrtc_compiles_golden_sources(name: str, arch: str) -> None:
    compile_cuda((GOLDEN / name).read_text(), arch)


@needs_nvrtc
@pytest.mark.parametrize("dtype", STANDARD, ids=str)
def test_nvrtc_compiles_every_row_and_cast(dtype: Any) -> None:
    for kernel in row_kernels(dtype):
        compile_cuda(render(kernel, CUDA), "compute_75")
    body = (Inst("load", (), dtype, 0), *(Inst("cast", (0,), d) for d in STANDARD))
    stores = tuple((1 + n, 1 + n) for n in range(len(STANDARD)))
    for bytewise in (False, True):
        kernel = Kernel((dtype, *STANDARD), (), body, stores)
        compile_cuda(render(kernel, CUDA, bytewise=bytewise), "compute_75")


@needs_nvrtc
@pytest.mark.parametrize("name", [n for n, row in ELEMENTWISE.items() if row.associative and row.c])
def test_nvrtc_compiles_every_reduction(name: str) -> None:
    dtypes = [d for d in STANDARD if (d, d, d) in loops_of(name)]
    body = tuple(Inst("load", (), d, n) for n, d in enumerate(dtypes))
    reductions = tuple(Reduction(name, n, len(dtypes) + n) for n in range(len(dtypes)))
    compile_cuda(render(Kernel((*dtypes, *dtypes), (), body, (), reductions, 3, 1), CUDA), "compute_75")


@needs_nvrtc
@pytest.mark.parametrize("exact", [True, False], ids=["exact", "any"])
def test_nvrtc_compiles_random_kernels(exact: bool) -> None:
    cases = drawn(exact)
    assert len(cases) >= 50
    for number, case in enumerate(cases):
        compile_cuda(render(case.kernel, CUDA, bytewise=number % 4 == 0), "compute_75")


@needs_nvrtc
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arithmetic_is_rounded_after_each_step(dtype: str) -> None:
    """No contraction, no approximation, no flushing of subnormal numbers, in the very instructions."""
    d = np.dtype(dtype)
    body = (
        Inst("load", (), d, 0), Inst("load", (), d, 1), Inst("multiply", (0, 1), d), Inst("add", (2, 0), d),
        Inst("divide", (3, 1), d), Inst("sqrt", (4,), d),
    )  # fmt: skip
    text = compile_cuda(render(Kernel((d, d, d), (), body, ((2, 5),)), CUDA), "compute_75")
    bits = f"f{8 * d.itemsize}"
    for wanted in ("mul", "add", "div", "sqrt"):
        assert re.search(rf"\b{wanted}\.rn\.{bits}", text), wanted
    assert not re.search(r"fma\.|\.ftz|\.approx", text)


@needs_nvrtc
def test_a_source_that_is_wrong_is_refused() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        compile_cuda('extern "C" __global__ void f(float* a) { a[0] = nowhere; }', "compute_75")


# The same source on the host


@needs_gxx
@pytest.mark.parametrize("dtype", STANDARD, ids=str)
def test_every_row_matches_numpy(host: Host, dtype: Any) -> None:
    rows = clike.spellings(dtype)
    batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    host.build_all([render(kernel, CUDA) for kernel in row_kernels(dtype)])
    assert not [wrong for batch in batches for wrong in clike.mismatches(host, dtype, batch)]


@needs_gxx
def test_choices_casts_and_conversions(host: Host) -> None:
    clike.test_select_takes_every_dtype({"alone": host})
    for source in STANDARD:
        clike.test_casts_follow_numpy({"alone": host}, source)
    for dtype in ("float32", "float64"):
        clike.test_conversions_out_of_range_are_defined({"alone": host}, dtype)


@needs_gxx
def test_reductions(host: Host) -> None:
    for op in ("add", "logical_or"):
        clike.test_reductions_have_the_canonical_order(host, op)
    clike.test_one_kernel_stores_and_reduces(host)
    clike.test_sums_of_nothing_and_of_negative_zeros(host)


@needs_gxx
def test_parameters_off_their_alignment_and_many_scalars(host: Host) -> None:
    clike.test_parameters_off_their_alignment(host)
    clike.test_many_scalars_do_not_fit_by_value(host)


def run(host: Host, case: Case) -> list[Any]:
    arrays = list(copies(case))
    clike.launch(host, case.kernel, case.shape, arrays, case.scalars)
    return arrays


def differences(host: Host, cases: Sequence[Case]) -> list[str]:
    host.wanted = []  # first see which sources are needed, and compile them together
    for case in cases:
        run(host, case)
    wanted, host.wanted = host.wanted, None
    host.build_all(wanted)
    found = []
    for case in cases:
        want = list(copies(case))
        with warnings.catch_warnings(action="ignore"):
            execute(case.kernel, case.shape, want, case.scalars)
        got = run(host, case)
        wrong = [p for p in case.kernel.outputs if clike.ulps(want[p].ravel(), got[p].ravel())]
        found += [f"p{p} over {case.shape} of\n{case.kernel.pretty()}" for p in wrong]
    return found


@needs_gxx
def test_random_kernels_match_the_oracle(host: Host) -> None:
    """Exact rows, casts and reductions, over strided, reversed, broadcast and unaligned memory."""
    cases = drawn(exact=True)
    assert sum(bool(case.kernel.reductions) for case in cases) > len(cases) // 10
    assert not differences(host, cases)


@needs_gxx
def test_undefined_behaviour_is_noticed(host: Host) -> None:
    if not compilers._sanitizer():
        pytest.skip("g++ has no libubsan here: apt-get install g++ brings it on Debian")
    i4 = np.dtype(np.int32)
    body = (Inst("load", (), i4, 0), Inst("load", (), i4, 1), Inst("add", (0, 1), i4))
    kernel = Kernel((i4, i4, i4), (), body, ((2, 2),))
    x = np.full(3, 2**31 - 1, np.int32)
    assert not differences(host, [Case(kernel, (3,), [x, x, x * 0], [])])
    broken = Host(host._folder)
    wrapping = "(int)((uint)v0 + (uint)v1)"
    assert wrapping in render(kernel, CUDA)
    build = broken.build
    broken.build = lambda source: build(source.replace(wrapping, "v0 + v1"))  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="undefined"):
        clike.launch(broken, kernel, (3,), [x, x, x.copy()])


@needs_gxx
def test_a_wrong_source_is_noticed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the comparison is worth: break barriers, the loop's end, and a rule for integers."""
    f8, i4 = np.dtype(np.float64), np.dtype(np.int32)
    total = Kernel((f8, f8), (), (Inst("load", (), f8, 0),), (), (Reduction("add", 0, 1),), 1, 0)
    quotient = Kernel(
        (i4, i4, i4), (),
        (Inst("load", (), i4, 0), Inst("load", (), i4, 1), Inst("remainder", (0, 1), i4)), ((2, 2),),
    )  # fmt: skip
    x = np.random.default_rng(0).random(700)
    n = np.arange(-300, 300, dtype=np.int32)
    cases = [Case(total, (700,), [x, np.zeros(())], []), Case(quotient, (600,), [n, n[::-1].copy(), n * 0], [])]
    changes = ("__syncthreads();", ""), ("i0 < a.shape[0]", "i0 < a.shape[0] - 1"), ("(r < 0) != (b < 0)", "false")
    for (old, new), case in itertools.product(changes, cases):
        fresh = Host(host._folder)
        assert not differences(fresh, [case])
        broken = Host(host._folder)
        monkeypatch.setattr(broken, "build", lambda s, h=fresh, o=old, w=new: h.build(s.replace(o, w)))
        changed = old in render(case.kernel, CUDA)
        assert bool(differences(broken, [case])) == changed
