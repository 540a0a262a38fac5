"""Functions of complex numbers in C, for languages that have them for real ones alone.

Formulas after W. Kahan, "Branch cuts for complex elementary functions", special cases after C99's Annex G. Fields as in
`spelling`: {T} the complex type, {R} the type of its parts, {f} the function's name.

A power is ``exp(b * log(a))``, and what the logarithm is off is multiplied by the exponent. So it is computed to twice
the precision: as a pair, a number and what is to be added to it, in a variable of the complex type.
"""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np

_LARGE = "(sizeof({R}) == 4 ? ({R})1e9 : ({R})1e18)"  # beyond, one added to a square is lost
_LN2 = "({R})0.693147180559945309417232121458176568"
_HALF_PI = "({R})1.570796326794896619231321691639751442"


def _pair(digits: str) -> str:
    """Return a constant as a pair, in both precisions."""
    parts = []
    for kind in (np.float32, np.float64):
        first = kind(digits)
        parts.append((first, kind(Fraction(digits) - Fraction(float(first)))))
    high, low = (f"sizeof({{R}}) == 4 ? ({{R}}){float(a)!r} : ({{R}}){float(b)!r}" for a, b in zip(*parts, strict=True))
    return f"C({high}, {low})"


_PAIRS = {
    "HALF_LN2_PAIR": _pair("0.34657359027997265470861606072908828403775006718"),
    "ATAN_HALF_PAIR": _pair("0.46364760900080611621425623146121440202853705429"),
    "QUARTER_PI_PAIR": _pair("0.78539816339744830961566084581987572104929234985"),
}

_SOURCES = {
    "exp": """
const {R} x = z.x, y = z.y;
if (y == 0) return C(exp(x), y);
if (isinf(y) || isnan(y)) {
  if (!isinf(x)) return C(NAN, NAN);
  return x > 0 ? C(x, NAN) : C(0, 0);
}
if (isnan(x)) return C(x, x);
const {R} mid = exp(x * ({R})0.5), c = cos(y), s = sin(y);
const {R} m = exp(x);
if (isinf(m) && !isinf(x)) return C(mid * c * mid, mid * s * mid);
return C(m * c, m * s);
""",
    "log": """
const {R} ax = fabs(z.x), ay = fabs(z.y), most = ax > ay ? ax : ay, least = ax > ay ? ay : ax;
const {R} angle = atan2(z.y, z.x);
if (most > ({R})0.5 && most < 2) return C(log1p((most - 1) * (most + 1) + least * least) * ({R})0.5, angle);
if (most > LARGE) return C(log(hypot(ax * ({R})0.25, ay * ({R})0.25)) + 2 * LN2, angle);
return C(log(hypot(ax, ay)), angle);
""",
    "logp": "return C(log(hypot(z.x + 1, z.y)), atan2(z.y, z.x + 1));",
    "logtwo": """
const {T} w = gpx_clog_{T}(z);
const {R} k = ({R})1.442695040888963407359924681001892137;
return C(w.x * k, w.y * k);
""",
    "logten": """
const {T} w = gpx_clog_{T}(z);
const {R} k = ({R})0.434294481903251827651128918916605082;
return C(w.x * k, w.y * k);
""",
    "exptwo": "return gpx_cexp_{T}(C(z.x * LN2, z.y * LN2));",
    "expm": """
const {R} x = z.x, y = z.y;
if (y == 0) return C(expm1(x) + 0, y);
if (isinf(y) || isnan(y)) {
  if (isinf(x)) return x < 0 ? C(-1, copysign(({R})0, isnan(y) ? 1 : y)) : C(x, NAN);
  return C(NAN, NAN);
}
const {R} mid = sin(y * ({R})0.5);
return C(expm1(x) * cos(y) - 2 * mid * mid, exp(x) * sin(y));
""",
    "sqrt": """
const {R} x = z.x, y = z.y;
if (x == 0 && y == 0) return C(0, y);
if (isinf(y)) return C(INFINITY, y);
if (isnan(x)) return C(x, x);
if (isinf(x)) return x < 0 ? C(fabs(y - y), copysign(x, y)) : C(x, copysign(y - y, y));
const {R} most = fabs(x) > fabs(y) ? fabs(x) : fabs(y);
const {R} up = most > LARGE * LARGE ? ({R})0.0625 : most < 1 / (LARGE * LARGE) ? LARGE : 1;
const {R} down = most > LARGE * LARGE ? ({R})4 : most < 1 / (LARGE * LARGE) ? 1 / sqrt(LARGE) : 1;
const {R} a = x * up, b = y * up, t = sqrt((fabs(a) + hypot(a, b)) * ({R})0.5);
return x >= 0 ? C(t * down, b / (2 * t) * down) : C(fabs(b) / (2 * t) * down, copysign(t * down, y));
""",
    "cosh": """
const {R} x = z.x, y = z.y;
if (isinf(y) || isnan(y)) {
  if (x == 0) return C(NAN, 0);
  return isinf(x) ? C(INFINITY, NAN) : C(NAN, NAN);
}
if (y == 0) return C(cosh(x), isnan(x) ? y : copysign(({R})1, x) * y);
const {R} c = cos(y), s = sin(y), h = cosh(x);
if (isinf(h) && !isinf(x)) {
  const {R} mid = exp(fabs(x) * ({R})0.5);
  return C(mid * c * ({R})0.5 * mid, copysign(mid, x) * s * ({R})0.5 * mid);
}
return C(h * c, sinh(x) * s);
""",
    "sinh": """
const {R} x = z.x, y = z.y;
if (isinf(y) || isnan(y)) {
  if (x == 0) return C(x, NAN);
  return isinf(x) ? C(INFINITY, NAN) : C(NAN, NAN);
}
if (y == 0) return C(sinh(x), y);
const {R} c = cos(y), s = sin(y), h = cosh(x);
if (isinf(h) && !isinf(x)) {
  const {R} mid = exp(fabs(x) * ({R})0.5);
  return C(copysign(mid, x) * c * ({R})0.5 * mid, mid * s * ({R})0.5 * mid);
}
return C(sinh(x) * c, h * s);
""",
    "tanh": """
const {R} x = z.x, y = z.y;
if (isinf(x)) return C(copysign(({R})1, x), copysign(({R})0, isnan(y) ? 1 : y));
if (y == 0) return C(tanh(x), y);
if (isinf(y) || isnan(y)) return C(x == 0 ? x : NAN, NAN);
if (isnan(x)) return C(x, x);
if (fabs(x) > (sizeof({R}) == 4 ? 11 : 22))
  return C(copysign(({R})1, x), 4 * sin(y) * cos(y) * exp(-2 * fabs(x)));
const {R} t = tan(y), beta = 1 + t * t, s = sinh(x), rho = sqrt(1 + s * s);
if (isinf(t)) return C(rho / s, 1 / t);
const {R} whole = 1 + beta * s * s;
return C(beta * rho * s / whole, t / whole);
""",
    "asinh": """
const {R} x = z.x, y = z.y;
if (isnan(x) || isnan(y)) {
  if (isinf(x)) return C(x, NAN);
  if (isinf(y)) return C(INFINITY, NAN);
  return C(NAN, y == 0 ? y : NAN);
}
if (fabs(x) > LARGE || fabs(y) > LARGE) {
  const {T} w = gpx_clog_{T}(C(fabs(x), fabs(y)));
  return C(copysign(w.x + LN2, x), copysign(w.y, y));
}
const {T} u = gpx_csqrt_{T}(C(1 - y, -x)), v = gpx_csqrt_{T}(C(1 + y, x));
return C(asinh(u.x * v.y - u.y * v.x), atan2(y, u.x * v.x - u.y * v.y));
""",
    "acos": """
const {R} x = z.x, y = z.y;
if (isnan(x) || isnan(y)) {
  if (isinf(x)) return C(NAN, -INFINITY);
  if (isinf(y)) return C(NAN, -y);
  return C(x == 0 ? HALF_PI : NAN, NAN);
}
if (fabs(x) > LARGE || fabs(y) > LARGE) {
  const {T} w = gpx_clog_{T}(z);
  return C(fabs(w.y), signbit(y) ? w.x + LN2 : -w.x - LN2);
}
const {T} u = gpx_csqrt_{T}(C(1 - x, -y)), v = gpx_csqrt_{T}(C(1 + x, y));
return C(2 * atan2(u.x, v.x), asinh(v.x * u.y - v.y * u.x));
""",
    "acosh": """
const {T} w = gpx_cacos_{T}(z);
if (isnan(w.x) && isnan(w.y)) return C(w.y, w.x);
if (isnan(w.x)) return C(fabs(w.y), w.x);
if (isnan(w.y)) return C(w.y, w.x);
return C(fabs(w.y), copysign(w.x, z.y));
""",
    "atanh": """
const {R} x = z.x, y = z.y, ax = fabs(x), ay = fabs(y);
if (y == 0 && ax <= 1) return C(atanh(x), y);
if (x == 0) return C(x, atan(y));
if (isnan(x) || isnan(y)) {
  if (isinf(x)) return C(copysign(({R})0, x), NAN);
  if (isinf(y)) return C(copysign(({R})0, x), copysign(HALF_PI, y));
  return C(NAN, NAN);
}
if (ax > LARGE || ay > LARGE) {
  if (isinf(x) || isinf(y)) return C(copysign(({R})0, x), copysign(HALF_PI, y));
  const {R} part = ax > ay ? 1 / (ax + ay / ax * ay) : ax / ay / (ay + ax / ay * ax);
  return C(copysign(part, x), copysign(HALF_PI, y));
}
const {R} apart = (1 - ax) * (1 - ax) + ay * ay, im = ({R})0.5 * atan2(2 * y, (1 - ax) * (1 + ax) - ay * ay);
const {R} re = ax == 1 && ay * LARGE < 1 ? ({R})0.5 * (LN2 - log(ay)) : ({R})0.25 * log1p(4 * ax / apart);
return C(copysign(re, x), im);
""",
    "sin": "const {T} w = gpx_csinh_{T}(C(-z.y, z.x));\nreturn C(w.y, isnan(w.y) ? fabs(w.x) : -w.x);",
    "cos": "return gpx_ccosh_{T}(C(-z.y, z.x));",
    "tan": "const {T} w = gpx_ctanh_{T}(C(-z.y, z.x));\nreturn C(w.y, -w.x);",
    "asin": "const {T} w = gpx_casinh_{T}(C(z.y, z.x));\nreturn C(w.y, w.x);",
    "atan": "const {T} w = gpx_catanh_{T}(C(z.y, z.x));\nreturn C(w.y, w.x);",
    "ends": """
if (!isinf(z.x) && !isinf(z.y)) return C(isnan(z.x) ? 0 : z.x, isnan(z.y) ? 0 : z.y);
return C(copysign(({R})(isinf(z.x) ? 1 : 0), z.x), copysign(({R})(isinf(z.y) ? 1 : 0), z.y));
""",
    "rint": "return C(rint(z.x), rint(z.y));",
    "inverse": """
if (fabs(z.y) <= fabs(z.x)) {
  const {R} ratio = z.y / z.x, whole = z.x + z.y * ratio;
  return C(1 / whole, -ratio / whole);
}
const {R} ratio = z.x / z.y, whole = z.x * ratio + z.y;
return C(ratio / whole, -1 / whole);
""",
    "sign": """
const {R} size = gpx_cabs_{T}(z);
if (isnan(size)) return C(NAN, NAN);
if (isinf(size)) {
  if (isinf(z.x) && isinf(z.y)) return C(NAN, NAN);
  return isinf(z.x) ? C(copysign(({R})1, z.x), 0) : C(0, copysign(({R})1, z.y));
}
return size == 0 ? C(0, 0) : C(z.x / size, z.y / size);
""",
}

# Of more than one argument: declared, and defined
_MORE = {
    # a pair and a pair added, a pair by a number, a pair divided by a pair
    "psum": (
        "{T} a, {T} b",
        """
const {R} s = a.x + b.x, t = s - a.x, low = (a.x - (s - t)) + (b.x - t) + (a.y + b.y), high = s + low;
return C(high, low - (high - s));
""",
    ),
    "ptimes": (
        "{T} a, {R} b",
        """
const {R} p = a.x * b, low = fma(a.x, b, -p) + a.y * b, high = p + low;
return C(high, low - (high - p));
""",
    ),
    "pover": (
        "{T} a, {T} b",
        """
const {R} q = a.x / b.x, low = (fma(-q, b.x, a.x) + a.y - q * b.y) / b.x, high = q + low;
return C(high, low - (high - q));
""",
    ),
    # atanh(s), or with -1 atan(s), for |s| up to 1/4; the first terms as pairs
    "pseries": (
        "{T} s, {R} sign",
        """
const {T} square = gpx_cptimes_{T}(s, s.x);
const {R} wx = sign * square.x, wy = sign * (square.y + s.x * s.y);
{R} x = 0, y = 0;
for (int k = sizeof({R}) == 4 ? 10 : 24; k >= (sizeof({R}) == 4 ? 5 : 7); --k) x = x * wx + ({R})1 / (2 * k + 1);
for (int k = sizeof({R}) == 4 ? 4 : 6; k >= 0; --k) {
  const {R} n = 2 * k + 1, c = 1 / n, p = x * wx, low = fma(x, wx, -p) + (x * wy + y * wx), high = c + p;
  y = p - (high - c) + (low + fma(-c, n, ({R})1) / n);
  x = high;
}
const {R} p = x * s.x;
return gpx_cpsum_{T}(C(p, fma(x, s.x, -p)), C(0, x * s.y + y * s.x));
""",
    ),
    # |log(a)| and the angle of a, each a pair: of numbers that are neither 0, infinite nor NaN
    "plog": (
        "{T} a",
        """
const {R} ax = fabs(a.x), ay = fabs(a.y);
const int e = ilogb(ax > ay ? ax : ay);
const {R} x = ldexp(ax, -e), y = ldexp(ay, -e), xx = x * x, yy = y * y;
const {T} square = gpx_cpsum_{T}(C(xx, fma(x, x, -xx)), C(yy, fma(y, y, -yy)));
const int down = ilogb(square.x), up = ldexp(square.x, -down) > ({R})1.4142135 ? down + 1 : down;
const {T} m = C(ldexp(square.x, -up), ldexp(square.y, -up));
const {T} s = gpx_cpover_{T}(gpx_cpsum_{T}(m, C(-1, 0)), gpx_cpsum_{T}(m, C(1, 0)));
return gpx_cpsum_{T}(gpx_cptimes_{T}(HALF_LN2_PAIR, 2 * e + up), gpx_cpseries_{T}(s, 1));
""",
    ),
    "pangle": (
        "{T} a",
        """
const {R} ax = fabs(a.x), ay = fabs(a.y);
const int e = ilogb(ax > ay ? ax : ay);
const {R} most = ldexp(ax > ay ? ax : ay, -e), least = ldexp(ax > ay ? ay : ax, -e);
const {R} near = 4 * least < most ? 0 : 4 * least < 3 * most ? ({R})0.5 : 1, part = near * most, more = near * least;
const {T} t = gpx_cpover_{T}(gpx_cpsum_{T}(C(least, 0), C(-part, 0)), gpx_cpsum_{T}(C(most, 0), C(more, 0)));
const {T} quarter = QUARTER_PI_PAIR, middle = ATAN_HALF_PAIR;
{T} angle = gpx_cpseries_{T}(t, -1);
if (near > 0) angle = gpx_cpsum_{T}(near < 1 ? middle : quarter, angle);
if (ay > ax) angle = gpx_cpsum_{T}(C(2 * quarter.x, 2 * quarter.y), C(-angle.x, -angle.y));
if (a.x < 0) angle = gpx_cpsum_{T}(C(4 * quarter.x, 4 * quarter.y), C(-angle.x, -angle.y));
return signbit(a.y) ? C(-angle.x, -angle.y) : angle;
""",
    ),
    # a product by C99's rules: where something is infinite, so is the product
    "times": (
        "{T} a, {T} b",
        """
const {T} w = gpx_cmul_{T}(a, b);
const int endless = isinf(a.x) || isinf(a.y) || isinf(b.x) || isinf(b.y) || isinf(a.x * b.x) || isinf(a.y * b.y)
  || isinf(a.x * b.y) || isinf(a.y * b.x);
if (!isnan(w.x) || !isnan(w.y) || !endless) return w;
const {T} v = gpx_cmul_{T}(gpx_cends_{T}(a), gpx_cends_{T}(b));
return C(INFINITY * v.x, INFINITY * v.y);
""",
    ),
    # NumPy's rules: whole exponents below 100 by multiplication, in its order
    "pow": (
        "{T} a, {T} b",
        """
if (b.x == 0 && b.y == 0) return C(1, 0);
if (a.x == 0 && a.y == 0) return b.x > 0 ? C(0, 0) : C(NAN, NAN);
if (b.y == 0 && b.x > -100 && b.x < 100 && (int)b.x == b.x) {
  if (b.x == 1) return a;
  if (b.x == 2) return gpx_cmul_{T}(a, a);
  if (b.x == 3) return gpx_cmul_{T}(a, gpx_cmul_{T}(a, a));
  {T} found = C(1, 0), base = a;
  for (int n = (int)fabs(b.x); ; base = gpx_cmul_{T}(base, base)) {
    if (n & 1) found = gpx_cmul_{T}(found, base);
    n /= 2;
    if (n == 0) break;
  }
  return b.x < 0 ? gpx_cdiv_{T}(C(1, 0), found) : found;
}
if (!isfinite(a.x) || !isfinite(a.y)) return gpx_cexp_{T}(gpx_ctimes_{T}(b, gpx_clog_{T}(a)));
const {T} size = gpx_cplog_{T}(a), angle = gpx_cpangle_{T}(a);
{T} x = gpx_cpsum_{T}(gpx_cptimes_{T}(size, b.x), gpx_cptimes_{T}(angle, -b.y));
const {T} y = gpx_cpsum_{T}(gpx_cptimes_{T}(angle, b.x), gpx_cptimes_{T}(size, b.y));
if (!isfinite(x.x) || !isfinite(y.x)) return gpx_cexp_{T}(gpx_ctimes_{T}(b, gpx_clog_{T}(a)));
if (fabs(x.x) > 4000) x = C(copysign(({R})4000, x.x), 0);
const {R} n = rint(x.x / LN2);
const {T} left = gpx_cpsum_{T}(x, gpx_cptimes_{T}(HALF_LN2_PAIR, -2 * n));
const {R} m = exp(left.x + left.y), c = cos(y.x), s = sin(y.x);
const {R} t = fabs(y.y) < ({R})0.25 ? y.y : 0, tt = t * t;
const {R} back = tt * (({R})0.5 - tt / 24), side = t - t * tt * (({R})1 / 6 - tt / 120);
const {R} re = c - (s * side + c * back), im = y.x == 0 ? y.x : s + (c * side - s * back);
return C(ldexp(m * re, (int)n), ldexp(m * im, (int)n));
""",
    ),
}


def _helper(source: str, given: str = "{T} z") -> str:
    """Return a template for `str.format`: braces doubled but for the fields, short names written out."""
    for short, text in ({"LARGE": _LARGE, "LN2": _LN2, "HALF_PI": _HALF_PI} | _PAIRS).items():
        source = re.sub(rf"\b{short}\b", text, source)
    source = re.sub(r"\bC\(", "gpx_complex_{T}(", source).replace("NAN", "(({R})INFINITY - ({R})INFINITY)")
    lines = "\n".join("  " + line for line in source.strip().splitlines())
    lines = re.sub(r"\{(?![TR]\})", "{{", lines)
    lines = re.sub(r"(?<!\{[TR])\}", "}}", lines)
    return "{T} {f}(" + given + ") {{\n" + lines + "\n}}"


HELPERS = {f"c{name}:c": _helper(source) for name, source in _SOURCES.items()}
HELPERS |= {f"c{name}:c": _helper(source, given) for name, (given, source) in _MORE.items()}
