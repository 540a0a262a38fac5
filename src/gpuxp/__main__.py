"""The command line: ``python -m gpuxp demo``, ``python -m gpuxp info``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import gpuxp
from gpuxp.config import config, num_threads
from gpuxp.devices import absent, choose, runtime_of
from gpuxp.discovery import ask_all, patience

_PATIENCE = 1.0  # seconds that `info`, which is to take two, gives a driver
_LIBRARIES = ("numpy", "llvmlite", "cupy", "pyopencl", "mlx", "array-api-compat", "scipy", "scikit-learn")


def _version_of(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _libraries() -> dict[str, str | None]:
    """Return the libraries that gpuxp can use, with their versions; CuPy's wheels have many names."""
    found = {name: _version_of(name) for name in _LIBRARIES}
    wheels = metadata.packages_distributions().get("cupy", []) if found["cupy"] is None else []
    return found | {"cupy": _version_of(wheels[0])} if wheels else found


def _describe(device: gpuxp.Device) -> dict[str, Any]:
    """Return what a device says of itself; one that cannot be opened says why."""
    try:
        caps = runtime_of(device).backend.caps
    except gpuxp.UnknownDeviceError as error:
        return {"description": str(error), "dtypes": [], "memory": None}
    info = gpuxp.__array_namespace_info__()
    memory = caps.memory if caps.memory < 1 << 60 else None
    return {
        "description": caps.description, "dtypes": sorted(info.dtypes(device=device)), "memory": memory, **caps.info
    }  # fmt: skip


def _processor() -> dict[str, Any]:
    """Return the processor's name, cores and memory."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as lines:
            name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):  # not Linux, or a processor that gives no name
        pass
    return {"name": name, "cores": os.cpu_count(), "memory": runtime_of("cpu").backend.caps.memory}


def gather() -> dict[str, Any]:
    """Return what `python -m gpuxp info` shows."""
    ask_all()
    return {
        "gpuxp": gpuxp.__version__,
        "array_api": gpuxp.__array_api_version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "libraries": _libraries(),
        "default_device": str(gpuxp.default_device()),
        "default_reason": choose()[1] if config.device == "auto" else f"GPUXP_DEVICE={config.device}",
        "devices": {str(device): _describe(device) for device in gpuxp.devices()},
        "absent": absent(),
        "threads": num_threads(),
        "settings": dataclasses.asdict(gpuxp.config),
    }


def show_info(*, as_json: bool) -> int:
    """Print devices, versions and settings."""
    with patience(_PATIENCE):
        found = gather()
    if as_json:
        print(json.dumps(found, indent=2))
        return 0
    print(f"gpuxp {found['gpuxp']}, array API {found['array_api']}, Python {found['python']}, {found['system']}")
    cpu = found["processor"]
    print(f"processor {cpu['name']}, {cpu['cores']} cores, {cpu['memory'] / 2**30:.1f} GiB")
    print(*(f"  {name} {version or 'not installed'}" for name, version in found["libraries"].items()), sep="\n")
    print("devices")
    for name, device in found["devices"].items():
        default = " (default)" if name == found["default_device"] else ""
        memory = f", {device['memory'] / 2**30:.1f} GiB" if device["memory"] else ""
        about = "".join(f", {what} {device[what]}" for what in ("driver", "version") if what in device)
        print(f"  {name}{default}: {device['description']}{memory}{about}\n    {' '.join(device['dtypes'])}")
    print(*(f"  no {kind}: {reason}" for kind, reason in found["absent"].items()), sep="\n")
    print(f"default device {found['default_device']}: {found['default_reason']}")
    print(f"threads {found['threads']}")
    print("settings")
    print(*(f"  GPUXP_{name.upper()}={value}" for name, value in found["settings"].items()), sep="\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gpuxp", description="NumPy's namespace on whatever accelerator there is.")
    parser.add_argument("--version", action="version", version=f"gpuxp {gpuxp.__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    info = commands.add_parser("info", help="show devices, dtypes, versions and settings")
    demo = commands.add_parser("demo", help="run the same programs with NumPy and on every device, and compare")
    demo.add_argument("--devices", metavar="NAMES", help="such as cpu,opencl:0; all by default")
    demo.add_argument("--programs", metavar="NAMES", default="", help="such as heat,pca; all by default")
    demo.add_argument("--size", choices=("small", "normal"), default="normal")
    demo.add_argument("--repeats", type=int, default=5, help="timed runs, of which the median is shown (5)")
    for command in (info, demo):
        command.add_argument("--json", action="store_true", help="print JSON")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    if options.command == "info":
        return show_info(as_json=options.json)
    from gpuxp.demo.command import list_devices, run_demo

    try:
        devices = list_devices(options.devices)
        names = [name for name in options.programs.split(",") if name]
        small, repeats = options.size == "small", max(1, options.repeats)
        return run_demo(devices, names, small=small, repeats=repeats, as_json=options.json)
    except (gpuxp.UnknownDeviceError, ValueError) as error:
        print(f"gpuxp: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
