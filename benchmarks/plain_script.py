"""The peer: what somebody writes in an afternoon. Two threads, onnxruntime, Pillow, the same model.

python benchmarks/plain_script.py FOLDER MODEL.onnx
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image

SIDE, RESIZED = 224, 256


def main() -> None:
    """Classify every picture of the folder and print JSON Lines."""
    folder, model = sys.argv[1:]
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = json.loads(session.get_modelmeta().custom_metadata_map["config.json"])["label_names"]

    def classify(path: Path) -> dict[str, object]:
        image = Image.open(path).convert("RGB")
        scale = RESIZED / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
        left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
        pixels = np.asarray(image.crop((left, top, left + SIDE, top + SIDE)))[np.newaxis]
        probabilities = session.run(["probabilities"], {"pixels": pixels})[0][0]
        best = int(probabilities.argmax())
        return {"path": str(path), "class": names[best], "confidence": float(probabilities[best])}

    with ThreadPoolExecutor(2) as pool:
        for answer in pool.map(classify, sorted(Path(folder).rglob("*.jpg"))):
            print(json.dumps(answer))


if __name__ == "__main__":
    main()
