"""Devices that fail: out of memory, compilers that refuse, drivers that are gone. The libraries are made to fail."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

import gpuxp as np
from gpuxp import fallback
from gpuxp.backends import opencl
from gpuxp.devices import runtime_of

DEVICE = "opencl:0"
cl: Any = opencl.cl
pytestmark = pytest.mark.skipif(not opencl.list_devices(), reason="needs OpenCL: apt-get install pocl-opencl-icd")


@pytest.fixture
def backend() -> Iterator[Any]:
    """The device's backend, with every kernel to be compiled anew."""
    runtime = runtime_of(DEVICE)
    with np.device(DEVICE), np.configure(fallback="error"):
        yield runtime.backend
    runtime.forget()
    for kept in (runtime.logs, runtime.backend._programs._found):  # type: ignore[attr-defined]
        kept.clear()
    fallback._seen.clear()


def error(code: str) -> Exception:
    """Return what PyOpenCL raises for a status."""
    kind = cl.MemoryError if "ALLOCATION" in code or "OUT_OF" in code else cl.RuntimeError
    made: Exception = kind(cl._cl._ErrorRecord("a fault", getattr(cl.status_code, code), ""))
    return made


def at(array: Any, place: int) -> float:
    """Read a whole array and return one of its elements: no kernel runs for that."""
    return float(numpy.asarray(array)[place])


class Faulty:
    """Calls a function, but raises on some calls."""

    def __init__(self, fn: Callable[..., Any], code: str, times: int) -> None:
        self.fn, self.code, self.left, self.calls = fn, code, times, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.left > 0:
            self.left -= 1
            raise error(self.code)
        return self.fn(*args, **kwargs)


class Pool:
    """PyOpenCL's pool with a faulty `allocate`."""

    def __init__(self, pool: Any, times: int) -> None:
        self._pool, self.freed = pool, 0
        self.allocate = Faulty(pool.allocate, "MEM_OBJECT_ALLOCATION_FAILURE", times)

    def free_held(self) -> None:
        """Count, and do it."""
        self.freed += 1
        self._pool.free_held()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)


def test_out_of_memory_frees_the_pool_and_tries_again(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(backend._pool, times=1)
    monkeypatch.setattr(backend, "_pool", pool)
    assert (np.ones(5) + 1).tolist() == [2] * 5
    assert pool.freed == 1


def test_out_of_memory_names_device_asked_and_free_bytes(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.arange(1000.0)
    before = x * 2
    np.evaluate(before)
    monkeypatch.setattr(backend, "_pool", Pool(backend._pool, times=10**9))
    after, again = x * 3, before * 5
    for lost in (after, again, after + 1):
        with pytest.raises(MemoryError, match=rf"allocate 8000 bytes on {DEVICE} .*: \d+ of \d+ bytes are free"):
            numpy.asarray(lost)
    assert at(before, 3) == 6
    monkeypatch.undo()
    assert at((before * 5), 3) == 30


def test_memory_that_runs_out_at_a_launch(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.arange(1000.0)
    np.evaluate(x)
    launch = Faulty(cl.enqueue_nd_range_kernel, "OUT_OF_RESOURCES", 1)
    monkeypatch.setattr(cl, "enqueue_nd_range_kernel", launch)
    assert at((x * 2), 3) == 6
    assert launch.calls == 2
    launch.left = 2
    with pytest.raises(MemoryError, match=f"16000 bytes on {DEVICE}"):
        numpy.asarray(x * 2)


@contextlib.contextmanager
def broken_compiler(backend: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let PoCL's compiler stumble over every kernel."""
    with monkeypatch.context() as patch:
        patch.setattr(backend, "_options", [*backend._options, "-Dgpuxp_kernel=1+"])
        yield


def test_a_kernel_that_does_not_build_names_op_and_line(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.arange(50_000.0)
    np.evaluate(x)
    with broken_compiler(backend, monkeypatch):
        with np.configure(fallback="warn"), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(2):
                y = np.hypot(x, 2.5)  # the line to name
                assert at(y, 7) == numpy.hypot(7, 2.5)
        text = Path(__file__).read_text().splitlines()
        line = next(n for n, code in enumerate(text, 1) if code.endswith("# the line to name"))
        assert [(w.filename, w.lineno, w.category) for w in caught] == [(__file__, line, np.HostFallbackWarning)]
        assert str(caught[0].message).startswith(
            f"hypot runs on the host, because {DEVICE} cannot run it (its compiler"
        )
        assert "error:" in str(caught[0].message)
        shown = np.explain(y)
        assert f"{DEVICE} refused it, and the host runs it:" in shown
        assert "BUILD_PROGRAM_FAILURE" in shown
        with pytest.raises(np.FallbackError, match=rf"hypot: .*{__file__}:\d+"):
            numpy.asarray(np.hypot(x, 2.5))


def test_a_form_that_does_not_build_later(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.arange(20_000, dtype="float32")
    raw = np.zeros(4 * 20_000 + 1, dtype="uint8")
    y = raw[1:].view("float32")  # not aligned: kernels need another form
    y[...] = x
    assert at((x - 3), 5) == 2
    before = np.stats()[DEVICE]["fallbacks"]
    with broken_compiler(backend, monkeypatch), np.configure(fallback="allow"):
        assert at((y - 3), 5) == 2
        assert np.stats()[DEVICE]["fallbacks"] > before


def test_a_lost_device_poisons_only_its_own_arrays(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, host = np.arange(1000.0), np.arange(1000.0, device="cpu")
    others = [name for name in np.devices() if name not in (DEVICE, "cpu")]
    elsewhere = [np.arange(1000.0, device=name) * 2 for name in others]
    np.evaluate(x)
    with monkeypatch.context() as patch:
        for name in ("enqueue_nd_range_kernel", "enqueue_copy"):
            patch.setattr(cl, name, Faulty(getattr(cl, name), "DEVICE_NOT_AVAILABLE", 10**9))
        lost = x + 1
        for array in (lost, lost * 2, x):
            with pytest.raises(Exception, match="DEVICE_NOT_AVAILABLE"):
                numpy.asarray(array)
        np.evaluate()
        assert at((host * 2), 3) == 6
        assert [at(e, 3) for e in elsewhere] == [6] * len(others)
        assert np.stats()[DEVICE]
    with pytest.raises(Exception, match="DEVICE_NOT_AVAILABLE"):
        numpy.asarray(lost)
    assert at(x, 3) == 3  # what was there before is there again, if the device is


def test_mlx_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    mlx = pytest.importorskip("gpuxp.backends.mlx", reason="no MLX: pip install 'gpuxp[mlx]'", exc_type=ImportError)
    with np.device("mlx:cpu"), np.configure(fallback="error"):
        x = np.arange(1000.0)
        np.evaluate(x)
        evaluate, cleared, left = mlx.mx.async_eval, [], [1]

        def faulty(*arrays: Any) -> None:
            if left[0] > 0:
                left[0] -= 1
                raise RuntimeError("[malloc] Unable to allocate 8000 bytes.")
            evaluate(*arrays)

        monkeypatch.setattr(mlx.mx, "async_eval", faulty)
        monkeypatch.setattr(mlx.mx, "clear_cache", lambda: cleared.append(1))
        assert at((x * 2), 3) == 6
        assert cleared == [1]
        left[0] = 2
        lost = x * 2
        with pytest.raises(MemoryError, match=r"allocate 8000 bytes on mlx:cpu .*: \d+ of \d+ bytes are free"):
            numpy.asarray(lost)
        assert at((x * 3), 3) == 9
        monkeypatch.setattr(mlx.mx, "get_active_memory", lambda: 1 << 60)
        monkeypatch.setattr(x._runtime.backend, "_room", 0)  # it looks again
        with pytest.raises(MemoryError, match="0 of "):
            numpy.asarray(x * 2)
