"""Name the flower in photographs: python classify.py PICTURE...   One JSON line each, as `flowers classify --json`.

Needs onnxruntime, numpy, pillow and the files beside it; what is done to a picture is said in preprocessing.json.
"""

import io
import json
import os
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageCms, ImageOps, PngImagePlugin

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime sends reports to its makers unless told not to
import onnxruntime as ort

Image.MAX_IMAGE_PIXELS = 2**28  # telephones take 200 megapixels, of a JPEG decoded at an eighth
PngImagePlugin.MAX_TEXT_CHUNK = 2**24
warnings.filterwarnings("ignore", module=r"PIL\.")  # the answer says what is wrong with a file
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
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
    if Path(path).exists() and not Path(path).is_file():  # opening a pipe waits for ever
        raise OSError(f"{path} is not a file")
    with Image.open(path, formats=FORMATS) as file:
        file.draft("RGB", tuple(np.ceil(np.array(file.size) * (min(resize_to) / min(file.size))).astype(int).tolist()))
        file.load()
        image: Image.Image = file
        if len(file.info.get("exif") or b"") <= 2**20:
            with suppress(Exception):  # of nonsense Pillow's parser raises almost anything
                image = ImageOps.exif_transpose(file)
    if image.mode[0] in "IF":  # greys of 16 and 32 bits, and of floats, of which few files say what white is
        grey = np.asarray(image, np.float64)
        top = float(grey[np.isfinite(grey)].max(initial=0))
        white = 1 if image.mode == "F" and top <= 1 else 255 if top <= 255 else max(65535, top)  # noqa: PLR2004
        image = Image.fromarray(np.nan_to_num(grey * (255 / white), nan=0).clip(0, 255).astype(np.uint8))
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


def to_srgb(image: Image.Image, profile: object) -> Image.Image:
    """Return a picture in the colours of sRGB, as it is where its colour profile cannot be read."""
    with suppress(ImageCms.PyCMSError, OSError):
        theirs = ImageCms.ImageCmsProfile(io.BytesIO(profile if isinstance(profile, bytes) else b""))
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
    model = ort.InferenceSession((HERE / SPEC["model"]).read_bytes(), options, providers=["CPUExecutionProvider"])
    failed = False
    for picture in sys.argv[1:]:
        try:
            print(json.dumps(classify(model, picture), allow_nan=False))
        except Exception as error:  # noqa: BLE001  (of odd files decoders raise almost anything)
            failed = True
            print(json.dumps({"path": picture, "error": str(error) or type(error).__name__}))
    sys.exit(3 if failed else 0)  # as `flowers classify` does
