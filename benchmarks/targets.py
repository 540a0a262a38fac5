"""What gpuxp promises on two cores, as a table, and the check of a run against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gpuxp.demo import table

from .peers import PORTS
from .results import Run
from .row import OWN, Row
from .series import SINGLE

Rows = Mapping[str, Row]
Measure = Callable[[Rows], tuple[float, str] | None]  # the value and a remark; None: the run has it not

_LARGE = 100_000  # elements from which gpuxp must not be slower than NumPy
_MILLION = 1_000_000
FLOOR = 0.9
_NAMED = 6  # cases below it that are named
RATIOS = {  # NumPy's time / gpuxp's
    "chain3": 4.0,
    "chain2": 4.0,
    "black_scholes": 4.0,
    "mandelbrot": 3.0,
    "stencil": 3.0,
    "squared_error": 4.0,
    "softmax": 2.0,
    "exp[4000000]": 1.3,
    "sin[4000000]": 4.0,
    "k_means": 1.5,
    "k_means_broadcast": 1.5,
    "n_body": 1.5,
    "attention": 1.2,
    "mlp_step": 1.2,
    "add[4000000]": 0.95,
    "matmul": 0.95,
    "sort": 0.95,
    "fft": 0.95,
    "svd": 0.95,
    "ten_and_read": 1 / 4,
    "import": 1 / 1.5,
}
_PORTED = (
    "chain3", "chain2", "black_scholes", "mandelbrot", "stencil", "squared_error", "softmax", "k_means", "n_body",
    "attention", "mlp_step",
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """One promise."""

    text: str
    measure: Measure
    bound: float
    at_least: bool = True

    def holds(self, value: float) -> bool:
        """Whether a measured value keeps the promise."""
        return value >= self.bound if self.at_least else value <= self.bound


def _ratio(case: str, side: str) -> Measure:
    def measure(rows: Rows) -> tuple[float, str] | None:
        if case not in rows or side not in rows[case].ratios:
            return None
        found = rows[case].ratios[side]
        return found.median, f"{found.low:.2f}-{found.high:.2f}"

    return measure


def _ported(case: str) -> Measure:
    """Measure against the fastest version that was ported by hand."""

    def measure(rows: Rows) -> tuple[float, str] | None:
        ratios = rows[case].ratios if case in rows else {}
        found = {peer: ratios[peer].median for peer in PORTS if peer in ratios}
        if not found:
            return None
        fastest = min(found, key=lambda peer: found[peer])
        return found[fastest], fastest

    return measure


def _value(case: str, scale: float = 1.0) -> Measure:
    def measure(rows: Rows) -> tuple[float, str] | None:
        return (rows[case].values[OWN].median * scale, "") if case in rows else None

    return measure


def _share(case: str, part: str, whole: str) -> Measure:
    def measure(rows: Rows) -> tuple[float, str] | None:
        if part not in rows or whole not in rows:
            return None
        return rows[part].values[OWN].median / rows[whole].values[OWN].median, case

    return measure


def _growth(series: str, most: int) -> Measure:
    """Measure the largest rise of a cost from any size to a larger one, in a run that has all sizes."""

    def measure(rows: Rows) -> tuple[float, str] | None:
        points = sorted((r.elements, r.values[OWN].median) for r in rows.values() if r.series == series)
        if len(points) < 2 or points[-1][0] < most:
            return None
        costs = [cost for _, cost in points]
        return max(later / min(costs[: i + 1]) for i, later in enumerate(costs[1:])), f"{points[0][0]:,} to {most:,}"

    return measure


def _slowest(rows: Rows) -> tuple[float, str] | None:
    """Measure the worst ratio of all that is large, and name what is below the floor."""
    found = {
        row.name: row.ratios["numpy"].median
        for row in rows.values()
        if "numpy" in row.ratios
        and (row.group == "whole" or (row.group in ("single", "growth") and row.elements >= _LARGE))
    }
    if not found:
        return None
    below = [name for name in sorted(found, key=found.__getitem__) if found[name] < FLOOR]
    more = f" and {len(below) - _NAMED} more" if len(below) > _NAMED else ""
    return min(found.values()), ", ".join(below[:_NAMED]) + more


def _least(side: str, names: Sequence[str]) -> Measure:
    """Measure the worst ratio to one side of all these cases, and name what is below the floor."""

    def measure(rows: Rows) -> tuple[float, str] | None:
        found = {name: rows[name].ratios[side].median for name in names if name in rows and side in rows[name].ratios}
        if not found:
            return None
        return min(found.values()), ", ".join(f"{name} {found[name]:.2f}" for name in found if found[name] < FLOOR)

    return measure


def _singles(size: int) -> list[str]:
    return [f"{name}_f32[{size}]" for name in SINGLE]


_CHAINS = ("chain3_f32", "chain2_f32")
DEVICE_TARGETS: dict[str, tuple[Target, ...]] = {  # by kind of device
    "opencl": (
        *(Target(f"{case}: pyopencl.array's time / gpuxp's", _ratio(case, "pyopencl"), 3.0) for case in _CHAINS),
        *(Target(f"{case}: a kernel by hand / gpuxp", _ratio(case, "handwritten"), 0.9) for case in _CHAINS),
    ),
    "mlx": (
        *(Target(f"{case}: plain MLX's time / gpuxp's", _ratio(case, "mlx"), 1.0) for case in _CHAINS),
        Target("single operations of a million: MLX's time / gpuxp's", _least("mlx", _singles(_MILLION)), 0.9),
    ),
    "cuda": (
        *(Target(f"{case}: CuPy's time / gpuxp's", _ratio(case, "cupy"), 3.0) for case in _CHAINS),
        *(Target(f"{case}: share of a copy's bandwidth", _ratio(case, "copy"), 0.7) for case in _CHAINS),
        Target("single operations of 10 million: CuPy's / gpuxp's", _least("cupy", _singles(10 * _MILLION)), 0.95),
    ),
}
TARGETS = (
    *(Target(f"{case}: NumPy's time / gpuxp's", _ratio(case, "numpy"), bound) for case, bound in RATIOS.items()),
    Target("everything of 100,000 elements or more", _slowest, FLOOR),
    *(Target(f"{case}: fastest port's time / gpuxp's", _ported(case), 0.8) for case in _PORTED),
    *(Target(f"{case}: share of a copy's bandwidth", _ratio(case, "copy"), 0.7) for case in ("chain3", "chain2")),
    Target("recording alone, µs an operation", _value("record[100]", 1e6), 3.0, False),
    Target("an operation on ten numbers, µs", _value("ten_op", 1e6), 3.0, False),
    Target("float(x[i, j]), µs", _value("small_read", 1e6), 1.0, False),
    Target("compilers imported before a kernel is hot", _value("compilers_early"), 0, False),
    Target("longest call / time to compiled code", _share("cold cache", "longest[cold]", "compiled[cold]"), 0.5, False),
    Target("second process: s to compiled code", _value("compiled[warm]"), 0.5, False),
    Target("peak memory beyond inputs and output, MB", _value("peak[interpreter]"), 20, False),
    Target("the same, compiled tier", _value("peak[compiled]"), 20, False),
    *(
        Target(f"{series}: rise of an element's time", _growth(series, 100 * _MILLION), 1.5, False)
        for series in ("grow_chain2", "grow_exp", "grow_sum")
    ),
    Target("operations: rise of an operation's time", _growth("operations", 100_000), 1.5, False),
)


def check(run: Run) -> bool:
    """Print which targets hold; return whether none of those that were measured is missed."""
    if run.settings["quick"]:
        print("a quick run: the targets are about full sizes")
    lines, missed, absent = [], 0, 0
    for target in DEVICE_TARGETS.get(str(run.settings["device"]).partition(":")[0], TARGETS):
        found = target.measure(run.rows)
        wanted = f"{'>=' if target.at_least else '<='} {target.bound:.3g}"
        if found is None:
            absent += 1
            continue
        holds = target.holds(found[0])
        missed += not holds
        lines.append([target.text, wanted, f"{found[0]:.2f}", "yes" if holds else "NO", found[1]])
    table.show("Targets", ("what", "wanted ", "found ", "holds", "quartiles or remark"), lines)
    print(f"{len(lines) - missed} hold, {missed} do not, {absent} were not measured")
    return not missed
