"""Which devices there are, which one is taken by itself, and drivers that hang, crash or refuse."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import gpuxp
from gpuxp import discovery
from gpuxp.__main__ import gather, main
from gpuxp.discovery import Finding

devices: Any = importlib.import_module("gpuxp.devices")  # not the function of that name


ASKED = (discovery._ask, discovery._opencl)


def forget() -> None:
    """Let the drivers be asked again."""
    for function in ASKED:
        function.cache_clear()


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Let something else stand where the drivers are asked."""

    def put(code: str) -> None:
        path = tmp_path / "probe.py"
        path.write_text(code)
        monkeypatch.setattr(discovery, "_PROBE", str(path))
        forget()

    monkeypatch.setattr(discovery, "has", lambda module: module in ("pyopencl", "cupy"))
    yield put
    forget()


@pytest.fixture
def undecided(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the automatic choice, and what there is to choose from; and what a test says of that, after it."""
    forget()
    monkeypatch.setattr(devices, "_chosen", "")
    monkeypatch.setattr(devices, "_why", "")
    monkeypatch.setattr(discovery, "has", lambda module: module in ("pyopencl", "cupy"))
    for name in ("may_have_nvidia", "may_have_gpu", "may_have_apple_gpu"):
        monkeypatch.setattr(discovery, name, lambda: False)
    yield
    forget()


def opens(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let only these devices be there."""

    def open_one(name: str) -> None:
        if name not in names:
            raise gpuxp.UnknownDeviceError("it is broken")

    monkeypatch.setattr(devices, "_open", open_one)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import time; time.sleep(60)", "did not answer"),
        ("import os; os.abort()", "crashed"),
        ("print('hello')", "crashed"),
        ("", "crashed"),
    ],
)
def test_drivers_that_hang_or_crash(probe: Callable[[str], None], code: str, reason: str) -> None:
    probe(code)
    with discovery.patience(0.3 if "sleep" in code else 10):
        assert reason in discovery.opencl().reason
    assert not any(name.startswith("opencl") for name in gpuxp.devices())
    assert reason in devices.absent()["opencl"]


def test_info_waits_a_second_for_a_driver_that_hangs(
    probe: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    probe("import time; time.sleep(60)")
    assert main(["info"]) == 0
    assert "no opencl: its driver did not answer within 1 seconds" in capsys.readouterr().out


def test_two_drivers_that_hang_are_waited_for_together(
    probe: Callable[[str], None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "may_have_nvidia", lambda: True)
    probe("import time; time.sleep(60)")
    started = time.perf_counter()
    found = {}
    with discovery.patience(1.0):
        discovery.ask_all()
        found = devices.absent()
    assert time.perf_counter() - started < 1.9
    assert "did not answer" in found["cuda"]
    assert "did not answer" in found["opencl"]


HANGS = "#include <unistd.h>\n__attribute__((constructor)) static void hang(void) { for (;;) sleep(1000); }\n"


def test_a_driver_that_hangs_takes_no_other_with_it(tmp_path: Path) -> None:
    if not discovery.opencl().devices or shutil.which("gcc") is None:
        pytest.skip("needs OpenCL (apt-get install pocl-opencl-icd) and gcc")
    (tmp_path / "hang.c").write_text(HANGS)
    library, folder = tmp_path / "libhang.so", tmp_path / "vendors"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "hang.c")], check=True)
    shutil.copytree(os.environ.get("OCL_ICD_VENDORS", discovery._DRIVERS), folder)
    (folder / "hang.icd").write_text(f"{library}\n")
    code = (
        "import gpuxp, gpuxp.discovery as d\n"
        "with d.patience(2): print(gpuxp.devices(), (gpuxp.ones(3, device='opencl:0') + 1).tolist())"
    )
    env = os.environ | {"OCL_ICD_VENDORS": str(folder)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60, check=True)
    assert "'opencl:0'" in done.stdout
    assert "[2.0, 2.0, 2.0]" in done.stdout


def test_info_takes_less_than_two_seconds() -> None:
    before = os.times()
    done = subprocess.run([sys.executable, "-m", "gpuxp", "info", "--json"], capture_output=True, check=True)
    after = os.times()  # of processors: other programs may be busy
    assert after.children_user + after.children_system - before.children_user - before.children_system < 2
    found = json.loads(done.stdout)
    assert found["processor"]["name"]
    assert found["processor"]["memory"] > 1 << 20
    assert all(d["description"] and d["dtypes"] and d["memory"] for d in found["devices"].values())


def test_a_driver_is_asked_once(probe: Callable[[str], None], tmp_path: Path) -> None:
    log = tmp_path / "log"
    probe(f'open({str(log)!r}, \'a\').write(\'.\'); print(\'{{"devices": [{{"gpu": true}}], "reason": ""}}\')')
    assert [len(discovery.opencl().devices) for _ in range(3)] == [1, 1, 1]
    assert log.read_text() == "."


def test_the_real_probe_answers() -> None:
    done = subprocess.run(
        [sys.executable, "-P", discovery._PROBE, "opencl"], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert bool(found["devices"]) != bool(found["reason"])
    done = subprocess.run([sys.executable, "-P", discovery._PROBE, "cuda"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout).keys() == {"devices", "reason"}


def test_without_a_driver_nothing_is_asked(undecided: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(kind: str) -> Finding:
        raise AssertionError(kind)

    monkeypatch.setattr(discovery, "_ask", never)
    assert devices.choose() == ("cpu", "there is no GPU that gpuxp could use")
    assert "no NVIDIA driver" in discovery.cuda().reason
    monkeypatch.setattr(discovery, "has", lambda module: False)
    monkeypatch.setattr(discovery, "may_have_nvidia", lambda: True)
    assert "gpuxp[cuda]" in discovery.cuda().reason
    assert "gpuxp[opencl]" in discovery.opencl().reason


def test_a_real_gpu_is_taken_first(undecided: None, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, processor = {"name": "Big", "gpu": True}, {"name": "Slow", "gpu": False}
    monkeypatch.setattr(discovery, "may_have_gpu", lambda: True)
    monkeypatch.setattr(discovery, "_ask", lambda kind: Finding([processor, gpu] if kind == "opencl" else [gpu]))
    monkeypatch.setattr(devices, "_mlx_devices", lambda: ["mlx:gpu", "mlx:cpu"])
    monkeypatch.setattr(discovery, "has", lambda module: True)
    opens(monkeypatch, "cuda:0", "mlx:gpu", "opencl:0", "opencl:1")
    taken = []
    for sign in ("", "may_have_apple_gpu", "may_have_nvidia"):
        if sign:
            monkeypatch.setattr(discovery, sign, lambda: True)
        monkeypatch.setattr(devices, "_chosen", "")
        taken.append(devices.choose()[0])
    assert taken == ["opencl:1", "mlx:gpu", "cuda:0"]
    assert devices.choose()[1] == "the first NVIDIA GPU, Big"


def test_a_gpu_that_cannot_be_opened_is_passed_over(undecided: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "may_have_nvidia", lambda: True)
    monkeypatch.setattr(discovery, "_ask", lambda kind: Finding([{"name": "Big", "gpu": True}]))
    opens(monkeypatch)
    name, why = devices.choose()
    assert (name, why) == ("cpu", "cuda:0 cannot be opened: it is broken")


def test_devices_that_are_only_a_processor_are_not_taken(undecided: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "may_have_gpu", lambda: True)
    monkeypatch.setattr(discovery, "_ask", lambda kind: Finding([{"name": "Slow", "gpu": False}]))
    opens(monkeypatch, "opencl:0")
    assert devices.choose()[0] == "cpu"


def test_cuda_without_cupy_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "has", lambda module: False)
    with pytest.raises(gpuxp.UnknownDeviceError, match=r"'cuda:0' needs cupy .*NVIDIA's driver.*gpuxp\[cuda\]"):
        gpuxp.ones(2, device="cuda:0")


def test_info_says_what_is_absent_and_why_a_device_was_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    found = gather()
    kinds = {name.partition(":")[0] for name in found["devices"]}
    assert kinds | found["absent"].keys() == {"cpu", "cuda", "opencl", "mlx"}
    assert all(found["absent"].values())
    assert found["default_device"] in found["devices"]
    assert found["default_reason"]
    assert main(["info"]) == 0
    shown = capsys.readouterr().out
    assert all(f"no {kind}: " in shown for kind in found["absent"])
    assert f"default device {found['default_device']}: " in shown


def test_a_device_that_is_listed_and_does_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpuxp, "devices", lambda: (gpuxp.Device("cpu"), gpuxp.Device("opencl:99")))
    assert "opencl:99" in gather()["devices"]["opencl:99"]["description"]
