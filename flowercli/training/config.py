"""The training configuration: Hydra composes it from ``configs/``, the schema checks it, mistakes are explained.

Unknown keys, wrong types and values out of range are refused before anything is read or written.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from flowercli.data.shards import is_packed
from flowercli.errors import ConfigError
from flowercli.training.schema import TrainConfig, known_keys, out_of_range

ROOT_CONFIG = "train"
INTERPOLATION = "${"

NEAR = 5
# What other tools call these keys.
ELSEWHERE = {
    "learning_rate": "optim.lr",
    "lr0": "optim.lr",
    "batch": "batch_size",
    "dropout": "model.drop_rate",
    "drop_path": "model.drop_path_rate",
    "imgsz": "model.image_size",
    "img_size": "model.image_size",
    "mixup_alpha": "augment.mixup",
    "smoothing": "loss.label_smoothing",
    "workers": "num_workers",
}


def config_dir() -> Path:
    """Return the folder of the packaged configs: inside the wheel, or ``configs/`` of a source checkout."""
    packaged = Path(str(resources.files("flowercli"))) / "configs"
    return packaged if packaged.is_dir() else packaged.parent.parent / "configs"


def compose_config(overrides: Sequence[str]) -> TrainConfig:
    """Compose and check the configuration.

    Args:
        overrides: in Hydra's grammar, for example ``model=rexnet_150`` or ``optim.lr=1e-3``; ``lr=1e-3`` will do.

    Raises:
        ConfigError: an override does not parse, names an unknown key or option, or has a wrong value.
    """
    overrides = written_out(overrides)
    try:
        config = _compose(overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise _combined([*_mistakes_one_by_one(overrides)] or [explain(error)]) from error
    if problems := list(_wrong_values(config)):
        raise _combined(problems)
    return _from_shards(config)


def _from_shards(config: TrainConfig) -> TrainConfig:
    """Read photographs from the shards, if it says so: they are a dataset like another.

    Raises:
        ConfigError: they are none.
    """
    shards = config.data.shards
    if shards is None:
        return config
    if not is_packed(Path(shards)):
        raise ConfigError(f"data.shards={shards}: there are no shards.", hint="flowers pack DATA --output DIR")
    return replace(config, data=replace(config.data, path=shards))


def _compose(overrides: Sequence[str]) -> TrainConfig:
    with initialize_config_dir(str(config_dir().resolve()), version_base="1.3"):
        composed = compose(ROOT_CONFIG, overrides=list(overrides))
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TrainConfig), composed))
    assert isinstance(config, TrainConfig)
    return config


def _mistakes_one_by_one(overrides: Sequence[str]) -> Iterator[str]:
    """Explain every override that is wrong by itself; Hydra stops at the first."""
    for override in overrides:
        try:
            yield from _wrong_values(_compose([override]))
        except (HydraException, OmegaConfBaseException) as error:
            yield explain(error)


def _combined(problems: Sequence[str]) -> ConfigError:
    unique = list(dict.fromkeys(problems))
    text = unique[0] if len(unique) == 1 else "\n  ".join(["there are several mistakes:", *unique])
    hint = "flowers train --help lists the groups and common options."
    return ConfigError(f"The configuration is wrong: {text}", hint=hint)


def as_dict(config: TrainConfig) -> dict[str, Any]:
    """Return the configuration as plain containers, as the bundle records it."""
    container = OmegaConf.to_container(OmegaConf.structured(config), resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items() if key != "recipe"}


def config_from_dict(recorded: dict[str, Any]) -> TrainConfig:
    """Return the configuration that ``as_dict`` recorded.

    A run may be somebody else's: it is data, and what OmegaConf would look up, such as ``${oc.env:KEY}``, is refused.

    Raises:
        ValueError: it is not one.
    """
    if any(INTERPOLATION in text for text in _texts(recorded)):
        raise ValueError(f"the configuration of a run has values, and no {INTERPOLATION}…}}")
    try:
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TrainConfig), recorded))
    except OmegaConfBaseException as error:
        raise ValueError(str(error).splitlines()[0]) from error
    assert isinstance(config, TrainConfig)
    if problems := list(_wrong_values(config)):
        raise ValueError(problems[0])
    return config


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in containers, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(key)
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _wrong_values(config: TrainConfig) -> Iterator[str]:
    return out_of_range(by_dotted_key(as_dict(config)))


def by_dotted_key(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested containers by their dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= by_dotted_key(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def written_out(overrides: Sequence[str]) -> list[str]:
    """Return overrides with their whole keys: ``lr=1e-3`` is ``optim.lr=1e-3``, as there is no other ``lr``."""
    return [_written_out(override) for override in overrides]


def _written_out(override: str) -> str:
    key, equals, value = override.partition("=")
    found = [] if key in known_keys() or key in groups() else _keys_that_end_in(key)
    return f"{found[0]}{equals}{value}" if equals and len(found) == 1 else override


def groups() -> set[str]:
    """Return the groups of the configuration's keys."""
    return {group for group, dot, _ in (key.partition(".") for key in known_keys()) if dot}


def _keys_that_end_in(name: str) -> list[str]:
    return [key for key in known_keys() if key.rpartition(".")[2] == name]


def explain(error: Exception) -> str:
    """Say what Hydra or OmegaConf found wrong, with the nearest key or choice where one is unknown."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, choice = str(error.missing_cfg_file).partition("/")
        return _no_such_choice(group, choice, error.options)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines) or type(error).__name__
    unknown = re.search(r"Could not override '([^']+)'|full_key: (\S+)", text)
    if not unknown:
        return lines[0] if lines else text
    key = unknown.group(1) or unknown.group(2)
    return f"{key}: {lines[0]}" if key in known_keys() else _no_such_key(key)


def _no_such_key(key: str) -> str:
    if key in groups():
        return f"there is no run without the group '{key}'."
    if several := _keys_that_end_in(key):
        return f"'{key}' may be {' or '.join(several)}: write it out."
    elsewhere = difflib.get_close_matches(key.rpartition(".")[2], ELSEWHERE, n=1, cutoff=0.8)
    near = [ELSEWHERE[name] for name in elsewhere]
    near += difflib.get_close_matches(key, [*groups(), *known_keys()], n=1, cutoff=0.5)
    return f"there is no key '{key}'." + (f" Did you mean '{near[0]}'?" if near else "")


def _no_such_choice(group: str, choice: str, choices: Sequence[str]) -> str:
    told = f"there is no {group}={choice}. It may be {', '.join(choices)}."
    if group == "data":
        return f"{told} The photographs are named by an option: --data {choice}"
    return f"{told} {_timm_models(choice, choices)}" if group == "model" else told


def _timm_models(name: str, besides: Sequence[str]) -> str:
    """Say which of timm's models a name may mean, besides those that have a config."""
    import timm  # Takes seconds, and is rarely needed.

    models = timm.list_models()
    if name.partition(".")[0] in models:
        return f"Any other of timm's models is named by an option: --model {name}"
    near = [model for model in difflib.get_close_matches(name, models, n=NEAR) if model not in besides]
    return f"Any model of timm by --model NAME{', such as ' + ', '.join(near) if near else ''}."
