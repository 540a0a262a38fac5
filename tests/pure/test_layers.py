"""The house rules: modules import downwards only, files stay short, tables are complete."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gpuxp

SOURCE = Path(gpuxp.__file__).parent
ROOT = SOURCE.parents[1]

# From the bottom up: a module imports only from rows above its own (or, within a row, from what stands before it).
LAYERS = [
    "errors probe blas",
    "config dtypes discovery",
    "dlpack",
    "geometry vectormath ops",
    "storage threads",
    "kernel folding tape fallback gram",
    "tracing",
    "fusing recomputing",
    "schedule",
    "backends codegen backends.base backends.tiles backends.reduce backends.launching",
    "backends.openclcalls backends.openclblas backends.openclmatmul backends.openclradix backends.openclsort",
    "backends.openclfftcode backends.openclfft backends.opencllibrary",
    "backends.mlxtypes backends.mlxmath backends.mlxcomplex backends.mlxrows backends.mlxfold backends.mlxmemory",
    "backends.mlxnatives backends.mlxcompiler",
    "backends.cupynatives",
    "backends.openclgather",
    "backends.software backends.reference backends.opencl backends.mlx backends.cupy",
    "failures inspecting replay",
    "engine",
    "runtime",
    "devices",
    "array",
    "exports recipes",
    "convert",
    "small combining",
    "ufunc",
    "operators gathering",
    "derived",
    "reductions indexing",
    "creation",
    "manipulation",
    "searching elementwise",
    "products",
    "linalg fft random hostnames special",
    "methods explain",
    "namespace",
    "testing",
    "__init__",
    "demo",  # a user of the package
    "__main__",
]
ORDER = {name: level for level, names in enumerate(LAYERS) for name in names.split()}
# What a module may import although it stands higher: at run time inside a function, or for types alone
LATE = {
    ("storage", "runtime"),  # for types
    ("devices", "backends.opencl"),  # a GPU library is loaded when its device is asked for
    ("devices", "backends.mlx"),
    ("devices", "backends.cupy"),
    ("engine", "backends.software"),  # the host that runs what a device cannot
    ("ufunc", "reductions"),  # ufunc.reduce
    ("ufunc", "gathering"),  # ufunc.accumulate
    ("namespace", "__init__"),  # an array's namespace is the package
    ("testing", "__init__"),
    ("explain", "__init__"),
}


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    if parts[-1] == "__init__" and len(parts) > 1:
        parts = parts[:-1]
    return ".".join(parts)


def layer(name: str) -> int | None:
    """Return a module's row: its own, or that of the package it is in."""
    while name:
        if name in ORDER:
            return ORDER[name]
        name = name.rpartition(".")[0]
    return None


def imports(path: Path) -> set[str]:
    """Return the modules of gpuxp that a file imports."""
    found = set()
    package = module_name(path).split(".")[:-1] if path.name != "__init__.py" else module_name(path).split(".")
    if path.parent == SOURCE:
        package = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {"__init__" for a in node.names if a.name == "gpuxp"}
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - (node.level - 1)] if node.level > 1 else package
            where = ".".join([*base, *((node.module or "").split(".") if node.module else [])])
            names = [f"{where}.{a.name}".strip(".") for a in node.names]
            found |= {n for n in names if layer(n) is not None and (SOURCE / f"{n.replace('.', '/')}.py").exists()} or {
                where
            }
    return {name for name in found if name}


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_point_downwards(path: Path) -> None:
    name = module_name(path)
    own = layer(name)
    assert own is not None, f"{name} has no layer: add it to the table"
    for other in imports(path):
        if (name, other) in LATE or other.split(".")[0] == name.split(".")[0]:
            continue
        level = layer(other)
        assert level is not None, f"{name} imports {other}, which has no layer"
        assert level <= own, f"{name} imports {other}, which is above it"


BACKENDS = [f for f in FILES if module_name(f).split(".")[0] in ("backends", "codegen")]


@pytest.mark.parametrize("path", BACKENDS, ids=module_name)
def test_backends_see_the_contract_only(path: Path) -> None:
    seen = {other.split(".")[-1] for other in imports(path)}
    assert not seen & {"array", "tape", "schedule", "runtime", "devices", "ufunc", "namespace", "__init__"}


@pytest.mark.parametrize("path", [f for f in BACKENDS if module_name(f).startswith("backends")], ids=module_name)
def test_backends_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 500


def test_importing_gpuxp_loads_no_gpu_library_and_no_compiler() -> None:
    import subprocess
    import sys

    code = (
        "import sys, gpuxp; x = float((gpuxp.arange(10.) * 2).sum()); "
        "print([m for m in ('numba', 'pyopencl', 'cupy', 'mlx', 'scipy', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_gpuxp_loads_no_engine_and_no_chapter() -> None:
    import subprocess
    import sys

    parts = "numpy.random gpuxp.runtime gpuxp.schedule gpuxp.backends.software gpuxp.linalg gpuxp.random gpuxp.fft"
    code = f"import sys, gpuxp; print([m for m in {parts.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_names_that_are_loaded_late_are_there() -> None:
    import subprocess
    import sys

    code = (
        "import gpuxp; assert {'median', 'linalg', 'fft', 'random', 'testing'} <= set(dir(gpuxp)); "
        "names = {}; exec('from gpuxp import *', names); print(set(gpuxp.__all__) - set(names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_all_names_exist() -> None:
    for name in gpuxp.__all__:
        assert hasattr(gpuxp, name), name
    assert len(gpuxp.__all__) == len(set(gpuxp.__all__))
    for part in ("linalg", "fft", "random", "special"):
        module = getattr(gpuxp, part)
        assert all(hasattr(module, name) for name in module.__all__)


STANDARD = """
__array_namespace_info__ abs acos acosh add all any arange argmax argmin argsort asarray asin asinh astype atan
atan2 atanh bitwise_and bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor bool
broadcast_arrays broadcast_shapes broadcast_to can_cast ceil clip complex128 complex64 concat conj copysign cos cosh
count_nonzero cumulative_prod cumulative_sum diff divide e empty empty_like equal exp expand_dims expm1 eye fft
finfo flip float32 float64 floor floor_divide from_dlpack full full_like greater greater_equal hypot iinfo imag inf
int16 int32 int64 int8 isdtype isfinite isin isinf isnan less less_equal linalg linspace log log10 log1p log2
logaddexp logical_and logical_not logical_or logical_xor matmul matrix_transpose max maximum mean meshgrid min
minimum moveaxis multiply nan negative newaxis nextafter nonzero not_equal ones ones_like permute_dims pi positive
pow prod real reciprocal remainder repeat reshape result_type roll round searchsorted sign signbit sin sinh sort
sqrt square squeeze stack std subtract sum take take_along_axis tan tanh tensordot tile tril triu trunc uint16
uint32 uint64 uint8 unique_all unique_counts unique_inverse unique_values unstack var vecdot where zeros zeros_like
""".split()


@pytest.mark.parametrize("name", STANDARD)
def test_the_standard_is_complete(name: str) -> None:
    assert hasattr(gpuxp, name)


def test_coverage_page_is_up_to_date() -> None:
    import subprocess
    import sys

    page = ROOT / "docs" / "coverage.py"
    if not page.exists():
        pytest.skip("needs the repository: the docs are not part of the package")
    done = subprocess.run([sys.executable, str(page), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_module_takes_the_place_of_a_function() -> None:
    """Importing a submodule sets an attribute of the package: late, that would hide a function of its name."""
    text = (
        "import importlib, pkgutil, types, gpuxp\n"
        "for found in pkgutil.iter_modules(gpuxp.__path__):\n"
        "    if found.name != '__main__': importlib.import_module('gpuxp.' + found.name)\n"
        "print([n for n in gpuxp.__all__ if isinstance(getattr(gpuxp, n), types.ModuleType)])"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    chapters = {"emath", "exceptions", "fft", "linalg", "polynomial", "random", "special"}
    assert set(ast.literal_eval(done.stdout)) <= chapters
