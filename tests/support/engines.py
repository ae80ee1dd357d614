"""A bundle with the files of an engine that nothing here can run."""

from __future__ import annotations

import json
import shutil

from flowercli.bundle import Bundle, add_files
from flowercli.inference.engine import Engine, Machine
from flowercli.models import FOLDER

MACHINE = Machine("10.16.0", "9.0", "580.65.06")
ENGINE = Engine(
    tensorrt="10.16.0",
    compute_capability="9.0",
    driver="580.95.05",
    gpu="Toy GPU",
    onnxruntime="1.31.1",
    profile={"min": 1, "opt": 8, "max": 64},
    onnx={"file": "model.fp16.onnx", "sha256": "abc"},
    precision="fp16",
)


def with_engine(folder, **changes):
    """Return a bundle with the files of an engine that nothing here can run, for a toy machine."""
    bundle = Bundle.load(shutil.copytree(FOLDER / "flowers5", folder / "bundle"))
    shutil.copy(bundle.path / "model.int8.onnx", folder / "model.fp16.onnx")
    bundle = add_files(bundle, {"model.fp16.onnx": folder / "model.fp16.onnx"})
    onnx = {"file": "model.fp16.onnx", "sha256": bundle.section["files"]["model.fp16.onnx"]["sha256"]}
    engine = ENGINE._replace(driver="", onnx=onnx, **changes)
    (folder / "model.trt.json").write_text(json.dumps(engine.as_dict()))
    for name in ("model.plan", "model.trt.onnx"):
        (folder / name).write_bytes(b"an engine")
    return add_files(bundle, {name: folder / name for name in ("model.plan", "model.trt.onnx", "model.trt.json")})
