"""Functions of real numbers that MLX has not to the precision of their dtype, and what spelling rows takes."""

from __future__ import annotations

from .mlxtypes import SIGNED, Fn, MxArray, mx

# Helpers


def signbit(x: MxArray) -> MxArray:
    """Tell where the sign is negative, that of a zero or of NaN too."""
    return mx.less(mx.view(x, SIGNED[x.dtype.size]), 0)


def copysign(x: MxArray, y: MxArray) -> MxArray:
    """Give a number the sign of another."""
    size = mx.abs(x)
    return mx.where(signbit(y), mx.negative(size), size)


def single(fn: Fn) -> Fn:
    """Return the function computed in float32 for operands of half precision."""

    def run(*args: MxArray) -> MxArray:
        if args[0].dtype != mx.float16:
            return fn(*args)
        return fn(*(mx.astype(a, mx.float32) for a in args)).astype(mx.float16)

    return run


def join(real: MxArray, imag: MxArray) -> MxArray:
    """Join the parts; arithmetic with the imaginary unit would turn infinities into NaN."""
    return mx.squeeze(mx.view(mx.stack(mx.broadcast_arrays(real, imag), axis=-1), mx.complex64), axis=-1)


# Exponentials and trigonometry


def _through_complex(fn: Fn) -> Fn:
    """Return the real part of a complex function: for complex numbers MLX calls the C library's, which is exact."""

    def run(x: MxArray) -> MxArray:
        return mx.real(fn(mx.astype(x, mx.complex64)))

    return run


def exp(x: MxArray) -> MxArray:
    """Return the exponential."""
    if x.dtype != mx.float64:
        return single(_through_complex(mx.exp))(x)
    size = mx.abs(x)  # expm1 is in double precision; in two factors, for results below the smallest normal number
    near = mx.add(mx.expm1(mx.minimum(size, 700)), 1)
    far = mx.add(mx.expm1(mx.maximum(mx.subtract(size, 700), 0)), 1)
    return mx.where(mx.less(x, 0), mx.divide(mx.divide(1, near), far), mx.multiply(near, far))


def _cos_through_complex(x: MxArray) -> MxArray:
    """Return the real part of ``exp(ix)``, which takes less time than a complex cosine."""
    return mx.real(mx.exp(mx.multiply(mx.astype(x, mx.complex64), 1j)))


def half_turns(x: MxArray) -> tuple[MxArray, MxArray]:
    """Return ``tan(x)`` and whether the cosine is positive, in double precision as `mx.tan` is."""
    whole = mx.tan(x)
    return whole, mx.equal(signbit(whole), signbit(mx.tan(mx.multiply(x, 0.5))))


def sin(x: MxArray) -> MxArray:
    """Return the sine."""
    if x.dtype != mx.float64:
        return single(_through_complex(mx.sin))(x)
    tangent, positive = half_turns(x)
    size = mx.divide(tangent, mx.sqrt(mx.add(mx.square(tangent), 1)))
    return mx.where(positive, size, mx.negative(size))


def cos(x: MxArray) -> MxArray:
    """Return the cosine."""
    if x.dtype != mx.float64:
        return single(_cos_through_complex)(x)
    tangent, positive = half_turns(x)
    size = mx.divide(1, mx.sqrt(mx.add(mx.square(tangent), 1)))
    return mx.where(positive, size, mx.negative(size))
