"""Generated CUDA without a GPU: NVIDIA's compiler, and the same source as C++ on the host."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpuxp.backends.launching import Grid, Programs
from gpuxp.codegen.cstyle import ENTRY
from gpuxp.codegen.spelling import CUDA, CUDA_OPTIONS
from gpuxp.errors import Unsupported
from gpuxp.kernel import Kernel

NO_NVRTC = "no NVRTC: pip install nvidia-cuda-nvrtc-cu12 gives it on Linux and Windows, without a driver"
NO_GXX = "no C++ compiler: apt-get install g++"
SHIM = Path(__file__).parent / "host.h"
SHARED = 49152  # bytes, as in the shim


# NVIDIA's compiler


@functools.cache
def nvrtc() -> ctypes.CDLL | None:
    """Return the library of NVIDIA's run-time compiler from its wheel, or None."""
    try:
        spec = importlib.util.find_spec("nvidia.cuda_nvrtc")
    except ModuleNotFoundError:
        return None
    folders = list(spec.submodule_search_locations or ()) if spec else []
    found = sorted(path for folder in folders for path in Path(folder).glob("*/*nvrtc*") if _is_compiler(path.name))
    return ctypes.CDLL(str(found[0])) if found else None


def _is_compiler(name: str) -> bool:
    return re.fullmatch(r"libnvrtc\.so\.\d+|nvrtc64_\w+\.dll", name) is not None


def compile_cuda(source: str, arch: str) -> str:
    """Compile CUDA source for an architecture and return PTX (``compute_75``), or '' for machine code (``sm_80``).

    Raises
    ------
    ValueError
        With the compiler's log.
    """
    library = nvrtc()
    assert library is not None, NO_NVRTC
    program = ctypes.c_void_p()
    library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None)
    try:
        options = [option.encode() for option in (*CUDA_OPTIONS, f"--gpu-architecture={arch}")]
        failed = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        if failed:
            raise ValueError(f"{_text(library, program, 'ProgramLog')}\n{source}")
        return _text(library, program, "PTX") if arch.startswith("compute") else ""
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _text(library: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> str:
    size = ctypes.c_size_t()
    getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    getattr(library, f"nvrtcGet{what}")(program, buffer)
    return buffer.value.decode()


# The host


def have_gxx() -> bool:
    """Whether the host has a C++ compiler."""
    return shutil.which("g++") is not None


_OPTIONS = ("-std=c++17", "-O0", "-w", "-ffp-contract=off", "-fno-strict-aliasing", "-shared", "-fPIC")
_FAILURES = (
    "", "a thread ended while another waited at a barrier", "a block is too large",
    "it does what C++ leaves undefined; the sanitizer has said on stderr, what",
)  # fmt: skip


@functools.cache
def _sanitizer() -> tuple[str, ...]:
    """Return the options that report undefined behaviour, where the compiler comes with the library for it."""
    asked = ["g++", "-print-file-name=libubsan.a"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    checks = "-fsanitize=undefined,float-cast-overflow"
    return (checks, "-fno-sanitize=vptr", "-static-libubsan") if Path(found).is_absolute() else ()


def _unit(number: int, source: str) -> str:
    """Return one kernel in a namespace of its own, with a function that launches it."""
    signature = re.search(rf"{ENTRY}\((.*)\) \{{", source)
    assert signature is not None
    pointers = signature[1].count("uchar* p")
    given = [f"(uchar*)p[{n}]" for n in range(pointers)]
    given.append("*(const launch*)packed" if "const launch a" in signature[1] else "(const launch*)packed")
    shared = f"__align__(16) uchar scratch[{SHARED}];" if "__shared__" in source else ""
    memory = f"(char*)unit{number}::scratch_{number}" if shared else "0"
    return f"""
#define {ENTRY} {ENTRY}_{number}
#define scratch scratch_{number}
namespace unit{number} {{
{source}
{shared}
static void run(void** p, const void* packed) {{ {ENTRY}({", ".join(given)}); }}
}}
#undef {ENTRY}
#undef scratch
extern "C" int launch_{number}(void** p, const void* packed, const unsigned* grid) {{
  return host::launch(unit{number}::run, p, packed, grid, {memory});
}}
"""


class Host:
    """A CUDA device's part in `gpuxp.backends.launching`, played by g++ and the host's processor."""

    name = "cuda:0"  # whose bounds hold

    dialect = CUDA
    units = 2
    local_bytes = SHARED // 2

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._built: dict[str, Any] = {}
        self._programs = Programs(self)
        self.wanted: list[str] | None = None  # while it is a list, sources are collected there instead of compiled

    def build(self, source: str) -> Any:
        """Return the launcher of a source; of one that is only collected, it is looked up when it is called."""
        if self.wanted is None:
            self.build_all([source])
        else:
            self.wanted.append(source)

        def launch(*args: Any) -> Any:
            return self._built[source](*args)

        return launch

    def build_all(self, sources: Sequence[str]) -> None:
        """Compile many sources at once, which takes little longer than one."""
        fresh = [source for source in dict.fromkeys(sources) if source not in self._built]
        if not fresh:
            return
        text = f'#include "{SHIM}"\n' + "".join(_unit(n, source) for n, source in enumerate(fresh))
        path = self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.cpp"
        path.write_text(text)
        made = path.with_suffix(".so")
        command = ["g++", *_OPTIONS, *_sanitizer(), str(path), "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unsupported(f"its compiler failed: {done.stderr[:4000]}")
        library = ctypes.CDLL(str(made))
        for n, source in enumerate(fresh):
            self._built[source] = getattr(library, f"launch_{n}")

    def compile(self, kernel: Kernel) -> Any:
        """Return a launch."""
        return self._programs.get(kernel)

    def enqueue(self, built: Any, grid: Grid, mems: Sequence[Any], packed: bytes, by_value: bool) -> None:
        """Run a kernel."""
        assert grid.scratch <= SHARED
        assert by_value or len(packed) > CUDA.parameter_bytes // 2
        pointers = (ctypes.c_void_p * len(mems))(*(mem.ctypes.data for mem in mems))
        if self.wanted is not None:
            return
        failed = built(pointers, packed, (ctypes.c_uint * 4)(*grid.groups, *grid.threads))
        assert failed == 0, _FAILURES[failed]

    # Memory

    def alloc(self, nbytes: int) -> Any:
        """Return memory."""
        return np.empty(max(nbytes, 1), np.uint8)

    def write(self, mem: Any, offset: int, host: Any) -> None:
        """Copy to memory."""
        mem[offset : offset + host.nbytes] = host.reshape(-1).view(np.uint8)

    def read(self, mem: Any, offset: int, host: Any) -> None:
        """Copy from memory."""
        host.reshape(-1).view(np.uint8)[...] = mem[offset : offset + host.nbytes]
