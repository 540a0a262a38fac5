"""LLVM through llvmlite, the back end of Numba: from a kernel's text to an address, with a disk cache."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ..codegen.llvmbody import ENTRY
from ..threads import compiling
from . import diskcache

_alive: weakref.WeakSet[Code] = weakref.WeakSet()
_ending: list[bool] = []  # not empty once the process ends


class Code:
    """Machine code in memory, for as long as this object lives."""

    def __init__(self, engine: Any, entries: Sequence[str]) -> None:
        self._engine = engine
        # found now: once the code has left, LLVM cannot be asked any more
        self._found = {entry: int(engine.get_function_address(entry)) for entry in entries}
        self.address = self._found[entries[0]]
        _alive.add(self)
        if _ending:
            self.leave()

    def at(self, entry: str) -> int:
        """Return the address of a function."""
        return self._found[entry]

    def leave(self) -> None:
        """Let the code outlive this object: the process ends, and LLVM's library may go first."""
        self._engine.detach()


@atexit.register
def _leave() -> None:
    with compiling:  # what is compiled after this leaves by itself
        _ending.append(True)
        for code in _alive:
            code.leave()


@lru_cache(maxsize=1)
def _llvm() -> tuple[Any, str, str]:
    """Return llvmlite's binding, and the processor with its features."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding, binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()


def features() -> dict[str, bool]:
    """Return what this processor can do, by LLVM's names."""
    return dict(_llvm()[0].get_host_cpu_features())


def version() -> str:
    """Return the compiler's version."""
    import llvmlite

    return f"llvmlite {llvmlite.__version__}"


def _target() -> Any:
    """Return a target machine, which an engine may own."""
    binding, cpu, features = _llvm()
    return binding.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=3, jit=True)


def build(text: str, *entries: str) -> Code:
    """Return the machine code of a module's functions: from the cache, else compiled and cached."""
    with compiling:
        binding, cpu, features = _llvm()
        key = diskcache.key_of(version(), binding.get_default_triple(), cpu, features, text)
        found = diskcache.read(key)
        if found is None:
            found = _compiled(binding, text)
            diskcache.write(key, found)
        engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _target())
        engine.add_object_file(binding.ObjectFileRef.from_data(found))
        engine.finalize_object()
        return Code(engine, entries or (ENTRY,))


def _compiled(binding: Any, text: str) -> bytes:
    """Compile a module to an object file: no option lets LLVM change a result's bits."""
    module, target = binding.parse_assembly(text), _target()
    module.verify()
    options = binding.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = True
    builder = binding.create_pass_builder(target, options)
    builder.getModulePassManager().run(module, builder)
    return bytes(target.emit_object(module))
