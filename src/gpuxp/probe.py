"""Ask one kind of driver for its devices and print them as JSON; a program of its own, which imports no gpuxp.

It may hang or crash in the driver: whoever starts it waits for a while and then goes on without.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import sys
from typing import Any


def cuda() -> tuple[list[dict[str, Any]], str]:
    """Return the GPUs that NVIDIA's driver names."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError as error:
        return [], f"NVIDIA's driver cannot be loaded: {error}"
    count, failed = ctypes.c_int(), driver.cuInit(0)
    if failed or driver.cuDeviceGetCount(ctypes.byref(count)):
        return [], f"NVIDIA's driver refuses to start (error {failed}); nvidia-smi may say more"
    found = []
    for number in range(count.value):
        device, size, name = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(128)
        driver.cuDeviceGet(ctypes.byref(device), number)
        driver.cuDeviceGetName(name, len(name), device)
        driver.cuDeviceTotalMem_v2(ctypes.byref(size), device)
        found.append({"name": name.value.decode(errors="replace"), "memory": size.value, "gpu": True})
    return found, "" if found else "NVIDIA's driver reports no GPU"


def opencl() -> tuple[list[dict[str, Any]], str]:
    """Return the OpenCL devices that are available, in the order in which gpuxp numbers them."""
    try:
        import pyopencl as cl
    except Exception as error:  # whatever a broken wheel raises
        return [], f"PyOpenCL cannot be loaded: {error}"
    try:
        platforms = cl.get_platforms()
    except cl.Error as error:
        return [], f"OpenCL finds no driver: {error}"
    found = []
    for platform in platforms:
        try:
            there = [device for device in platform.get_devices() if device.available]
        except cl.Error:  # a platform without devices
            continue
        for device in there:
            with contextlib.suppress(cl.Error):  # one that hangs does so here, not in its user
                cl.Context([device])
            gpu = bool(device.type & cl.device_type.GPU)
            found.append({"name": device.name.strip(), "memory": device.global_mem_size, "gpu": gpu})
    return found, "" if found else "no OpenCL driver reports a device"


if __name__ == "__main__":
    devices, reason = {"cuda": cuda, "opencl": opencl}[sys.argv[1]]()
    print(json.dumps({"devices": devices, "reason": reason}))
