"""Linear algebra: NumPy's and the standard's functions, by LAPACK where the device has none of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from .array import ndarray
from .convert import as_operand, host_call, runtime_for
from .dtypes import NUMPY
from .elementwise import matmul, outer
from .errors import LinAlgError
from .manipulation import diagonal as _diagonal
from .manipulation import matrix_transpose
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
    found: ndarray = _call("matrix_power", a, n)
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
        return UFUNCS["sqrt"](_sum(values * values, axis=axis, keepdims=keepdims))
    found: ndarray = host_call("linalg.norm", np.linalg.norm, a, ord, axis, keepdims)
    return found


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> ndarray:
    """Return the norm of each matrix."""
    found: ndarray = _call("matrix_norm", x, keepdims=keepdims, ord=ord)
    return found


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> ndarray:
    """Return the norm of vectors along `axis`."""
    found: ndarray = _call("vector_norm", x, axis=axis, keepdims=keepdims, ord=ord)
    return found


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> ndarray:
    """Return the cross product of vectors of three elements."""
    found: ndarray = _call("cross", x1, x2, axis=axis)
    return found


def vecdot(x1: Any, x2: Any, /, axis: int = -1) -> ndarray:
    """Return the dot product of vectors along `axis`; the first is conjugated."""
    runtime = runtime_for("vecdot", (x1, x2))
    found: ndarray = host_call(
        "vecdot", lambda a, b: NUMPY.vecdot(a, b, axis=axis), as_operand(x1, runtime), as_operand(x2, runtime)
    )
    return found


def tensordot(x1: Any, x2: Any, /, axes: Any = 2) -> ndarray:
    """Return the tensor product, summed over `axes`."""
    runtime = runtime_for("tensordot", (x1, x2))
    found: ndarray = host_call("tensordot", np.tensordot, as_operand(x1, runtime), as_operand(x2, runtime), axes)
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
    runtime = runtime_for("dot", (a, b))
    x, y = as_operand(a, runtime), as_operand(b, runtime)
    if not x.ndim or not y.ndim:
        return into(UFUNCS["multiply"](x, y), out, "dot")
    if x.ndim <= 2 and y.ndim <= 2:
        return into(matmul(x, y), out, "dot")
    return into(host_call("dot", np.dot, x, y), out, "dot")


__all__ = [
    "LinAlgError", "cholesky", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "inv", "lstsq",
    "matmul", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "multi_dot", "norm", "outer", "pinv",
    "qr", "slogdet", "solve", "svd", "svdvals", "tensordot", "tensorinv", "tensorsolve", "trace", "vecdot",
    "vector_norm",
]  # fmt: skip
