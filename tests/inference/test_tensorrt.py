"""TensorRT without a GPU: option names, whether an engine fits a machine, what happens where it does not."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import onnxruntime
import pytest
from conftest import SAMPLES, flowers
from support.engines import ENGINE, MACHINE, with_engine
from support.machines import NVINFER, compile_library, linux, toy_gpu, with_libraries

from flowercli.bundle import add_files
from flowercli.inference import tensorrt
from flowercli.inference.engine import cache_key, library_version, misfits, unusable
from flowercli.inference.libraries import CUDA, PROVIDER_FILES, TENSORRT
from flowercli.inference.nvidia import find_driver
from flowercli.inference.on_device import GRAPH_ID
from flowercli.inference.session import RECORDING
from flowercli.installation import add_extra
from flowercli.models import FOLDER

ROSE = SAMPLES / "rose.jpg"
gpu_wheel = pytest.mark.skipif(
    TENSORRT not in onnxruntime.get_available_providers(), reason="this onnxruntime is built without TensorRT"
)


# Every option that is given to the provider.
NAMES = {name.format(bound) for name in tensorrt.OPTIONS.values() for bound in tensorrt.PROFILE}


def installed_text():
    """Return what onnxruntime's own libraries hold, as one text: names, formats and messages."""
    folder = Path(onnxruntime.__file__).parent / "capi"
    files = [folder / "libonnxruntime_providers_tensorrt.so", *folder.glob("onnxruntime_pybind11_state*.so")]
    return b"\n".join(file.read_bytes() for file in files)


@linux
@gpu_wheel
def test_every_option_is_one_of_the_installed_onnxruntime():
    text = installed_text()
    assert len(NAMES) == 12
    for name in NAMES:
        # As a whole string of C.
        assert b"\0" + name.encode() + b"\0" in text, name
    for flag in ("fp16", "engine_cache", "timing_cache", "write_graph", "detailed_log"):
        said = f"The value for the key '{tensorrt.OPTIONS[flag]}' should be 'True' or 'False'"
        assert said.encode() in text, flag
    assert b"ep_cache_context" in text
    assert b"\0trt_no_such_option\0" not in text


@linux
@gpu_wheel
def test_what_records_runs_is_known_to_the_installed_onnxruntime():
    provider = Path(onnxruntime.__file__).parent / "capi" / PROVIDER_FILES[CUDA]
    for name in RECORDING:
        assert b"\0" + name.encode() + b"\0" in provider.read_bytes(), name
    assert b"\0" + GRAPH_ID.encode() + b"\0" in installed_text()
    assert hasattr(onnxruntime.OrtDeviceMemoryType, "HOST_ACCESSIBLE")


def test_options(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOWERS_HOME", str(tmp_path))
    options = tensorrt.build_options((224, 192), MACHINE, fp16=True) | tensorrt.writing_options(tmp_path / "x.onnx")
    assert options == {
        "trt_profile_min_shapes": "pixels:1x224x192x3",
        "trt_profile_opt_shapes": "pixels:8x224x192x3",
        "trt_profile_max_shapes": "pixels:64x224x192x3",
        "trt_fp16_enable": "True",
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(tmp_path / "engines" / "timing-10.16.0"),
        "trt_engine_cache_enable": "True",
        "trt_dump_ep_context_model": "True",
        "trt_ep_context_file_path": str(tmp_path / "x.onnx"),
        "trt_ep_context_embed_mode": "0",
        "trt_detailed_build_log": "True",
    }
    assert set(options) < NAMES
    assert tensorrt.build_options((224, 192), MACHINE, fp16=False)["trt_fp16_enable"] == "False"


def test_engine_fits_its_machine_and_a_newer_driver_of_the_same_series():
    assert misfits(ENGINE, MACHINE, "abc") == []


@pytest.mark.parametrize(
    ("machine", "sha256", "reason"),
    [
        ({"tensorrt": "10.17.0"}, "abc", "built with TensorRT 10.16.0, here is 10.17.0"),
        ({"compute_capability": "8.9"}, "abc", "built for compute capability 9.0, here is 8.9"),
        ({"driver": "590.10"}, "abc", "built under driver 580, here is 590"),
        ({}, "def", "built from another model.fp16.onnx"),
        ({}, None, "built from another model.fp16.onnx"),
    ],
)
def test_engine_of_another_machine_does_not_fit(machine, sha256, reason):
    assert misfits(ENGINE, MACHINE._replace(**machine), sha256) == [reason]


def test_engine_for_other_batches_does_not_fit():
    other = ENGINE._replace(profile={"min": 1, "opt": 1, "max": 1})
    assert misfits(other, MACHINE, "abc") == ["built for other batch sizes"]


def test_cache_key_changes_with_everything_that_an_engine_is_bound_to():
    others = [MACHINE._replace(**{field: "1.2"}) for field in MACHINE._fields]
    keys = [cache_key(machine, "abc") for machine in [MACHINE, *others]] + [cache_key(MACHINE, "def")]
    assert len(set(keys)) == len(keys) == 5
    assert all(re.fullmatch("[0-9a-f]{16}", key) for key in keys)
    same_series = MACHINE._replace(driver="580.1")
    assert cache_key(same_series, "abc") == cache_key(MACHINE, "abc")


def test_damaged_engines_are_unusable_and_say_why(tmp_path):
    machine = MACHINE._replace(driver="")
    bundle = with_engine(tmp_path)
    assert unusable(bundle, machine) == []
    for text, reason in (("{", "damaged"), ("[]", "other fields"), ('{"tensorrt": "10"}', "other fields")):
        (tmp_path / "sidecar").write_text(text)
        damaged = add_files(bundle, {"model.trt.json": tmp_path / "sidecar"})
        (found,) = unusable(damaged, machine)
        assert reason in found
    (bundle.path / "model.plan").write_bytes(b"another")
    (found,) = unusable(bundle, machine)
    assert "model.plan is not the file the bundle lists" in found


@linux
@gpu_wheel
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"compute_capability": "8.9"}, "is not used: built for compute capability 8.9, here is 9.0."),
        ({"tensorrt": "10.13.3"}, "is not used: built with TensorRT 10.13.3, here is 10.16.0."),
        # It fits; that TensorRT's library here is a toy is what onnxruntime then says.
        ({}, "is not used: onnxruntime does not load it."),
    ],
)
def test_engine_that_does_not_fit_is_built_anew_said_aloud_and_never_a_crash(tmp_path, changes, said):
    bundle = with_engine(tmp_path, **changes)
    environment = {**toy_gpu(tmp_path / "lib"), "FLOWERS_HOME": str(tmp_path / "home")}
    result = flowers("classify", ROSE, "--json", "--verbose", "--model", bundle.path, env=environment)
    assert result.code == 0, result.err
    assert json.loads(result.out)["predicted_class"] == "rose"
    assert f"The TensorRT engine of {bundle.path} {said}" in result.err
    assert "Building a TensorRT engine from model.fp16.onnx: this takes minutes, once" in result.err
    assert f"flowers export {bundle.path} --trt" in result.err
    assert "on cpu (model.int8.onnx); not tensorrt: " in result.err
    refused = flowers("classify", ROSE, "--device", "tensorrt", "--model", bundle.path, env=environment)
    assert (refused.code, refused.out) == (1, "")
    assert "--device tensorrt cannot be had: " in refused.err
    assert "Traceback" not in refused.err


def test_engine_does_not_touch_the_cpu(tmp_path, run):
    bundle = with_engine(tmp_path)
    plain = run("classify", ROSE, "--json", "--device", "cpu", "--verbose", "--model", bundle.path)
    assert plain.out == run("classify", ROSE, "--json", "--model", "flowers5").out
    assert "TensorRT" not in plain.err
    (bundle.path / "model.plan").unlink()
    assert run("classify", ROSE, "--device", "cpu", "--model", bundle.path).code == 0


@linux
@gpu_wheel
def test_model_with_int8_alone_is_a_reason_against_tensorrt(tmp_path):
    result = flowers("classify", ROSE, "--verbose", env=toy_gpu(tmp_path))
    assert result.code == 0, result.err
    assert "not tensorrt: the model has no model.fp16.onnx or model.onnx" in result.err
    assert "Building" not in result.err
    refused = flowers("classify", ROSE, "--device", "tensorrt", env=with_libraries(tmp_path))
    assert refused.code == 1
    assert "this model comes without the weights that one is made from" in refused.err


@linux
@gpu_wheel
def test_tensorrt_11_is_the_reason_on_a_machine_with_a_gpu(tmp_path):
    environment = toy_gpu(tmp_path)
    wanted = next(path for path in tmp_path.iterdir() if path.name.startswith("libnvinfer.so."))
    wanted.rename(tmp_path / "libnvinfer.so.11")
    result = flowers("classify", ROSE, "--device", "tensorrt", env=environment)
    assert (result.code, result.out) == (1, "")
    assert f"found TensorRT 11 (libnvinfer.so.11), this onnxruntime links TensorRT 10 ({wanted.name})" in result.err
    assert add_extra("tensorrt") in result.err


@linux
def test_version_is_asked_of_the_library(tmp_path):
    for number, version in ((101600, "10.16.0"), (101303, "10.13.3"), (0, None)):
        compile_library(tmp_path / f"{number}.so", NVINFER, VERSION=number)
        assert library_version(str(tmp_path / f"{number}.so")) == version
    compile_library(tmp_path / "other.so")
    assert library_version(str(tmp_path / "other.so")) is None
    assert library_version("libnvinfer.so.0") is None


@pytest.mark.skipif(find_driver() is not None, reason="this machine has NVIDIA's driver")
def test_export_is_refused_at_once_without_a_gpu(tmp_path, run):
    shutil.copytree(FOLDER / "flowers5", tmp_path / "bundle")
    before = sorted(os.listdir(tmp_path / "bundle"))
    result = run("export", tmp_path / "bundle", "--trt", "--json")
    assert (result.code, result.out) == (1, "")
    assert "Error: --trt needs TensorRT and a GPU: " in result.err
    assert "nvidia-smi" in result.err or "pip uninstall" in result.err
    assert "flowers doctor" in result.err
    assert sorted(os.listdir(tmp_path / "bundle")) == before
