"""The bundle: the folder (or lone ``.onnx``) that is the model.

``config.json`` is timm's Hugging Face Hub format plus one ``flowers`` section, which lists every
other file with its size and sha256. Whatever reads a bundle goes through :class:`Bundle`; whatever
writes one goes through :func:`add_files`, whose order of writing keeps the bundle valid at
every moment: a killed process leaves the old file, or none, never half of one.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from flowercli.atomic import replace_file, write_text
from flowercli.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT_VERSION = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
ONNX = "model.onnx"
ONNX_FP16 = "model.fp16.onnx"
ONNX_INT8 = "model.int8.onnx"
CARD = "README.md"
MANIFEST = "split.json"
REFERENCE = "reference.npz"
# The key under which a lone .onnx carries config.json in its metadata.
ONNX_METADATA_KEY = "config.json"
# What a configuration holds that only makes sense on the machine of training.
LOCAL_KEYS = frozenset({"path", "manifest", "output", "weights", "teacher", "uri"})


@dataclass(frozen=True)
class Bundle:
    """A model on disk and the description it carries.

    ``path`` is the folder, or the ``.onnx`` file of a lone one; ``config`` the parsed ``config.json``.
    """

    path: Path
    config: dict[str, Any]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a bundle and check its description, without hashing the files.

        Raises:
            BundleError: there is none, its description is damaged, or its format is not supported.
        """
        if path.is_dir():
            config = _read_config(path / CONFIG)
        elif path.suffix == ".onnx" and path.is_file():
            config = _read_onnx_metadata(path)
        else:
            message = f"There is no model bundle at {path}."
            raise BundleError(message, hint="Give a bundle folder, a .onnx file, or a name from: flowers models")
        _check_config(config, path)
        return cls(path, config)

    @classmethod
    def from_text(cls, text: str, path: Path) -> Self:
        """Read the description of a bundle that is, or will be, at ``path``.

        Raises:
            BundleError: it is damaged, or its format is not supported.
        """
        config = _parse(text, path)
        _check_config(config, path)
        return cls(path, config)

    @property
    def is_lone_onnx(self) -> bool:
        """Whether the bundle is a single ``.onnx`` rather than a folder."""
        return self.path.is_file()

    @property
    def section(self) -> dict[str, Any]:
        """The ``flowers`` section of the description."""
        section: dict[str, Any] = self.config["flowers"]
        return section

    @property
    def class_names(self) -> list[str]:
        """Class names by class index."""
        return list(self.config["label_names"])

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        """Timm's ``pretrained_cfg``, which holds the preprocess spec."""
        cfg: dict[str, Any] = self.config["pretrained_cfg"]
        return cfg

    @property
    def temperature(self) -> float:
        """Calibration temperature that the logits are divided by, inside the exported graphs."""
        return float(self.section["temperature"])

    @property
    def rejection_threshold(self) -> float:
        """Confidence below which an answer is marked as rejected."""
        return float(self.section["rejection_threshold"])

    @property
    def name(self) -> str:
        """A short name to show."""
        return f"{self.path.name} ({self.config['architecture']})"

    def has(self, name: str) -> bool:
        """Whether the bundle lists the file and the file is there."""
        return name in self.section["files"] and (self.path / name).is_file()

    def file(self, name: str) -> Path:
        """Return the path of a file of the bundle after checking its size and sha256.

        Raises:
            BundleError: the bundle does not list the file, or the file is missing or altered.
        """
        if self.is_lone_onnx:
            raise BundleError(f"{self.path} is a lone .onnx: it has no {name}.")
        listed = self.section["files"].get(name)
        if listed is None:
            raise BundleError(f"The bundle {self.path} has no {name}.", hint=_hint_to_make(name, self))
        path = self.path / name
        _check_file(path, listed)
        return path

    def verify(self) -> None:
        """Check every listed file.

        Raises:
            BundleError: one is missing or altered.
        """
        for name in self.section["files"]:
            self.file(name)


def create(path: Path, config: Mapping[str, Any], files: Mapping[str, Path]) -> Bundle:
    """Write a new bundle into the folder ``path``, which must not hold one yet."""
    path.mkdir(parents=True, exist_ok=True)
    description = {**config, "flowers": {**config["flowers"], "format_version": FORMAT_VERSION, "files": {}}}
    write_text(path / CONFIG, to_json(description))
    return add_files(Bundle(path, description), files)


def add_files(bundle: Bundle, files: Mapping[str, Path], **section: Any) -> Bundle:
    """Move files into a bundle, update its ``flowers`` section, and return the new bundle.

    A file that is replaced is first taken off the list, so that at no moment the list names a file
    that does not match it.
    """
    listed = dict(bundle.section["files"])
    if any(name in listed for name in files):
        kept = {name: entry for name, entry in listed.items() if name not in files}
        bundle = _with_section(bundle, files=kept)
    entries = {name: describe(source) for name, source in files.items()}
    for name, source in files.items():
        replace_file(source, bundle.path / name)
    return _with_section(bundle, **section, files={**bundle.section["files"], **entries})


def describe(path: Path) -> dict[str, Any]:
    """Return what a bundle records of a file: its sha256 and its size in bytes."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "size": path.stat().st_size}


def embeddable_config(config: Mapping[str, Any]) -> str:
    """Return ``config.json`` as a lone ``.onnx`` carries it: without the list of other files and without paths."""
    section = {key: value for key, value in without_local_paths(config["flowers"]).items() if key != "files"}
    return to_json({**config, "flowers": {**section, "files": {}}})


def without_local_paths(value: Any) -> Any:
    """Drop the paths of the machine of training from a description that goes elsewhere."""
    if isinstance(value, dict):
        kept = {key: without_local_paths(item) for key, item in value.items() if key != "data_path"}
        return {key: None if key in LOCAL_KEYS else item for key, item in kept.items()}
    return [without_local_paths(item) for item in value] if isinstance(value, list) else value


def to_json(value: Any) -> str:
    """Return JSON as it is written everywhere in the project: indented, UTF-8, one newline at the end."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _with_section(bundle: Bundle, **section: Any) -> Bundle:
    config = {**bundle.config, "flowers": {**bundle.section, **section}}
    write_text(bundle.path / CONFIG, to_json(config))
    return Bundle(bundle.path, config)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        message = f"{path.parent} is not a model bundle: it has no {CONFIG}."
        raise BundleError(message, hint="flowers train --data DIR makes one.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} cannot be read: {error}.") from error
    return _parse(text, path)


def _read_onnx_metadata(path: Path) -> dict[str, Any]:
    # Only a lone file needs its description before its session exists; graph optimisation is off
    # because this session is thrown away.
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions have no common base but Exception.
        raise BundleError(f"{path} is not a readable ONNX file.") from error
    text = session.get_modelmeta().custom_metadata_map.get(ONNX_METADATA_KEY)
    if text is None:
        message = f"{path} does not say what it is: its metadata has no {ONNX_METADATA_KEY}."
        raise BundleError(message, hint="Export it with: flowers export BUNDLE --onnx")
    return _parse(text, path)


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise BundleError(f"The description in {path} is damaged: {error}.") from error
    if not isinstance(config, dict):
        raise BundleError(f"The description in {path} is damaged: it is not an object.")
    return config


def _check_config(config: dict[str, Any], path: Path) -> None:
    section = config.get("flowers")
    if not isinstance(section, dict):
        message = f"{path} is a timm model, not a flowers bundle: its {CONFIG} has no 'flowers' section."
        raise BundleError(message, hint=f"Fine-tune it: flowers train --data DIR model.weights={path}")
    version = section.get("format_version")
    if version != FORMAT_VERSION:
        message = f"{path} has bundle format {version}; this version reads format {FORMAT_VERSION}."
        raise BundleError(message, hint="pip install --upgrade flowercli")
    wanted = {"architecture", "num_classes", "label_names", "pretrained_cfg"}
    missing = sorted(wanted - config.keys())
    missing += sorted({"temperature", "rejection_threshold", "files"} - section.keys())
    if missing:
        raise BundleError(f"The description in {path} is incomplete: {', '.join(missing)} missing.")
    _check_fields(config, path)


def _check_fields(config: dict[str, Any], path: Path) -> None:
    """Check the types of what other modules rely on; a bundle may come from anywhere."""
    names, section = config["label_names"], config["flowers"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BundleError(f"The description in {path} is damaged: label_names is not a list of names.")
    if len(names) != config["num_classes"]:
        raise BundleError(f"{path} names {len(names)} classes but has {config['num_classes']}.")
    for key in ("temperature", "rejection_threshold"):
        if not isinstance(section[key], int | float) or not math.isfinite(section[key]):
            raise BundleError(f"The description in {path} is damaged: {key} is not a number.")
    for name in section["files"]:
        if Path(name).name != name:
            raise BundleError(f"The description in {path} lists '{name}', which is no plain file name.")


def _check_file(path: Path, listed: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise BundleError(f"The bundle {path.parent} is incomplete: {path.name} is missing.")
    found = describe(path)
    if found["size"] != listed["size"] or found["sha256"] != listed["sha256"]:
        message = f"{path} is not the file the bundle lists: size {found['size']} and sha256 {found['sha256'][:12]}…"
        expected = f" instead of {listed['size']} and {listed['sha256'][:12]}…"
        raise BundleError(message + expected, hint="Fetch or export the bundle again.")


def _hint_to_make(name: str, bundle: Bundle) -> str | None:
    origin = bundle.section.get("origin", {})
    if name in origin.get("left_out", ()):
        return f"flowers download model {origin['repo_id']}@{origin['commit']} --all"
    option = {ONNX: "--onnx", ONNX_FP16: "--fp16", ONNX_INT8: "--int8"}.get(name)
    if name == REFERENCE:
        return f"flowers reference {bundle.path} --data DIR"
    return option and f"flowers export {bundle.path} {option}"
