"""Which device is chosen and why not a better one, and how many cores are used: on this machine and on others."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest
from conftest import SAMPLES, default_interrupt, flowers
from support.machines import DRIVER, compile_library, linux, one_core, with_libraries, with_packages

from flowercli.errors import DeviceError, UsageError
from flowercli.inference.cgroup import Quota, cpu_quota
from flowercli.inference.cpu import Cores, available_cores, find_cores
from flowercli.inference.libraries import CUDA, CUDNN, PROVIDER_FILES, TENSORRT, load_error
from flowercli.inference.nvidia import find_driver
from flowercli.inference.probe import cuda_major, provider_libraries
from flowercli.inference.session import open_session
from flowercli.models import load_model

ROSE = SAMPLES / "rose.jpg"
GPU_WHEEL = CUDA in onnxruntime.get_available_providers()
no_driver = pytest.mark.skipif(find_driver() is not None, reason="this machine has NVIDIA's driver")
gpu_wheel = pytest.mark.skipif(not GPU_WHEEL, reason="this onnxruntime is built without CUDA")
SESSION_SECONDS = 1


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@no_driver
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_device_that_is_not_there_is_refused_within_a_second(device):
    spent = []
    for _ in range(2):
        before = cpu_seconds()
        result = flowers("classify", ROSE, "--device", device)
        # Of processor time: this machine may be busy with something else.
        spent.append(cpu_seconds() - before)
    assert (result.code, result.out) == (1, "")
    assert f"--device {device} cannot be had: " in result.err
    reason = "libcuda.so.1 not found" if GPU_WHEEL else "built without"
    assert reason in result.err
    assert "leave --device out" in result.err
    assert min(spent) < SESSION_SECONDS


def test_auto_falls_back_and_keeps_the_reasons(run):
    result = run("classify", ROSE, "--verbose", "--device", "auto")
    assert result.code == 0
    _, runtime = open_session(load_model(None))
    assert [other.device for other in runtime.rejected] == ["tensorrt", "cuda", "cpu"][: len(runtime.rejected)]
    assert all(other.reason and other.fix for other in runtime.rejected)
    for other in runtime.rejected:
        assert f"not {other.device}: {other.reason}" in result.err


@no_driver
def test_the_variable_asks_and_the_option_beats_it(run, monkeypatch):
    monkeypatch.setenv("FLOWERS_DEVICE", "cuda")
    refused = run("classify", ROSE)
    assert refused.code == 1
    assert "FLOWERS_DEVICE=cuda cannot be had" in refused.err
    assert "unset FLOWERS_DEVICE" in refused.err
    with pytest.raises(DeviceError):
        open_session(load_model(None))
    assert run("classify", ROSE, "--device", "auto").code == 0
    monkeypatch.setenv("FLOWERS_DEVICE", "gpu")
    wrong = run("classify", ROSE)
    assert wrong.code == 2
    assert "FLOWERS_DEVICE=gpu: choose one of auto, tensorrt, cuda, cpu" in wrong.err
    monkeypatch.setenv("FLOWERS_DEVICE", "")
    assert run("classify", ROSE).code == 0


@linux
@gpu_wheel
@pytest.mark.parametrize(
    ("answers", "reason", "fix"),
    [
        ({"START": 100}, "finds no GPU: no CUDA-capable device is detected (code 100)", "nvidia-smi"),
        ({"VERSION": 11080}, "runs CUDA up to 11.8, this onnxruntime is built for CUDA", "Update NVIDIA's driver to 5"),
        ({"CAPABILITY": 3}, "Toy GPU has compute capability 3.0, CUDA", "--device cpu"),
    ],
)
def test_what_is_wrong_with_the_driver_is_said(tmp_path, answers, reason, fix):
    values = {"VERSION": 1000 * (cuda_major() or 0), "START": 0, "CAPABILITY": 9, **answers}
    compile_library(tmp_path / "libcuda.so.1", DRIVER, **values)
    result = flowers("classify", ROSE, "--device", "cuda", env=with_libraries(tmp_path))
    assert (result.code, result.out) == (1, "")
    assert reason in result.err
    assert fix in result.err


@linux
@gpu_wheel
def test_hidden_devices_are_named_as_the_cause(tmp_path):
    compile_library(tmp_path / "libcuda.so.1", DRIVER, VERSION=99000, START=100, CAPABILITY=9)
    environment = {**with_libraries(tmp_path), "CUDA_VISIBLE_DEVICES": "-1"}
    result = flowers("classify", ROSE, "--device", "cuda", env=environment)
    assert result.code == 1
    assert "CUDA_VISIBLE_DEVICES is '-1'" in result.err
    assert "unset CUDA_VISIBLE_DEVICES" in result.err


@linux
def test_a_foreign_library_with_the_drivers_name_does_no_harm(tmp_path):
    compile_library(tmp_path / "libcuda.so.1")
    result = flowers("classify", ROSE, "--verbose", env=with_libraries(tmp_path))
    assert result.code == 0
    assert not GPU_WHEEL or "is not NVIDIA's" in result.err


@pytest.mark.parametrize("module", ["raise ImportError('no libfoo')", ""])
def test_broken_onnxruntime_is_told_without_a_traceback(tmp_path, module):
    (tmp_path / "onnxruntime.py").write_text(module)
    result = flowers("classify", ROSE, env=with_packages(tmp_path))
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("Error: onnxruntime ")
    assert "pip uninstall -y onnxruntime" in result.err


@pytest.mark.parametrize("end", ["raise ImportError('initialization failed')", "InferenceSession = None"])
def test_ctrl_c_while_onnxruntime_loads_is_no_broken_onnxruntime(tmp_path, end):
    module = f"import os, signal; os.kill(os.getpid(), signal.SIGINT)\n{end}\n"
    (tmp_path / "onnxruntime.py").write_text(module)
    result = flowers("classify", ROSE, env=with_packages(tmp_path), preexec_fn=default_interrupt)
    assert (result.code, result.out, result.err) == (130, "", "")


@linux
@gpu_wheel
@pytest.mark.parametrize("provider", [CUDA, TENSORRT])
def test_the_libraries_looked_for_are_those_that_the_provider_names(provider):
    path = Path(onnxruntime.__file__).parent / "capi" / PROVIDER_FILES[provider]
    with path.open("rb") as file:
        names = re.findall(rb"\0(lib(?:cu|nv)\w+\.so\.\d+)(?=\0)", file.read(2**20))
    # The driver's, which is looked at before; one that is named and not linked; and one that builds for CUDA 12 link,
    # which their session tells of.
    apart = {"libcuda.so.1", "libnvinfer_plugin.so.10", "libcufft.so.11"}
    assert {*map(bytes.decode, names), CUDNN} - apart == set(provider_libraries(provider))


@linux
@gpu_wheel
@no_driver
def test_why_a_provider_does_not_load_is_said_in_onnxruntimes_words():
    assert re.fullmatch(r"lib\w+\.so\.\d+: cannot open shared object file: No such file or directory", load_error(CUDA))


@linux
def test_one_core_by_affinity():
    with one_core():
        cores = find_cores()
    assert (cores.usable, cores.limited_by) == (1, "affinity")


@pytest.mark.parametrize(
    ("affinity", "quota", "asked", "usable", "limited_by"),
    [
        (8, None, None, 8, None),
        (3, None, None, 3, "affinity"),
        (8, 1.5, None, 2, "quota"),
        (8, 0.1, None, 1, "quota"),
        (2, 6, None, 2, "affinity"),
        (8, 64, None, 8, None),
        (1, 0.5, 5, 5, "threads"),
    ],
)
def test_the_lowest_limit_counts_unless_threads_are_asked_for(affinity, quota, asked, usable, limited_by):
    cores = Cores(8, affinity, quota and Quota(quota, Path("cpu.max")), asked)
    assert (cores.usable, cores.limited_by) == (usable, limited_by)


def test_threads_variable(run, monkeypatch):
    monkeypatch.setenv("FLOWERS_THREADS", "3")
    assert available_cores() == 3
    assert run("classify", ROSE).code == 0
    for wrong in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("FLOWERS_THREADS", wrong)
        with pytest.raises(UsageError, match=f"FLOWERS_THREADS={wrong}"):
            available_cores()
        assert run("classify", ROSE).code == 2
    monkeypatch.setenv("FLOWERS_THREADS", "")
    assert available_cores() >= 1


def test_a_wrong_number_of_threads_is_told_before_anything_is_written(run, monkeypatch, tmp_path):
    monkeypatch.setenv("FLOWERS_THREADS", "many")
    result = run("classify", ROSE, "--log", tmp_path / "answers.log")
    assert (result.code, result.out) == (2, "")
    assert not list(tmp_path.iterdir())


def tree(folder, memberships, mounts, files):
    """Write what /proc/self and /sys/fs/cgroup would hold."""
    for path, text in {**files, "proc/cgroup": memberships, "proc/mountinfo": mounts}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder / "proc"


def test_quota_of_version_2_is_the_lowest_up_to_the_root(tmp_path):
    files = {
        "sys/cpu.max": "max 100000\n",
        "sys/pod/cpu.max": "150000 100000\n",
        "sys/pod/box/cpu.max": "max 100000\n",
        "sys/other/cpu.max": "1000 100000\n",
    }
    mounts = f"1 2 0:3 / / rw - ext4 /dev/vda rw\n31 23 0:41 / {tmp_path}/sys rw shared:4 - cgroup2 cgroup2 rw\n"
    found = cpu_quota(tree(tmp_path, "0::/pod/box\n", mounts, files))
    assert found == Quota(1.5, tmp_path / "sys/pod/cpu.max")


def test_quota_of_version_1(tmp_path):
    files = {
        "cpu/job/cpu.cfs_quota_us": "50000\n",
        "cpu/job/cpu.cfs_period_us": "100000\n",
        "cpu/cpu.cfs_quota_us": "-1\n",
        "cpu/cpu.cfs_period_us": "100000\n",
        "memory/job/cpu.cfs_quota_us": "1\n",
        "memory/job/cpu.cfs_period_us": "100000\n",
    }
    mounts = (
        f"32 31 0:29 / {tmp_path}/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
        f"35 31 0:32 / {tmp_path}/memory rw,relatime - cgroup cgroup rw,memory\n"
    )
    found = cpu_quota(tree(tmp_path, "4:memory:/job\n1:cpu,cpuacct:/job\n", mounts, files))
    assert found == Quota(0.5, tmp_path / "cpu/job/cpu.cfs_quota_us")


def test_quota_in_a_container_whose_path_is_the_hosts(tmp_path):
    files = {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}
    for root in ("/docker/abc", "/elsewhere"):
        mounts = f"32 31 0:29 {root} {tmp_path}/cpu ro - cgroup cgroup rw,cpu\n"
        found = cpu_quota(tree(tmp_path, "1:cpu:/docker/abc\n", mounts, files))
        assert found == Quota(2.0, tmp_path / "cpu/cpu.cfs_quota_us")


def test_no_quota(tmp_path):
    assert cpu_quota(tmp_path / "nowhere") is None
    mounts = f"31 23 0:41 / {tmp_path}/sys rw - cgroup2 cgroup2 rw\n"
    for text in ("max 100000\n", "", "broken\n", "0 0\n"):
        assert cpu_quota(tree(tmp_path, "0::/\n", mounts, {"sys/cpu.max": text})) is None


def test_classify_loads_no_cuda_library_where_there_is_no_driver():
    """The choice costs nothing where it is clear from the start."""
    if find_driver() is not None or sys.platform != "linux":
        pytest.skip("this machine has NVIDIA's driver, or another way to list what is loaded")
    script = (
        "import json, sys; from flowercli.cli.main import main; code = main(sys.argv[1:]);"
        "maps = open('/proc/self/maps').read(); names = ('libcublas', 'libcudnn', 'libcudart', 'providers_cuda');"
        "print(json.dumps([name for name in names if name in maps]), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "classify", str(ROSE)],
        capture_output=True, text=True, check=False, timeout=60, env=dict(os.environ),
    )  # fmt: skip
    assert (done.returncode, json.loads(done.stderr)) == (0, [])
