"""The folder of a run that is not finished: its configuration, its split, and its checkpoints.

``runs/TIME-MODEL.unfinished`` becomes the bundle ``runs/TIME-MODEL`` when training ends. ``last.pt`` is the whole
state of training, ``best.pt`` the weights that were best on validation; both are written atomically
and read with ``weights_only``.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import io
import re
import shlex
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch

from flowercli import json_text
from flowercli.atomic import write_bytes, write_text
from flowercli.bundle import MANIFEST, MANIFEST_PARQUET, to_json
from flowercli.data.manifest import Manifest
from flowercli.errors import BundleError, DataError, TrainingError, UsageError
from flowercli.evaluation.bundle_data import BundleData
from flowercli.inference.preprocess import PreprocessSpec
from flowercli.models import load_model
from flowercli.plain_file import read_plain_file
from flowercli.shown import first_line, in_shell
from flowercli.training.config import as_dict, by_dotted_key, config_from_dict
from flowercli.training.schema import SUFFIX, TrainConfig

RUN_FILE = "run.json"
LAST, BEST = "last.pt", "best.pt"
# Keys that say nothing of the result, only of the machine.
HERE = ("num_workers", "output")
IDENTITY = re.compile("[0-9a-f]{32}")
# Another version of these may compute other numbers.
PACKAGES = ("torch", "timm", "accelerate", "pytorch-metric-learning", "numpy", "pillow")


@dataclass(frozen=True)
class RunFolder:
    """An unfinished run on disk. ``target`` is where its bundle will be, ``identity`` tells it from all others."""

    path: Path
    identity: str
    config: TrainConfig
    manifest: Manifest
    pretrained_cfg: dict[str, Any]
    versions: Mapping[str, str]

    @property
    def target(self) -> Path:
        """The folder of the bundle to be."""
        return self.path.with_name(self.path.name.removesuffix(SUFFIX))

    @classmethod
    def create(cls, config: TrainConfig, manifest: Manifest, pretrained_cfg: dict[str, Any]) -> Self:
        """Make the folder of a new run below ``config.output``."""
        run = cls(_make_folder(config), uuid.uuid4().hex, config, manifest, pretrained_cfg, versions())
        recorded = {"identity": run.identity, "config": as_dict(config)}
        recorded |= {"pretrained_cfg": pretrained_cfg, "versions": run.versions}
        manifest.write(run.path / manifest.name_in_bundle)
        write_text(run.path / RUN_FILE, to_json(recorded))
        return run

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an unfinished run, by its folder or by that of its bundle to be.

        Raises:
            UsageError: there is none.
            TrainingError: it has no checkpoint to go on from, or is damaged.
        """
        folder = path if path.name.endswith(SUFFIX) else path.with_name(path.name + SUFFIX)
        if not (folder / RUN_FILE).is_file():
            if (path / "config.json").is_file():
                raise UsageError(f"The run {path} is finished.", hint=f"flowers eval {in_shell(path)}")
            raise UsageError(f"There is no unfinished run at {path}.", hint="flowers train --resume RUN")
        try:
            recorded = json_text.loads(read_plain_file(folder / RUN_FILE))
            config = config_from_dict(recorded["config"])
            identity, cfg, then = (recorded[key] for key in ("identity", "pretrained_cfg", "versions"))
            _check(identity, cfg, then)
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise TrainingError(f"{folder / RUN_FILE} is damaged: {first_line(error).rstrip('.:')}.") from error
        except BundleError as error:
            raise TrainingError(f"{folder / RUN_FILE} is damaged. {error.message}") from error
        # Where the run is now: it may have been moved, and it may be somebody else's, who says where to write.
        config = replace(config, output=str(folder.parent))
        return cls(folder, identity, config, _read_manifest(folder), cfg, then)

    @property
    def how_to_go_on(self) -> str:
        """What to type to go on with it."""
        return shlex.join(["flowers", "train", "--resume", str(self.path)])

    def moved(self, data: Path | None, outliers: Path | None) -> Self:
        """Return the same run whose photographs are elsewhere now; that they are the same is checked.

        Raises:
            UsageError: the run has no outliers.
            DataError: they are not there, or are not those of its manifest.
        """
        if outliers is not None and self.config.data.outliers is None:
            raise UsageError(
                "The run was started without outliers: --outliers cannot be given.", hint=self.how_to_go_on
            )
        if data is None and outliers is None:
            return self
        was = self.config.data
        there = replace(was, path=str(data or was.path), outliers=str(outliers) if outliers else was.outliers)
        run = replace(self, config=replace(self.config, data=there))
        run.check_places()
        photos = BundleData(Path(there.path), run.manifest, Path(there.outliers) if there.outliers else None)
        for split in ("train", "val"):
            photos.check_unchanged(split)
        return run

    def differs_from(self, config: TrainConfig) -> list[str]:
        """Return the keys in which another configuration would give another result, or be read or written elsewhere."""
        ours, theirs = (by_dotted_key(as_dict(each)) for each in (self.config, config))
        return [key for key, value in ours.items() if theirs[key] != value and key not in HERE]

    def check_places(self) -> None:
        """See that what the run reads is where it was, or where the user says that it is.

        Raises:
            DataError: photographs are not there.
            BundleError: a teacher is not.
        """
        places = {"--data": self.config.data.path, "--outliers": self.config.data.outliers}
        for option, place in places.items():
            if place is not None and not Path(place).is_dir():
                message = f"What the run reads is no longer at {place}."
                raise DataError(message, hint=f"Say where it is: {self.how_to_go_on} {option} DIR")
        for teacher in self.config.distill.teacher:
            try:
                load_model(teacher)
            except BundleError as error:
                hint = f"Say where the teachers are: {self.how_to_go_on} 'distill.teacher=[BUNDLE]'"
                raise BundleError(error.message, hint=hint) from error

    def save(self, name: str, state: Mapping[str, Any]) -> None:
        """Write a checkpoint atomically; the one before stays until the new one is whole on disk."""
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        write_bytes(self.path / name, buffer.getbuffer())

    def read(self, name: str) -> bytes | None:
        """Read the file of a checkpoint; ``None`` if there is none.

        Raises:
            TrainingError: it cannot be read.
        """
        path = self.path / name
        if not path.is_file():
            return None
        with self.telling_damage(name):
            return path.read_bytes()

    def load(self, name: str) -> dict[str, Any] | None:
        """Read a checkpoint; ``None`` if there is none.

        Raises:
            TrainingError: it is damaged.
        """
        content = self.read(name)
        if content is None:
            return None
        with self.telling_damage(name):
            return loaded(content)

    @contextmanager
    def telling_damage(self, name: str) -> Iterator[None]:
        """Tell whatever goes wrong with the content of a checkpoint, which may be somebody else's, as its damage.

        Raises:
            TrainingError: something went wrong.
        """
        try:
            yield
        except TrainingError:
            raise
        except Exception as error:  # Damaged files raise whatever their parser does, and so does what takes a state.
            message = f"The checkpoint {self.path / name} is damaged: {first_line(error).rstrip('.:')}."
            raise TrainingError(message, hint="Start the run anew: flowers train …") from error

    def changed_versions(self) -> list[str]:
        """Name the packages that are not of the version the run was started with."""
        now = versions()
        return [f"{name} {then} → {now[name]}" for name, then in self.versions.items() if now.get(name) != then]

    def discard(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path, ignore_errors=True)


def _check(identity: Any, cfg: Any, then: Any) -> None:
    """Hold what a run records of itself to what is written.

    Raises:
        ValueError, BundleError: it is something else.
    """
    # It becomes part of the name of a folder.
    if not isinstance(identity, str) or not IDENTITY.fullmatch(identity):
        raise ValueError("identity is none")
    if not isinstance(then, dict) or not all(isinstance(version, str) for version in then.values()):
        raise ValueError("versions is no object of texts")
    if not isinstance(cfg, dict):
        raise ValueError("pretrained_cfg is no object")  # noqa: TRY004  (of a file, not of a call)
    PreprocessSpec.from_pretrained_cfg(cfg)


def loaded(content: bytes) -> dict[str, Any]:
    """Return the state that the file of a checkpoint holds.

    Raises:
        ValueError, TypeError: it is damaged, or none.
    """
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch recommends to load with code what it does not load without.
        raise ValueError("it is not whole, or no checkpoint") from error
    if not isinstance(state, dict):
        raise TypeError("it is no checkpoint")
    return state


def _read_manifest(folder: Path) -> Manifest:
    parquet = folder / MANIFEST_PARQUET
    try:
        return Manifest.read(parquet if parquet.exists() else folder / MANIFEST)
    except DataError as error:
        raise TrainingError(error.message, hint="Start the run anew: flowers train …") from error


def _make_folder(config: TrainConfig) -> Path:
    if config.name is not None:
        return _make_named_folder(Path(config.output) / config.name)
    started = dt.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    base = f"{started}-{config.model.name.partition('.')[0]}"
    for name in (base, *(f"{base}-{number}" for number in range(2, 100))):
        path = Path(config.output) / f"{name}{SUFFIX}"
        if not path.with_name(name).exists() and not path.exists():
            path.mkdir(parents=True)
            return path
    raise TrainingError(f"There are too many runs of this second in {config.output}.")


def _make_named_folder(target: Path) -> Path:
    path = target.with_name(target.name + SUFFIX)
    if target.exists():
        raise UsageError(f"There is a run at {target} already.", hint="Give another name=…, or remove it.")
    if path.exists():
        hint = f"Go on with it: {shlex.join(['flowers', 'train', '--resume', str(path)])}   (or remove it)"
        raise UsageError(f"There is an unfinished run at {path}.", hint=hint)
    path.mkdir(parents=True)
    return path


def newest_unfinished(output: Path) -> Path:
    """Return the newest unfinished run below a folder.

    Raises:
        UsageError: there is none.
    """
    found = sorted(path for path in output.glob(f"*{SUFFIX}") if (path / RUN_FILE).is_file())
    if not found:
        raise UsageError(f"There is no unfinished run in {output}.", hint="flowers train --data DIR")
    return found[-1]


def versions() -> dict[str, str]:
    """Return the versions of the packages that training computes with."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}
