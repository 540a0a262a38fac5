"""Linear algebra: NumPy's and the standard's functions, by LAPACK where the device has none of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import combining, products
from .array import ndarray
from .convert import as_operand, host_call, runtime_for
from .dtypes import NUMPY
from .elementwise import is_product, matmul, outer
from .errors import LinAlgError
from .manipulation import diagonal as _diagonal
from .manipulation import matrix_transpose, moveaxis
from .manipulation import trace as _trace
from .reductions import sum as _sum
from .ufunc import UFUNCS, into


def _call(name: str, *args: Any, **kwargs: Any) -> Any:
    runtime = runtime_for(name, args)
    arrays = [a if type(a) in (int, float, bool, str, tuple, type(None)) else as_operand(a, runtime) for a in args]
    return host_call(f"linalg.{name}", getattr(np.linalg, name), *arrays, **kwargs)


def _one(name: str, doc: str) -> Any:
    def call(a: Any, /) -> Any:
        return _call(name, a)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    return call


det = _one("det", "Return the determinant of each matrix.")
inv = _one("inv", "Return the inverse of each matrix; a singular one raises `LinAlgError`.")
slogdet = _one("slogdet", "Return sign and logarithm of the determinant's absolute value.")
svdvals = _one("svdvals", "Return the singular values of each matrix.")


def cholesky(a: Any, /, *, upper: bool = False) -> ndarray:
    """Return the Cholesky factor of each Hermitian positive-definite matrix."""
    found: ndarray = _call("cholesky", a, upper=upper)
    return found


def eigh(a: Any, /, UPLO: Any = "L") -> Any:  # noqa: N803 - NumPy's name
    """Return eigenvalues and eigenvectors of each Hermitian matrix."""
    return _call("eigh", a, UPLO=UPLO)


def eigvalsh(a: Any, /, UPLO: Any = "L") -> ndarray:  # noqa: N803 - NumPy's name
    """Return the eigenvalues of each Hermitian matrix."""
    found: ndarray = _call("eigvalsh", a, UPLO=UPLO)
    return found


def _as_complex(value: Any) -> Any:
    return value if value.dtype.kind == "c" else value.astype(np.result_type(value.dtype, np.complex64))


def _eig(a: Any) -> Any:
    values, vectors = np.linalg.eig(a)
    return np.linalg._linalg.EigResult(_as_complex(values), _as_complex(vectors))


def eig(a: Any, /) -> Any:
    """Return eigenvalues and right eigenvectors of each matrix; both are complex, as the standard asks."""
    return host_call("linalg.eig", _eig, as_operand(a, runtime_for("eig", (a,))))


def eigvals(a: Any, /) -> ndarray:
    """Return the eigenvalues of each matrix; they are complex, as the standard asks."""
    x = as_operand(a, runtime_for("eigvals", (a,)))
    found: ndarray = host_call("linalg.eigvals", lambda v: _as_complex(np.linalg.eigvals(v)), x)
    return found


def qr(a: Any, /, mode: Any = "reduced") -> Any:
    """Return the QR decomposition of each matrix."""
    return _call("qr", a, mode=mode)


def svd(a: Any, /, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """Return the singular value decomposition of each matrix."""
    return _call("svd", a, full_matrices=full_matrices, compute_uv=compute_uv, hermitian=hermitian)


def solve(a: Any, b: Any, /) -> ndarray:
    """Return the solution of ``a x = b``; a singular matrix raises `LinAlgError`."""
    found: ndarray = _call("solve", a, b)
    return found


def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    """Return the least-squares solution of ``a x = b``, residuals, rank and singular values."""
    return _call("lstsq", a, b, rcond=rcond)


def pinv(a: Any, /, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None) -> ndarray:
    """Return the pseudo-inverse of each matrix."""
    keywords = {"rtol": rtol} if rtol is not None else {"rcond": rcond} if rcond is not None else {}
    found: ndarray = _call("pinv", a, hermitian=hermitian, **keywords)
    return found


def matrix_rank(a: Any, /, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> ndarray:
    """Return the rank of each matrix."""
    keywords = {"rtol": rtol} if rtol is not None else {"tol": tol} if tol is not None else {}
    found: ndarray = _call("matrix_rank", a, hermitian=hermitian, **keywords)
    return found


def matrix_power(a: Any, /, n: int) -> ndarray:
    """Return each square matrix raised to an integer power."""
    x = as_operand(a, runtime_for("matrix_power", (a,)))
    if _elsewhere(x) and type(n) is int and x.ndim > 1 and x.shape[-1] == x.shape[-2]:
        return products.matrix_power(x if n >= 0 else inv(x), abs(n))
    found: ndarray = _call("matrix_power", x, n)
    return found


def cond(x: Any, p: Any = None) -> ndarray:
    """Return the condition number of each matrix."""
    found: ndarray = _call("cond", x, p)
    return found


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> ndarray:
    """Return a vector or matrix norm."""
    a = as_operand(x, runtime_for("norm", (x,)))
    if ord in (None, 2) and a.dtype.kind in "fiu" and (axis is None and ord is None or isinstance(axis, int)):
        values = a.astype(float) if a.dtype.kind in "iu" else a
        there = combining.root_of_squares(values, axis, keepdims)
        return UFUNCS["sqrt"](_sum(values * values, axis=axis, keepdims=keepdims)) if there is None else there
    own = _norm(a, ord, axis, keepdims) if _elsewhere(a) else None
    found: ndarray = host_call("linalg.norm", np.linalg.norm, a, ord, axis, keepdims) if own is None else own
    return found


def _norm(x: ndarray, order: Any, axis: Any, keepdims: bool) -> ndarray | None:
    """Return a norm that is written in other functions; None where NumPy is to find it, or to refuse it."""
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if not all(type(d) is int and -x.ndim <= d < x.ndim for d in axes) or len({d % x.ndim for d in axes}) < len(axes):
        return None
    if len(axes) == 1 or (axis is None and order is None):
        return products.vector_norm(x, axes, keepdims, order)
    if len(axes) != 2:
        return None
    moved = products.matrix_norm(moveaxis(x, axes, (-2, -1)), keepdims, order)
    return moveaxis(moved, (-2, -1), axes) if keepdims and moved is not None else moved


def _elsewhere(x: ndarray) -> bool:
    """Whether the memory is the device's alone, so that NumPy would need a copy."""
    return not x._runtime.host_visible


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> ndarray:
    """Return the norm of each matrix."""
    a = as_operand(x, runtime_for("matrix_norm", (x,)))
    own = products.matrix_norm(a, keepdims, ord) if _elsewhere(a) else None
    found: ndarray = _call("matrix_norm", a, keepdims=keepdims, ord=ord) if own is None else own
    return found


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> ndarray:
    """Return the norm of vectors along `axis`."""
    a = as_operand(x, runtime_for("vector_norm", (x,)))
    own = products.vector_norm(a, axis, keepdims, ord) if _elsewhere(a) else None
    found: ndarray = _call("vector_norm", a, axis=axis, keepdims=keepdims, ord=ord) if own is None else own
    return found


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> ndarray:
    """Return the cross product of vectors of three elements."""
    runtime = runtime_for("cross", (x1, x2))
    a, b = as_operand(x1, runtime), as_operand(x2, runtime)
    if _elsewhere(a) and type(axis) is int and all(-v.ndim <= axis < v.ndim for v in (a, b)):
        return products.cross(a, b, axis)
    found: ndarray = _call("cross", a, b, axis=axis)
    return found


def vecdot(x1: Any, x2: Any, /, axis: int = -1) -> ndarray:
    """Return the dot product of vectors along `axis`; the first is conjugated."""
    runtime = runtime_for("vecdot", (x1, x2))
    x, y = as_operand(x1, runtime), as_operand(x2, runtime)
    if _elsewhere(x) and type(axis) is int and all(-v.ndim <= axis < v.ndim for v in (x, y)):
        return products.vecdot(x, y, axis)
    found: ndarray = host_call("vecdot", lambda a, b: NUMPY.vecdot(a, b, axis=axis), x, y)
    return found


def tensordot(x1: Any, x2: Any, /, axes: Any = 2) -> ndarray:
    """Return the tensor product, summed over `axes`."""
    runtime = runtime_for("tensordot", (x1, x2))
    a, b = as_operand(x1, runtime), as_operand(x2, runtime)
    if _elsewhere(a):
        return products.tensordot(a, b, axes)
    found: ndarray = host_call("tensordot", np.tensordot, a, b, axes)
    return found


def tensorinv(a: Any, ind: int = 2) -> ndarray:
    """Return the inverse of a tensor for `tensordot`."""
    found: ndarray = _call("tensorinv", a, ind)
    return found


def tensorsolve(a: Any, b: Any, axes: Any = None) -> ndarray:
    """Return the solution of ``tensordot(a, x) = b``."""
    found: ndarray = _call("tensorsolve", a, b, axes)
    return found


def multi_dot(arrays: Any, *, out: Any = None) -> ndarray:
    """Return the product of several matrices, in the cheapest order."""
    return into(host_call("linalg.multi_dot", np.linalg.multi_dot, list(arrays)), out, "multi_dot")


def diagonal(x: Any, /, *, offset: int = 0) -> ndarray:
    """Return the diagonal of each matrix."""
    return _diagonal(x, offset, -2, -1)


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> ndarray:
    """Return the sum along the diagonal of each matrix."""
    return _trace(x, offset, -2, -1, dtype)


def dot(a: Any, b: Any, out: Any = None) -> ndarray:
    """Return the dot product: of vectors, of matrices, or over the last and second-to-last axis."""
    if is_product(a, b):
        return matmul(a, b, out)
    runtime = runtime_for("dot", (a, b))
    x, y = as_operand(a, runtime), as_operand(b, runtime)
    if not x.ndim or not y.ndim:
        return into(UFUNCS["multiply"](x, y), out, "dot")
    if is_product(x, y):
        return matmul(x, y, out)
    if _elsewhere(x):
        return into(products.tensordot(x, y, (-1, max(y.ndim - 2, 0))), out, "dot")
    return into(host_call("dot", np.dot, x, y), out, "dot")


__all__ = [
    "LinAlgError", "cholesky", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "inv", "lstsq",
    "matmul", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "multi_dot", "norm", "outer", "pinv",
    "qr", "slogdet", "solve", "svd", "svdvals", "tensordot", "tensorinv", "tensorsolve", "trace", "vecdot",
    "vector_norm",
]  # fmt: skip
