"""``flowers doctor``: on this machine, and on others where something is missing, doubled, too new, broken or small."""

from __future__ import annotations

import ctypes.util
import json
import os
import subprocess
from pathlib import Path

import onnxruntime
import pytest
from conftest import ROOT, command, flowers
from support.machines import (
    DRIVER,
    compile_library,
    linux,
    one_core,
    time_of_one_core,
    with_libraries,
    with_packages,
)

from flowercli.doctor.checks import Status, examine
from flowercli.doctor.software import extras, missing_packages
from flowercli.doctor.storage import data_directory, hub
from flowercli.doctor.trial import runtimes
from flowercli.errors import DataError
from flowercli.inference.libraries import CUDA
from flowercli.inference.nvidia import find_driver
from flowercli.inference.probe import cuda_major
from flowercli.installation import add_extra

gpu_wheel = pytest.mark.skipif(
    CUDA not in onnxruntime.get_available_providers(), reason="this onnxruntime is built without CUDA"
)


def diagnosis(**options):
    """Run the doctor as a process of its own; return its exit code and its checks by section and name."""
    return parsed(flowers("doctor", "--json", "--no-benchmark", **options))


def parsed(result):
    assert result.err == ""
    found = json.loads(result.out)
    found["checks"] = {(title, check["name"]): check for title, all_ in found["sections"].items() for check in all_}
    return result.code, found


def test_this_machine():
    code, found = parsed(flowers("doctor", "--json"))
    assert (code, found["works"]) == (0, True)
    titles = "Versions, CPU, Classifying, onnxruntime, GPU, Runtimes, Benchmark, Extras, Data directory, Hub"
    assert ", ".join(found["sections"]) == titles
    checks = found["checks"]
    assert checks["Versions", "flowercli"]["status"] == "ok"
    assert checks["Classifying", "classify"]["values"]["answer"]["predicted_class"]
    runtime = checks["Runtimes", "flowers5"]["values"]
    if find_driver() is None:
        assert runtime["device"] == "cpu"
        assert [other["device"] for other in runtime["rejected"]] == ["tensorrt", "cuda"]
        assert all(other["reason"] and other["fix"] for other in runtime["rejected"])
        assert checks["GPU", "GPU"]["text"] in {
            "no NVIDIA GPU",
            "an NVIDIA card is plugged in, but no driver gives access to it",
        }
    speed = checks["Benchmark", "default model"]["values"]
    assert speed["images_per_second"] > 0
    assert speed["decode_ms"] > 0
    assert speed["graph_ms"] > 0
    assert speed["threads"] == checks["CPU", "cores"]["values"]["usable"]


def test_text_has_a_sign_and_a_word_for_every_status(tmp_path):
    two_wheels(tmp_path)
    result = flowers("doctor", "--no-benchmark", env=with_packages(tmp_path))
    assert (result.code, result.err) == (0, "")
    lines = [line for line in result.out.splitlines() if line.startswith("  ") and line[2] != " "]
    assert {tuple(line.split()[:2]) for line in lines if "pip" not in line} <= {
        ("✓", "ok"),
        ("·", "note"),
        ("!", "warning"),
    }
    assert "Fix: pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime" in result.out
    assert "classifying works" in result.out
    plain = flowers(
        "doctor", "--no-benchmark", env={**with_packages(tmp_path), "PYTHONIOENCODING": "ascii:backslashreplace"}
    )
    assert plain.code == 0
    assert "+ ok" in plain.out


def two_wheels(folder):
    for name in ("onnxruntime", "onnxruntime-gpu"):
        described = folder / f"{name.replace('-', '_')}-1.30.0.dist-info"
        described.mkdir()
        (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.30.0\n")


def test_both_wheels(tmp_path):
    two_wheels(tmp_path)
    code, found = diagnosis(env=with_packages(tmp_path))
    check = found["checks"]["Versions", "onnxruntime"]
    assert code == 0
    assert check["status"] == "warning"
    assert "onnxruntime 1.30.0 and onnxruntime-gpu 1.30.0 are both installed" in check["text"]
    assert check["fix"].startswith("pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime")
    assert check["fix"] in found["to_do"]


@linux
@gpu_wheel
def test_cuda_libraries_missing(tmp_path):
    """A driver with a GPU, and an onnxruntime that has no nvidia wheels beside it."""
    if ctypes.util.find_library("cublasLt"):
        pytest.skip("CUDA is installed in the system")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "onnxruntime").symlink_to(Path(onnxruntime.__file__).parent)
    major = cuda_major()
    compile_library(tmp_path / "driver/libcuda.so.1", DRIVER, VERSION=1000 * major, START=0, CAPABILITY=9)
    environment = {**with_packages(tmp_path / "site"), "LD_LIBRARY_PATH": str(tmp_path / "driver")}
    code, found = diagnosis(env=environment)
    checks = found["checks"]
    assert code == 0
    assert checks["GPU", "GPU"]["text"] == "Toy GPU (compute capability 9.0, 8 GiB)"
    assert checks["GPU", "driver"]["status"] == "ok"
    for name, library in (("CUDA", f"libcublasLt.so.{major}"), ("cuDNN", "libcudnn.so.9")):
        assert checks["GPU", name]["status"] == "warning"
        assert f"{library} not found" in checks["GPU", name]["text"]
        assert checks["GPU", name]["fix"] == add_extra("gpu")
    rejected = {other["device"]: other for other in checks["Runtimes", "flowers5"]["values"]["rejected"]}
    assert f"libcublasLt.so.{major} not found" in rejected["cuda"]["reason"]
    assert rejected["cuda"]["fix"] == add_extra("gpu")
    refused = flowers("classify", ROOT / "docs/samples/rose.jpg", "--device", "cuda", env=environment)
    assert (refused.code, refused.out) == (1, "")
    assert "libcudnn.so.9 not found" in refused.err


@linux
@gpu_wheel
def test_tensorrt_11(tmp_path):
    compile_library(tmp_path / "libnvinfer.so.11")
    code, found = diagnosis(env=with_libraries(tmp_path))
    check = found["checks"]["GPU", "TensorRT"]
    assert code == 0
    assert check["status"] == "warning"
    assert (
        "found TensorRT 11 (libnvinfer.so.11), this onnxruntime links TensorRT 10 (libnvinfer.so.10)" in check["text"]
    )
    assert check["fix"].endswith(add_extra("tensorrt"))


@linux
def test_one_core_by_affinity():
    with one_core():
        code, found = diagnosis()
    check = found["checks"]["CPU", "cores"]
    assert (code, check["status"]) == (0, "warning")
    assert (check["values"]["usable"], check["values"]["limited_by"]) == (1, "affinity")
    assert "affinity" in check["text"]
    assert "taskset -c 0-" in check["fix"]


@linux
def test_one_core_by_control_group():
    with time_of_one_core() as processes:
        script = ["sh", "-c", 'echo $$ > "$0"; exec "$@"', processes, *command("doctor", "--json", "--no-benchmark")]
        done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)
    check = next(check for check in json.loads(done.stdout)["sections"]["CPU"] if check["name"] == "cores")
    assert (done.returncode, check["status"]) == (0, "warning")
    assert (check["values"]["usable"], check["values"]["limited_by"], check["values"]["quota"]) == (1, "quota", 1.0)
    assert str(processes.parent) in check["text"]
    assert "docker run --cpus=" in check["fix"]


@pytest.mark.parametrize(
    ("module", "cause"),
    [
        (
            "raise ImportError('libfoo.so.1: cannot open shared object file')",
            "libfoo.so.1: cannot open shared object file",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "ended by SIGILL"),
    ],
)
@linux
def test_broken_onnxruntime_is_reported(tmp_path, module, cause):
    (tmp_path / "onnxruntime.py").write_text(module)
    code, found = diagnosis(env=with_packages(tmp_path))
    check = found["checks"]["Classifying", "classify"]
    assert (code, found["works"], check["status"]) == (1, False, "problem")
    assert cause in check["text"]
    assert "pip uninstall -y onnxruntime" in found["to_do"][0]
    assert "Hub" in found["sections"]
    assert ("Runtimes" in found["sections"]) == ("SIGILL" not in cause)


@pytest.mark.skipif(find_driver() is not None, reason="this machine has NVIDIA's driver")
def test_a_device_that_was_asked_for_and_is_not_there_is_the_cause():
    code, found = diagnosis(env={**os.environ, "FLOWERS_DEVICE": "cuda"})
    check = found["checks"]["Classifying", "classify"]
    assert (code, check["status"]) == (1, "problem")
    assert "FLOWERS_DEVICE=cuda cannot be had" in check["text"]
    assert "unset FLOWERS_DEVICE" in check["fix"]


def test_downloaded_models_and_a_damaged_index(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWERS_HOME", str(tmp_path))
    (tmp_path / "models" / "mine").mkdir(parents=True)
    entry = {"kind": "model", "name": "mine", "source": "x", "revision": None, "sha256": None, "size": 1}
    (tmp_path / "index.json").write_text(json.dumps([{**entry, "installed_at": "2026-01-01T00:00:00+00:00"}]))
    found = {check.name: check for check in examine("Runtimes", runtimes).checks}
    assert found["flowers5"].status is Status.OK
    assert found["mine"].status is Status.PROBLEM
    assert "is not a model bundle" in found["mine"].text
    (tmp_path / "index.json").write_text("{")
    found = {check.name: check for check in examine("Runtimes", runtimes).checks}
    assert found["flowers5"].status is Status.OK
    assert "is damaged" in found["runtimes"].text


def test_data_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWERS_HOME", str(tmp_path / "none" / "yet"))
    (check,) = data_directory()
    assert (check.status, check.values["exists"], check.values["size"]) == (Status.OK, False, 0)
    (tmp_path / "file").write_bytes(b"x" * 1500)
    monkeypatch.setenv("FLOWERS_HOME", str(tmp_path))
    (check,) = data_directory()
    assert "1.5 kB in it" in check.text
    assert check.values["free"] > 0
    # A file where the folder should be can be written to by nobody, not even by root.
    monkeypatch.setenv("FLOWERS_HOME", str(tmp_path / "file"))
    (check,) = data_directory()
    assert (check.status, check.fix) == (Status.WARNING, "export FLOWERS_HOME=DIR")


def test_hub_settings(monkeypatch):
    for name in ("HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_XET"):
        monkeypatch.delenv(name, raising=False)
    assert [check.status for check in hub()] == [Status.OK, Status.OK]
    monkeypatch.setenv("HF_ENDPOINT", "https://me:secret@mirror.example/hub")
    endpoint, _ = hub()
    assert (endpoint.status, endpoint.fix) == (Status.WARNING, "export HF_HUB_DISABLE_XET=1")
    assert "mirror.example/hub" in endpoint.text
    assert "secret" not in str(endpoint.as_dict())
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert [check.status for check in hub()] == [Status.OK, Status.NOTE]


def test_extras_name_what_is_missing(tmp_path, monkeypatch):
    described = tmp_path / "toy-1.0.dist-info"
    described.mkdir()
    requirements = ["numpy>=2", 'pytest>=8; extra == "one"', 'no-such-package[x]>=1; extra == "one"']
    requirements += ['toy[one]; extra == "all"', "other-package ; python_version > '3' and extra == 'all'"]
    lines = [f"Requires-Dist: {line}" for line in requirements]
    (described / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", "Name: toy", "Version: 1.0", *lines]))
    monkeypatch.syspath_prepend(tmp_path)
    assert missing_packages("toy", "one") == {"no-such-package"}
    assert missing_packages("toy", "all") == {"no-such-package", "other-package"}
    found = {check.name: check for check in extras()}
    if "train" in found and found["train"].values["missing"]:
        assert found["train"].fix == add_extra("train")


def test_what_goes_wrong_in_a_section_is_a_check():
    def checks():
        yield from data_directory()
        raise KeyError("surprise")

    def mistaken():
        raise DataError("It is damaged.", hint="rm it")

    section = examine("Things", checks)
    assert [check.status for check in section.checks][-1] is Status.PROBLEM
    assert len(section.checks) == 2
    assert "KeyError: 'surprise'" in section.checks[-1].text
    assert examine("Things", mistaken).checks[0].fix == "rm it"
