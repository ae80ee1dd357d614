"""Name the flower in photographs: python classify.py PICTURE...   One JSON line each, as `flowers classify --json`.

Needs onnxruntime, numpy, pillow and the files beside it; what is done to a picture is said in preprocessing.json.
"""

import io
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageCms, ImageOps

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime sends reports to its makers unless told not to
import onnxruntime as ort

HERE = Path(__file__).resolve().parent
NAMES = ("config.json", "classes.json", "preprocessing.json")
FORMATS = (
    "JPEG",
    "PNG",
    "GIF",
    "BMP",
    "PPM",
    "WEBP",
    "TIFF",
    "AVIF",
    "JPEG2000",
)  # for others Pillow may start programs
CONFIG, CLASSES, SPEC = (json.loads((HERE / name).read_text("utf-8")) for name in NAMES)


def load_pixels(path: str) -> Any:
    """Return upright RGB pixels, uint8 [1, height, width, 3]."""
    target, resize_to = np.array(SPEC["width_and_height"]), np.array(SPEC["resize_to_width_and_height"])
    with Image.open(path, formats=FORMATS) as file:
        file.draft("RGB", tuple(np.ceil(np.array(file.size) * (min(resize_to) / min(file.size))).astype(int).tolist()))
        image: Image.Image = ImageOps.exif_transpose(file)
    if image.mode[0] in "IF":  # greys of 16 and 32 bits
        grey = np.asarray(image, np.float64)
        image = Image.fromarray((grey * (255 / (65535 if grey.max() > 255 else 255))).clip(0, 255).astype(np.uint8))  # noqa: PLR2004
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    source = np.array(image.size)
    resized = np.maximum(target, (source * max(resize_to / source) + 1e-6).astype(int))
    start, ratio = np.round((resized - target) / 2), source / resized
    box = (*(start * ratio), *np.minimum((start + target) * ratio, source))
    resampling = Image.Resampling[SPEC["interpolation"].upper()]
    if image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("RGB")
    resized = image.resize(tuple(target.tolist()), resampling, box)
    # CMYK of a JPEG that does not say whether zero is no ink or all: photographs need little black.
    unmarked = file.format in ("JPEG", "MPO") and image.mode == "CMYK" and "adobe" not in file.info
    if unmarked and np.asarray(resized.getchannel("K")).mean() > 127:  # noqa: PLR2004
        resized = ImageChops.invert(resized)
    return np.asarray(to_srgb(resized, image.info.get("icc_profile")).convert("RGB"))[np.newaxis]


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return a picture in the colours of sRGB, as it is where its colour profile cannot be read."""
    with suppress(ImageCms.PyCMSError, OSError):
        theirs = ImageCms.ImageCmsProfile(io.BytesIO(profile or b""))
        name = ImageCms.getProfileDescription(theirs)
        if not name.startswith("sRGB") or "linear" in name.lower():
            ours = ImageCms.createProfile("sRGB")
            return ImageCms.profileToProfile(image, theirs, ours, outputMode="RGB") or image
    return image


def classify(session: ort.InferenceSession, path: str) -> dict[str, Any]:
    """Return the answer about one picture, with the five most probable classes."""
    values = session.run(SPEC["outputs"], {SPEC["input"]: load_pixels(path)})
    outputs = {name: value[0] for name, value in zip(SPEC["outputs"], values, strict=True)}
    probabilities, section = outputs["probabilities"], CONFIG["flowers"]
    order = np.argsort(-probabilities, kind="stable")[:5].tolist()
    # How sure the model is to know the flower at all; a graph without this output goes by its confidence.
    known = float(outputs.get("known", probabilities).max())
    rejected = known < section["rejection_threshold"]
    reason = "unsure" if known >= 0.5 else "not_a_known_flower"  # noqa: PLR2004
    return {
        "path": path,
        "predicted_class": CLASSES[str(order[0])],
        "scientific_name": section["scientific_names"][order[0]] if "scientific_names" in section else None,
        "class_index": order[0],
        "confidence": round(float(probabilities[order[0]]), 6),
        "known": round(known, 6),
        "all_predictions": {CLASSES[str(index)]: round(float(probabilities[index]), 6) for index in order},
        "rejected": rejected,
        "reason": reason if rejected else None,
    }


if __name__ == "__main__":
    cpu, options = Path("/proc/cpuinfo"), ort.SessionOptions()
    if cpu.exists() and "vnni" not in cpu.read_text():  # there sums of int8 products overflow otherwise
        options.add_session_config_entry("session.x64quantprecision", "1")
    model = ort.InferenceSession(HERE / SPEC["model"], options, providers=["CPUExecutionProvider"])
    for picture in sys.argv[1:]:
        try:
            print(json.dumps(classify(model, picture), ensure_ascii=False))
        except OSError as error:
            print(json.dumps({"path": picture, "error": str(error)}, ensure_ascii=False))
