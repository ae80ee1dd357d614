"""The bundle: the folder (or lone ``.onnx``) that is the model.

``config.json`` is timm's Hugging Face Hub format plus one ``flowers`` section, which lists every
other file with its size and sha256. Whatever reads a bundle goes through :class:`Bundle`; whatever
writes one goes through :func:`add_files`, whose order of writing keeps the bundle valid at
every moment: a killed process leaves the old file, or none, never half of one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from flowercli import json_text
from flowercli.atomic import replace_file, write_text
from flowercli.description import FORMAT_VERSION, check, parse, read_config, read_metadata
from flowercli.errors import BundleError
from flowercli.shown import in_shell

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
ONNX = "model.onnx"
ONNX_FP16 = "model.fp16.onnx"
ONNX_INT8 = "model.int8.onnx"
# An engine of TensorRT, the graph that loads it, and what it is bound to: good for this machine, and never shipped.
PLAN = "model.plan"
TENSORRT_GRAPH = "model.trt.onnx"
TENSORRT_SIDECAR = "model.trt.json"
CARD = "README.md"
MANIFEST = "split.json"
# Instead, where there are many photographs.
MANIFEST_PARQUET = "split.parquet"
REFERENCE = "reference.npz"
EMBEDDINGS = "embeddings.npz"
# Only a delivery has it.
CHECKSUMS = "SHA256SUMS"
# What a configuration holds that only makes sense on the machine of training.
LOCAL_KEYS = frozenset({"path", "outliers", "manifest", "output", "weights", "teacher", "uri"})
# Whose keys are names of flowers, datasets and kinds of pictures: any may be called as one of those.
NAMED_BY_USERS = frozenset({"taught", "data_terms", "metrics"})

AGAIN = "Fetch or export the bundle again."
PATHS = frozenset({"data_path", "outliers_path"})


class GraphFormat(NamedTuple):
    """One form of the graph: its name in results, the option of ``flowers export``, its file in a bundle.

    ``writer`` is the module of ``flowercli.export`` whose ``write`` makes it. The lower ``suits``, the better it is for
    a CPU; above zero it is for GPUs alone, and packages leave it out. ``made_from`` is what it needs besides fp32.
    """

    name: str
    option: str
    file: str
    writer: str
    suits: int
    made_from: str | None = None
    # Whether photographs of training go into it.
    calibrated: bool = False
    # Never published.
    machine_bound: bool = False
    beside: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """All its files in a bundle."""
        return (self.file, *self.beside)


TENSORRT_BESIDE = (TENSORRT_GRAPH, TENSORRT_SIDECAR)
# In the order in which they are made.
FORMATS = (
    GraphFormat("onnx", "--onnx", ONNX, "graph", suits=0),
    GraphFormat("fp16", "--fp16", ONNX_FP16, "fp16", suits=1),
    GraphFormat("int8", "--int8", ONNX_INT8, "quantize", suits=-1, calibrated=True),
    GraphFormat("tensorrt", "--trt", PLAN, "build_engine", 2, ONNX_FP16, machine_bound=True, beside=TENSORRT_BESIDE),
)
MACHINE_BOUND = tuple(file for form in FORMATS if form.machine_bound for file in form.files)
# What runs anywhere: the best for a CPU first.
GRAPHS = tuple(sorted((form for form in FORMATS if not form.machine_bound), key=lambda form: form.suits))
ON_CPU = tuple(form.file for form in GRAPHS)
ON_GPU = ON_CPU[::-1]
# Where there is no GPU: what the page, packages and a download take.
PORTABLE = tuple(form.file for form in GRAPHS if form.suits <= 0)


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
            config = read_config(path / CONFIG)
        elif path.suffix == ".onnx" and path.is_file():
            config = read_metadata(path)
        else:
            message = f"There is no model bundle at {path}."
            raise BundleError(message, hint="Give a bundle folder, a .onnx file, or a name from: flowers models")
        check(config, path)
        return cls(path, config)

    @classmethod
    def from_text(cls, text: str, path: Path) -> Self:
        """Read the description of a bundle that is, or will be, at ``path``.

        Raises:
            BundleError: it is damaged, or its format is not supported.
        """
        config = parse(text, path)
        check(config, path)
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
    def scientific_names(self) -> list[str | None]:
        """Scientific names by class index, ``None`` where there is none; older bundles hold none at all."""
        return self.section.get("scientific_names") or [None] * self.config["num_classes"]

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
        """How sure the model must be that it knows the flower; below it, an answer is rejected."""
        return float(self.section["rejection_threshold"])

    @property
    def name(self) -> str:
        """A short name to show."""
        return f"{self.path.name} ({self.config['architecture']})"

    def has(self, name: str) -> bool:
        """Whether the bundle lists the file and the file is there."""
        return name in self.section["files"] and (self.path / name).is_file()

    def file(self, name: str) -> Path:
        """Return the path of a file of the bundle after checking its size and sha256; of the card, that it is there.

        Raises:
            BundleError: the bundle does not list the file, or the file is missing or altered.
        """
        if self.is_lone_onnx:
            raise BundleError(f"{self.path} is a lone .onnx: it has no {name}.")
        listed = self.section["files"].get(name)
        if listed is None:
            raise BundleError(f"The bundle {self.path} has no {name}.", hint=_hint_to_make(name, self))
        path = self.path / name
        if not path.is_file():
            message = f"The bundle {self.path} is incomplete: {name} is missing."
            raise BundleError(message, hint=_hint_to_make(name, self) or AGAIN)
        if name != CARD:  # People correct it.
            _check_content(path, listed)
        return path

    @property
    def manifest_file(self) -> Path | None:
        """The split manifest after checking its size and sha256; ``None`` where the bundle has none.

        Raises:
            BundleError: it is missing or altered.
        """
        listed = () if self.is_lone_onnx else self.section["files"]
        return next((self.file(name) for name in (MANIFEST, MANIFEST_PARQUET) if name in listed), None)

    @property
    def card_is_corrected(self) -> bool:
        """Whether people changed the model card since it was written, or wrote it themselves: it stays theirs then."""
        if self.is_lone_onnx or not (self.path / CARD).is_file():
            return False
        written: dict[str, Any] = self.section["files"].get(CARD, {})
        return bool(written.get("sha256") != describe(self.path / CARD)["sha256"])

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
        kept = {
            key: item if key in NAMED_BY_USERS else without_local_paths(item)
            for key, item in value.items()
            if key not in PATHS
        }
        return {key: None if key in LOCAL_KEYS else item for key, item in kept.items()}
    return [without_local_paths(item) for item in value] if isinstance(value, list) else value


def to_json(value: Any) -> str:
    """Return JSON as it is written everywhere in the project: indented, UTF-8, one newline at the end."""
    return json_text.dumps(value, indent=2) + "\n"


def _with_section(bundle: Bundle, **section: Any) -> Bundle:
    config = {**bundle.config, "flowers": {**bundle.section, **section}}
    write_text(bundle.path / CONFIG, to_json(config))
    return Bundle(bundle.path, config)


def _check_content(path: Path, listed: Mapping[str, Any]) -> None:
    message, size = f"{path} is not the file the bundle lists:", path.stat().st_size
    if size != listed["size"]:  # A file of terabytes is not read for this.
        raise BundleError(f"{message} size {size} instead of {listed['size']}.", hint=AGAIN)
    if (found := describe(path)["sha256"]) != listed["sha256"]:
        raise BundleError(f"{message} sha256 {found[:12]}… instead of {listed['sha256'][:12]}…", hint=AGAIN)


def _hint_to_make(name: str, bundle: Bundle) -> str | None:
    origin = bundle.section.get("origin", {})
    if name in origin.get("left_out", ()):
        return f"flowers download model {origin['repo_id']}@{origin['commit']} --all"
    option = next((form.option for form in FORMATS if name in form.files), None)
    if name == CARD:
        return f"flowers eval {in_shell(bundle.path)}"
    if name in {REFERENCE, EMBEDDINGS}:
        return f"flowers reference {in_shell(bundle.path)} --data DIR"
    return option and f"flowers export {in_shell(bundle.path)} {option}"
