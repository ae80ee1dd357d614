"""What is typed to change a training configuration: short keys written out, and mistakes explained."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from hydra.errors import MissingConfigException

from flowercli.training.schema import known_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

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
