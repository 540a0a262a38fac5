"""The command `python -m gpuxp demo`."""

from __future__ import annotations

import json
from collections.abc import Sequence

import gpuxp

from . import table
from .runner import Outcome, choose, run_program


def run_demo(devices: Sequence[str], names: Sequence[str], *, small: bool, repeats: int, as_json: bool) -> int:
    """Run the demo programs and show the table; return 1 if a result is not NumPy's."""
    programs, left_out = choose(names)
    outcomes = []
    with gpuxp.configure(fallback="allow"), table.progress(len(programs), "demo") as announce:
        for program in programs:
            announce(program.name)
            outcomes.append(run_program(program, devices, small=small, repeats=repeats))
    if as_json:
        print(json.dumps({"programs": [o.as_dict() for o in outcomes], "left_out": left_out}, indent=2))
    else:
        _show(outcomes, devices)
        print(*left_out, sep="\n", end="\n" if left_out else "")
        print(*_notes(outcomes, devices), sep="\n")
    return 0 if all(outcome.match for outcome in outcomes) else 1


def _show(outcomes: Sequence[Outcome], devices: Sequence[str]) -> None:
    columns = ["program", "result", "NumPy ms "]
    for device in devices:
        columns += [f"{device} ms ", "ratio "]
    rows = []
    for outcome in outcomes:
        row = [outcome.name, outcome.result, f"{outcome.numpy_milliseconds:.1f}"]
        for device in devices:
            found = outcome.devices[device]
            row += [f"{found.milliseconds:.1f}", f"{found.ratio:.2f}x"]
        rows.append([*row, "yes" if outcome.match else "NO"])
    table.show("The same programs with NumPy and with gpuxp", [*columns, "match"], rows)


def _notes(outcomes: Sequence[Outcome], devices: Sequence[str]) -> list[str]:
    notes = []
    for outcome in outcomes:
        notes += [f"{outcome.name} on {d}: {found.problem}" for d, found in outcome.devices.items() if found.problem]
    matched = sum(outcome.match for outcome in outcomes)
    notes.append(f"{matched} of {len(outcomes)} programs match NumPy on {', '.join(devices)}.")
    for device in devices:
        host = [o.name for o in outcomes if o.devices[device].fallbacks]
        if host:
            notes.append(f"On {device}, parts of these ran on the host: {', '.join(host)}.")
    notes.append("ratio: NumPy's time over gpuxp's; above 1 gpuxp is faster. Medians of runs taken in turn.")
    return notes


def list_devices(text: str | None) -> list[str]:
    """Return the devices of a comma-separated list, or all; an unknown one raises `UnknownDeviceError`."""
    if text is None:
        return [str(device) for device in gpuxp.devices()]
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        with gpuxp.device(name):
            pass
    return names
