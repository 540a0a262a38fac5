"""Run many random programs: ``python -m tests.properties.fuzz --count 20000 --seed 0 [--tile 7] [--fusion 0] ...``.

With several devices (``--device cpu,opencl:0``, or ``all``) each program runs on all of them, and they are compared
with each other as well.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence

import gpuxp
from gpuxp.config import TIERS
from gpuxp.devices import runtime_of

from .programs import Options, Seeded, Writer, write_program
from .running import SETUPS, Mismatch, Setup, compare, disagreement, minimised, shown


def program(seed: int, options: Options = Options()) -> Writer:
    """Return the program of a seed."""
    return write_program(Seeded(seed), options)


def find_mismatch(
    seeds: Iterable[int], setups: Sequence[Setup], options: Options = Options()
) -> tuple[int, Setup, Mismatch] | None:
    """Run a program per seed, the setups in turn; return the first that fails, or None."""
    for seed in seeds:
        setup = setups[seed % len(setups)]
        found = check(seed, setup, options)
        if found is not None:
            return seed, setup, found
    return None


def check(seed: int, setup: Setup, options: Options = Options()) -> Mismatch | None:
    """Run the program of a seed in one setup."""
    writer = program(seed, options)
    try:
        compare(writer.statements, writer.outcomes, setup)
    except Mismatch as mismatch:
        return mismatch
    return None


def check_across(seed: int, setup: Setup, devices: Sequence[str], options: Options) -> tuple[Setup, Mismatch] | None:
    """Run the program of a seed on several devices, and compare them with NumPy and with each other."""
    writer = program(seed, options)
    found = {}
    for name in devices:
        there = dataclasses.replace(setup, device=name)
        try:
            found[name] = compare(writer.statements, writer.outcomes, there)
        except Mismatch as mismatch:
            return there, mismatch
    problem = disagreement(writer.statements, writer.outcomes, found)
    return None if problem is None else (setup, problem)


def report(seed: int, setup: Setup, options: Options, mismatch: Mismatch) -> str:
    """Return the failing program, made short."""
    statements = minimised(program(seed, options).statements, setup)
    return f"seed {seed}, {setup}\n{shown(statements)}\n{mismatch}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.properties.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="programs to run")
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--device", default="cpu", help="one, several with commas between, or all that were found")
    for name in ("tile", "fusion", "small", "num_threads", "tape"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help="only setups with this value")
    parser.add_argument("--tier", choices=TIERS, help="only setups with this tier of the software GPU")
    parser.add_argument("--statements", type=int, default=14, help="longest program")
    parser.add_argument("--large", type=int, default=1, help="large arrays in a hundred")
    parser.add_argument("--failures", type=int, default=1, help="stop after so many")
    return parser.parse_args()


def _devices(arguments: argparse.Namespace) -> list[str]:
    return [str(d) for d in gpuxp.devices()] if arguments.device == "all" else arguments.device.split(",")


def _setups(arguments: argparse.Namespace) -> list[Setup]:
    given = {n: getattr(arguments, n) for n in ("tile", "fusion", "small", "num_threads", "tape", "tier")}
    wanted = {n: bool(v) if n == "fusion" else v for n, v in given.items() if v is not None}
    setups = [dataclasses.replace(s, device=_devices(arguments)[0], **wanted) for s in SETUPS]
    return list(dict.fromkeys(setups))


def _bar(done: int, count: int, started: float) -> None:
    rate = done / max(time.perf_counter() - started, 1e-9)
    filled = 30 * done // count
    end = "\n" if done == count else "\r"
    if sys.stderr.isatty() or done == count:
        print(f"[{'#' * filled}{'.' * (30 - filled)}] {done}/{count} programs, {rate:.0f}/s", end=end, file=sys.stderr)


def main() -> int:
    """Run the command line."""
    arguments = _arguments()
    setups, devices = _setups(arguments), _devices(arguments)
    shared = set(devices) <= {"cpu", "reference"}
    options = Options(statements=arguments.statements, shared=shared, large=arguments.large)
    started, ran, failures = time.perf_counter(), Counter[Setup](), 0
    for number in range(arguments.count):
        seed = arguments.seed + number
        setup = setups[seed % len(setups)]
        found = check_across(seed, setup, devices, options)
        ran[setup] += 1
        if found is not None:
            failures += 1
            print(report(seed, found[0], options, found[1]) + "\n", flush=True)
            if failures >= arguments.failures:
                break
        if number % 50 == 49 or number == arguments.count - 1:
            _bar(number + 1, arguments.count, started)
    for setup, count in ran.items():
        print(f"{count:7d}  {setup}")
    shown_counters = ("kernels", "compiled_kernels", "compiled_launches", "not_compiled", "compile_errors", "fallbacks")
    for device in devices:
        counters = runtime_of(device).stats()
        counted = (f"{counters[name]} {name.replace('_', ' ')}" for name in shown_counters if counters.get(name))
        print(f"{device}: {', '.join(counted)}")
    print(f"{failures} failures in {sum(ran.values())} programs, {time.perf_counter() - started:.0f} s")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
