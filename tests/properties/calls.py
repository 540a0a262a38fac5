"""Calls of every function of the namespace, as text: the same line runs with NumPy and with gpuxp."""

from __future__ import annotations

from typing import Any

import numpy

# Arrays that the lines may use; they are handed over as arrays of the namespace
ARRAYS: dict[str, Any] = {
    "a": numpy.array([[3.0, 1.0, -2.0, 7.0], [5.0, 9.0, 4.0, -6.0]]),
    "b": numpy.array([[4, 2, 0, 1], [1, 3, 5, 2]]),
    "f": numpy.array([[1.5, -0.25], [2.75, 8.0], [0.1, 3.3]], "float32"),
    "v": numpy.array([2.0, -1.0, 0.5, 4.0, 3.0]),
    "w": numpy.array([1, 3, 3, 7, 0]),
    "u": numpy.array([3, 200, 7], "uint8"),
    "m": numpy.array([[True, False, True, False], [False, True, True, True]]),
    "z": numpy.array([1 + 2j, -3j, 0.5, 2 - 1j]),
    "n": numpy.array([1.0, numpy.nan, -2.0, numpy.inf, 0.0]),
    "s": numpy.array([0.5, 1.0, 2.0, 2.0, 6.5]),
    "q": numpy.array([[4.0, 1.0, 0.5], [1.0, 3.0, -1.0], [0.5, -1.0, 5.0]]),
    "t": numpy.arange(24).reshape(2, 3, 4) % 7,
    "e": numpy.zeros((0, 3)),
    "o": numpy.array(3.0),
}

CALLS = """
np.all(m)
np.all(m, axis=0)
np.all(m, axis=(0, 1), keepdims=True)
np.all(e)
np.allclose(a, a + 1e-12)
np.allclose(n, n, equal_nan=True)
np.amax(a, axis=1)
np.amin(a, axis=0)
np.angle(z)
np.angle(a, deg=True)
np.any(m, axis=1)
np.any(e, axis=0)
np.append(a, [[1, 2, 3, 4]], axis=0)
np.append(v, w)
np.apply_along_axis(lambda r: r[::-1], 1, a)
np.apply_over_axes(np.sum, t, [0, 2])
np.arange(7)
np.arange(1, 8, 3, dtype=np.float32)
np.arange(5.0, 0.0, -0.5)
np.arange(3, 3)
np.argmax(a, axis=1)
np.argmax(n)
np.argmin(a)
np.argmin(t, axis=2, keepdims=True)
np.sort(np.argpartition(v, 2)[:2])
np.argsort(v)
np.argsort(a, axis=0)
np.argsort(w, stable=True)
np.argsort(t, axis=None, kind="stable")
np.argwhere(m)
np.around(f, 1)
np.array([[1, 2], [3, 4]], ndmin=3)
np.array(a, dtype=np.int32)
np.array([1.5, True, 2j])
np.array(a, copy=True, order="F").flags.f_contiguous
np.array2string(v)
np.array_equal(a, a.copy())
np.array_equal(a, b)
np.array_equal(n, n, equal_nan=True)
np.array_equiv(a, a[:1])
np.array_repr(w)
np.array_split(v, 2)
np.array_split(a, 3, axis=1)
np.array_str(w)
np.asanyarray(a)
np.asarray(b, dtype=np.float32)
np.asarray([[1, 2], [3, 4]])
np.asarray_chkfinite(v)
np.asarray_chkfinite(n)
np.ascontiguousarray(a.T)
np.ascontiguousarray(o)
np.asfortranarray(a)
np.astype(a, np.int16)
np.atleast_1d(o)
np.atleast_2d(v)
np.atleast_3d(a)
np.atleast_1d(o, v)
np.average(a, axis=0)
np.average(v, weights=w)
np.average(a, axis=1, weights=[1.0, 2.0, 3.0, 4.0], returned=True)
np.bartlett(5)
np.base_repr(5)
np.binary_repr(6)
np.bincount(w)
np.bincount(w, weights=v, minlength=10)
np.blackman(4)
np.block([[a, a], [a, a]])
np.broadcast_arrays(a, v[:4])
np.broadcast_shapes((2, 1), (3,))
np.broadcast_to(v, (2, 5))
np.can_cast(np.int8, np.int16)
np.can_cast(a.dtype, np.int16)
np.choose(np.array([0, 1, 0, 1, 0]), [v, v * 10])
np.clip(a, -1, 4)
np.clip(a, None, 2)
np.clip(u, 5, 100)
np.clip(b, a_min=1, a_max=3)
np.column_stack([v, w])
np.common_type(f, a)
np.compress([True, False], a, axis=0)
np.concat([a, b], axis=1)
np.concatenate([a, b])
np.concatenate([a, b], axis=None)
np.concatenate([u, w], dtype=np.float32)
np.convolve(v, [1.0, 2.0])
np.convolve(v, w, "same")
np.copy(a)
np.copyto(a, b, where=m) or a
np.corrcoef(a)
np.correlate(v, [1.0, 2.0, 0.5], "full")
np.count_nonzero(m)
np.count_nonzero(b, axis=1, keepdims=True)
np.cov(a)
np.cross(q[0], q[1])
np.cross(q, q[::-1])
np.cumprod(v)
np.cumprod(b, axis=1, dtype=np.float64)
np.cumsum(a)
np.cumsum(a, axis=0)
np.cumsum(m, axis=1)
np.cumulative_prod(v)
np.cumulative_sum(v, include_initial=True)
np.cumulative_sum(a, axis=1)
np.cumulative_sum(a)
np.delete(v, 1)
np.delete(a, [0, 2], axis=1)
np.diag(v)
np.diag(q, 1)
np.diag_indices(3)
np.diag_indices_from(q)
np.diagflat(w[:2], 1)
np.diagonal(q)
np.diagonal(t, 1, 0, 2)
np.diff(v)
np.diff(a, n=2, axis=1)
np.diff(m, axis=1)
np.diff(w, prepend=0, append=[1, 2])
np.digitize(v, [0.0, 1.0, 3.0])
np.divmod(a, 3)
np.divmod(w, [2, 2, 5, 3, 1])
np.dot(v, v)
np.dot(a, a.T)
np.dot(a, 2)
np.dot(t, a[0])
np.dsplit(t, 2)
np.dstack([v, v])
np.ediff1d(v)
np.einsum("ij,kj->ik", a, b)
np.einsum("ii", q)
np.einsum_path("ij,jk->ik", q, q)[0]
np.empty((2, 3), np.int8).shape
np.empty_like(a).dtype
np.evaluate() if hasattr(np, "evaluate") else None
np.explain(a) and None if hasattr(np, "explain") else None
np.expand_dims(v, 0)
np.expand_dims(a, (0, 2))
np.extract(m, a)
np.eye(3)
np.eye(2, 4, 1, dtype=np.int8)
np.fill_diagonal(q, 9) or q
float(np.finfo(np.float32).eps)
np.finfo(f.dtype).bits
np.fix(f)
np.flatnonzero(b)
np.flip(a)
np.flip(a, 1)
np.fliplr(a)
np.flipud(a)
np.format_float_positional(1.5)
np.format_float_scientific(1500.0)
np.frexp(v)
np.from_dlpack(numpy.arange(3.0))
np.frombuffer(b"\\x01\\x02", np.uint8)
np.fromfunction(lambda i, j: i + 2 * j, (2, 3))
np.fromiter((i * i for i in range(4)), np.int64)
np.fromstring("1 2 3", sep=" ")
np.full((2, 2), 7)
np.full(3, 2.5, np.float32)
np.full((2, 3), v[:3])
np.full_like(a, 2)
np.full_like(b, 2.7)
np.geomspace(1.0, 16.0, 5)
np.gradient(v)
np.gradient(a, axis=1)
np.hamming(4)
np.hanning(4)
np.histogram(v, bins=3)
np.histogram2d(v, w, bins=2)
np.histogram_bin_edges(v, 4)
np.histogramdd(q, bins=2)[0]
np.hsplit(a, 2)
np.hstack([v, w])
np.hstack([a, b])
np.i0(v)
np.identity(2)
np.iinfo(np.int8).max
np.imag(z)
np.imag(a)
np.indices((2, 3))
np.inner(v, w)
np.inner(a, a)
np.insert(v, 1, 9)
np.insert(a, [1], 0, axis=1)
np.interp([0.7, 1.5], s, v)
np.intersect1d(w, [3, 7, 9])
np.isclose(a, a + 1e-9)
np.isclose(n, n, equal_nan=True)
np.iscomplex(z)
np.iscomplexobj(z)
np.isdtype(a.dtype, "real floating")
np.isdtype(np.int8, ("bool", "integral"))
np.isfortran(np.asfortranarray(a))
np.isin(w, [3, 0])
np.isin(a, [1.0, 7.0], invert=True)
np.isneginf(n)
np.isposinf(n)
np.isreal(z)
np.isrealobj(z)
np.isscalar(3)
np.isscalar(a)
np.issubdtype(np.int8, np.integer)
np.iterable(a)
np.ix_([0, 1], [2, 0])
a[np.ix_([0, 1], [2, 0])]
np.kaiser(5, 2.0)
np.kron(a, [[1, 2]])
np.lexsort((w, v))
np.linspace(0, 1, 5)
np.linspace(0, 1, 4, endpoint=False, retstep=True)
np.linspace(v[0], v[3], 3, dtype=np.float32)
np.logspace(0, 2, 3)
np.mask_indices(3, numpy.triu)
np.matmul(a, a.T)
np.matmul(t, t.transpose(0, 2, 1))
np.matmul(v, v)
np.matmul(v[:4], b.T)
np.matrix_transpose(t)
np.matvec(a, v[:4])
np.max(a)
np.max(t, axis=(0, 2))
np.max(a, initial=100)
np.max(a, axis=0, where=m, initial=-9)
np.may_share_memory(a, a[1:])
np.mean(a)
np.mean(b, axis=0)
np.mean(f, axis=1, keepdims=True)
np.mean(a, where=m)
np.median(a, axis=1)
np.meshgrid(v, w[:2])
np.meshgrid(v, w, sparse=True, indexing="ij")
np.min(a, axis=-1)
np.min_scalar_type(300)
np.modf(f)
np.moveaxis(t, 0, 2)
np.nan_to_num(n)
np.nan_to_num(n, nan=1.0, posinf=9.0)
np.nanargmax(n)
np.nanargmin(n)
np.nancumprod(n[:3])
np.nancumsum(n[:3])
np.nanmax(n)
np.nanmean(n[:3])
np.nanmedian(n)
np.nanmin(n)
np.nanpercentile(n[:3], 50)
np.nanprod(n[:3])
np.nanquantile(n[:3], 0.25)
np.nanstd(n[:3])
np.nansum(n[:3])
np.nanvar(n[:3])
[k for k, _ in np.ndenumerate(a)]
np.ndim(a)
np.ndim([[1]])
np.nonzero(b)
np.nonzero(o)
np.ones((2, 3))
np.ones_like(b)
np.outer(v, w)
np.packbits(m)
np.pad(v, 2)
np.pad(a, ((1, 0), (0, 2)), mode="edge")
np.sort(np.partition(v, 2)[:2])
np.percentile(v, [25, 50])
np.permute_dims(t, (2, 0, 1))
np.piecewise(v, [v < 1, v >= 1], [0, 1])
np.place(a, m, [1.0, 2.0]) or a
np.poly(v[:3])
np.polyadd(v, w)
np.polyder(v)
np.polydiv(v, [1.0, 2.0])
np.polyfit(s, v, 1)
np.polyint(v)
np.polymul(v, w)
np.polysub(v, w)
np.polyval(v, 2.0)
np.prod(b)
np.prod(a, axis=1)
np.prod(u)
np.promote_types(np.int8, np.uint8)
np.ptp(a, axis=1)
np.put(a, [0, 5], [9.0, 8.0]) or a
np.put_along_axis(a, np.array([[0], [1]]), 5.0, axis=1) or a
np.putmask(a, m, b) or a
np.quantile(a, 0.3, axis=0)
np.ravel(a)
np.ravel(a.T, order="K")
np.ravel_multi_index((np.array([1, 0]), np.array([2, 1])), (2, 3))
np.real(z)
np.real_if_close(z.real + 0j)
np.repeat(v, 2)
np.repeat(a, [1, 2], axis=0)
np.repeat(a, 3)
np.require(a, np.float32, ["C"])
np.reshape(a, (4, 2))
np.reshape(a, (4, 2), order="F")
np.reshape(a.T, -1)
np.resize(v, (2, 4))
np.result_type(np.int8, 3)
np.result_type(a, f)
np.result_type(u, 1.0)
np.roll(v, 2)
np.roll(a, 1, axis=1)
np.roll(t, (1, 2), axis=(0, 2))
np.rollaxis(t, 2)
np.row_stack([v, v])
np.roots([1.0, -3.0, 2.0])
np.rot90(a)
np.rot90(a, 2)
np.round(f)
np.round(f, 1)
np.round(b * 37, -1)
np.searchsorted(s, [1.0, 2.0])
np.searchsorted(s, v, side="right")
np.select([v < 1, v > 2], [v, v * 10], default=-1)
np.setdiff1d(w, [3])
np.setxor1d(w, [3, 9])
np.shape(a)
np.shares_memory(a, a[1:])
np.shares_memory(a[:, ::2], a[:, 1::2])
np.sinc(v)
np.size(a)
np.size(a, 1)
np.sort(v)
np.sort(a, axis=0)
np.sort(n)
np.sort(t, axis=None)
np.sort_complex(z)
np.split(v, [1, 3])
np.split(a, 2, axis=1)
np.squeeze(a[:, None])
np.squeeze(a[:, None], axis=1)
np.stack([a, b])
np.stack([v, w], axis=-1)
np.std(a)
np.std(a, axis=0, ddof=1)
np.sum(a)
np.sum(b, axis=0, keepdims=True)
np.sum(f, dtype=np.float64)
np.sum(u)
np.sum(m)
np.sum(t, axis=(0, 2))
np.sum(e, axis=0)
np.sum(a, axis=1, where=m, initial=10)
np.swapaxes(t, 0, 2)
np.take(v, [0, 3, -1])
np.take(a, [1, 0], axis=1)
np.take(a, [5], mode="wrap")
np.take_along_axis(a, np.argsort(a, axis=1), axis=1)
np.tensordot(t, t, axes=([0, 2], [0, 2]))
np.tensordot(a, b.T, axes=1)
np.tile(v, 2)
np.tile(a, (2, 1, 2))
np.asarray(np.tile(a.T, 1).strides)
np.trace(q)
np.trace(t, 1, 0, 2)
np.transpose(t)
np.transpose(t, (1, 0, 2))
np.trapezoid(v)
np.trapezoid(v, s)
np.tri(3)
np.tri(2, 4, 1, dtype=np.int8)
np.tril(q)
np.tril(t, 1)
np.tril_indices(3)
np.tril_indices_from(q)
np.trim_zeros(w)
np.triu(q, -1)
np.triu(v)
np.triu_indices(3, 1)
np.triu_indices_from(q)
np.typename("d")
np.union1d(w, [9, 1])
np.unique(w)
np.unique(w, return_index=True, return_inverse=True, return_counts=True)
np.unique(b, axis=0)
tuple(np.unique_all(w))
tuple(np.unique_counts(w))
tuple(np.unique_inverse(w))
np.sort(np.unique_values(w))
np.unpackbits(u)
np.unravel_index(5, (2, 3))
np.unravel_index(np.array([1, 4]), (2, 3))
np.unstack(a)
np.unstack(t, axis=1)
np.unwrap(v * 3)
np.vander(v, 3)
np.var(a, axis=1)
np.var(b, axis=1, correction=1)
np.var(a, where=m)
np.vdot(z, z)
np.vecdot(a, b)
np.vecmat(v[:2], a)
np.vsplit(a, 2)
np.vstack([v, w])
np.where(m)
np.where(m, a, b)
np.where(m, a, 0)
np.where([True, False, True], 1, 2.5)
np.zeros((2, 3), np.int32)
np.zeros_like(a, shape=(2,))
np.c_[v, w]
np.r_[v, 1, w]
np.mgrid[0:2, 0:3]
np.ogrid[0:2, 0:3]
np.vectorize(lambda x: x + 1)(w)
np.require(a, requirements="F").flags.f_contiguous
np.linalg.cholesky(q)
np.linalg.cond(q)
np.linalg.cross(q[0], q[1])
np.linalg.det(q)
np.linalg.diagonal(t)
np.linalg.eigh(q).eigenvalues
np.linalg.eigvalsh(q)
np.sort(np.linalg.eigvals(q).real)
np.sort(np.linalg.eig(q).eigenvalues.real)
np.linalg.inv(q)
np.linalg.lstsq(a.T, np.array([1.0, 2.0, 3.0, 4.0]), rcond=None)[0]
np.linalg.matmul(q, q)
np.linalg.matrix_norm(q)
np.linalg.matrix_norm(q, ord=2)
np.linalg.matrix_norm(q, ord=1, keepdims=True)
np.linalg.matrix_power(q, 3)
np.linalg.matrix_power(q, -1)
np.linalg.matrix_rank(q)
np.linalg.matrix_transpose(t)
np.linalg.multi_dot([a, a.T, q[:2, :2]])
np.linalg.norm(v)
np.linalg.norm(a, axis=0)
np.linalg.norm(a, ord=1)
np.linalg.norm(a, ord="nuc")
np.linalg.norm(v, ord=numpy.inf)
np.linalg.outer(v, w)
np.linalg.pinv(a)
abs(np.linalg.qr(q)[1])
np.linalg.slogdet(q)
np.linalg.solve(q, v[:3])
np.linalg.svd(a, compute_uv=False)
np.linalg.svdvals(a)
np.linalg.tensordot(a, b.T, axes=1)
np.linalg.tensorinv(q.reshape(3, 1, 3), ind=1).shape
np.linalg.tensorsolve(q, v[:3])
np.linalg.trace(t[:, :3, :3])
np.linalg.vecdot(a, b)
np.linalg.vector_norm(a)
np.linalg.vector_norm(a, axis=1, ord=1, keepdims=True)
np.linalg.vector_norm(a, axis=1, ord=3)
np.linalg.inv(np.zeros((2, 2)))
np.linalg.solve(np.zeros((2, 2)), np.ones(2))
np.linalg.cholesky(-q)
np.linalg.inv(a)
np.fft.fft(v)
np.fft.fft(v, n=8, norm="ortho")
np.fft.fft2(a)
np.fft.fftfreq(5, d=0.1)
np.fft.fftn(t)
np.fft.fftshift(v)
np.fft.hfft(z)
np.fft.ifft(z)
np.fft.ifft2(a)
np.fft.ifftn(t, axes=(0, 1))
np.fft.ifftshift(v)
np.fft.ihfft(v)
np.fft.irfft(z)
np.fft.irfft2(a)
np.fft.irfftn(a)
np.fft.rfft(v)
np.fft.rfft2(a)
np.fft.rfftfreq(6)
np.fft.rfftn(t)
np.random.default_rng(5).random(3)
np.random.default_rng(5).integers(0, 10, (2, 2))
np.random.default_rng(5).standard_normal((2, 3), dtype=np.float32)
np.random.default_rng(5).choice(w, 3)
np.random.default_rng(5).permutation(v)
np.random.RandomState(3).rand(2)
np.random.RandomState(3).randint(0, 9, 4)
a.all()
b.any(axis=0)
a.argmax(axis=1)
a.argmin()
np.sort(v.argpartition(1)[:1])
v.argsort()
a.astype(np.int8)
a.astype("float32", order="F").flags.f_contiguous
b.choose([np.array([0, 1, 2, 3])] * 6)
a.clip(0, 3)
a.compress([True, False, True], axis=1)
z.conj()
z.conjugate()
a.copy()
b.cumprod(axis=1)
b.cumsum()
q.diagonal()
v.dot(v)
v.fill(3) or v
a.flatten()
a.T.flatten("F")
list(map(float, a.flat))
[next(it := a.T.flat), next(it), it.index, it.coords, it.base.shape, it.copy(), list(it), list(it)]
a.flat[3]
a.flat[[1, 2]]
z.imag
a.item(3)
a.item(1, 2)
a.itemsize
a.max(axis=0)
a.mean()
t.mT
a.min()
a.nbytes
a.ndim
b.nonzero()
a.prod(axis=0)
b.put([0, 1], 7) or b
a.ravel()
z.real
v.repeat(2)
a.reshape(4, 2)
a.reshape((8,))
f.round(1)
s.searchsorted([1.0])
a.shape
a.size
a.sort(axis=0) or a
a[:, None].squeeze()
a.std(axis=1)
a.strides
a.sum(0)
t.swapaxes(0, 1)
a.take([0, 3])
a.tobytes()
a.tolist()
q.trace()
t.transpose(2, 0, 1)
a.transpose((1, 0))
a.T
a.var()
u.view(np.int8)
a.dtype
len(a)
list(map(float, v))
float(o)
int(w[1])
complex(o)
bool(m[0, 0])
w[1].__index__()
3.0 in v
hash(v[0])
-a
+a
abs(z)
~m
~b
a + b
1 + a
a - 1
1 - a
a * f[0, 0]
a / b
1 / v
a // 2
7 // b
a % 3
7 % w
divmod(a, 2)
divmod(7, v)
v ** 2
v ** 0.5
2 ** w
w ** 2
w ** [1, 2, 0, 1, 3]
b & 1
b | 6
1 ^ b
b << 1
1 << b
b >> 1
100 >> b
a == b
a != 3
a < b
2 >= a
m & (a > 0)
q @ q
q @ v[:3]
[1.0, 2.0, 3.0] @ q
a[0]
a[-1, 1:]
a[..., 2]
a[::-1, ::2]
a[None, :, 1]
a[[1, 0]]
a[[0, 1], [2, 3]]
a[:, [0, 0, 3]]
a[m]
a[m[:, 0]]
a[np.array(1)]
a[b[0, 1:3] % 2]
a[0, 0]
t[1, [0, 2], 1:3]
t[[0, 1], :, [1, 2]]
t[..., None, 0]
o[()]
o[...]
v[[]]
[1, 2] * np.max(w)
np.min(w) * (1, 2)
np.mean(v) * [1, 2]
np.array(2) * [1, 2]
v == None
v != "a"
{1} == w
v[0] == None
np.max(w) in ("fro", None, 7)
np.mean(s).is_integer()
np.max(w).bit_count()
np.min(w).denominator
v.is_integer
np.min(w).numerator
np.max(s).as_integer_ratio()
np.max(s).hex()
np.max(s).bit_count()
np.emath.sqrt(v)
np.emath.logn(2, np.sum(-s))
np.polynomial.Polynomial.fit(v, s, 2)(v)
np.polynomial.polynomial.polyval(v, [1, 2])
np.polynomial.chebyshev.chebfit(v, s, 1)
np.testing.assert_equal(np.sum(w), 14)
np.testing.assert_equal([np.sum(w), v], [14, v])
np.testing.assert_equal(np.sum(w), 15)
np.testing.assert_raises(ValueError, v.reshape, 7)
numpy.emath.sqrt(v)
numpy.polynomial.polynomial.polyval(v, [1, 2])
numpy.broadcast_arrays(v, None)[0]
""".strip().splitlines()
