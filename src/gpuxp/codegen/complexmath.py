"""Functions of complex numbers in C, for languages that have them for real ones alone.

Formulas after W. Kahan, "Branch cuts for complex elementary functions", special cases after C99's Annex G. Fields as in
`spelling`: {T} the complex type, {R} the type of its parts, {f} the function's name.
"""

from __future__ import annotations

import re

_LARGE = "(sizeof({R}) == 4 ? ({R})1e9 : ({R})1e18)"  # beyond, one added to a square is lost
_LN2 = "({R})0.693147180559945309417232121458176568"
_HALF_PI = "({R})1.570796326794896619231321691639751442"

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


def _helper(source: str) -> str:
    """Return a template for `str.format`: braces doubled but for the fields, short names written out."""
    for short, text in (("LARGE", _LARGE), ("LN2", _LN2), ("HALF_PI", _HALF_PI)):
        source = re.sub(rf"\b{short}\b", text, source)
    source = re.sub(r"\bC\(", "gpx_complex_{T}(", source).replace("NAN", "(({R})INFINITY - ({R})INFINITY)")
    lines = "\n".join("  " + line for line in source.strip().splitlines())
    lines = re.sub(r"\{(?![TR]\})", "{{", lines)
    lines = re.sub(r"(?<!\{[TR])\}", "}}", lines)
    return "{T} {f}({T} z) {{\n" + lines + "\n}}"


HELPERS = {f"c{name}:c": _helper(source) for name, source in _SOURCES.items()}
