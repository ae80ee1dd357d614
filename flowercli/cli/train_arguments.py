"""What is typed after ``flowers train``, as Hydra's overrides; and what was meant by what is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from flowercli.errors import DataError, UsageError
from flowercli.installed import dataset_folder
from flowercli.shown import in_shell

DEFAULT_OUTPUT = "runs"


def as_overrides(options: Mapping[str, object]) -> list[str]:
    """Return the options that were given as overrides of their keys."""
    return [f"{key}={_quote(value)}" for key, value in options.items() if value is not None]


def model_override(model: str | None) -> list[str]:
    """Return the override for ``--model``: a config of the group, or else a name of timm's."""
    if model is None:
        return []
    return [f"model={model}"] if _is_config(model) else [f"model.name={_quote(model)}"]


def refuse_words(arguments: Sequence[str], data: Path | None) -> None:
    """Refuse an argument that is no override, with what was most likely meant.

    Raises:
        UsageError: there is one.
    """
    # `~key` is Hydra's, and no key has a slash.
    words = [word for word in arguments if not word.startswith("~") and ("=" not in word or "/" in word.split("=")[0])]
    if words:
        others = [argument for argument in arguments if argument != words[0]]
        message = f"'{words[0]}' is neither an option nor KEY=VALUE, as optim.lr=1e-3 is."
        raise UsageError(message, hint=_meant(words[0], others, data))


def require_photographs(path: str, data: Path | None) -> None:
    """Refuse to start where nothing says where the photographs are, and they are not where they are by default.

    Raises:
        DataError: that is so.
    """
    if data is None and not Path(path).is_dir():
        hint = "flowers train --data DIR\nWithout photographs of your own: flowers download dataset"
        raise DataError(f"Which photographs? There are none in {path}.", hint=hint)


def _meant(word: str, others: Sequence[str], data: Path | None) -> str:
    from flowercli.training.schema import SUFFIX

    rest = [argument for argument in others if "=" in argument]
    if word.rstrip("/").endswith(SUFFIX):
        return f"To go on with a run: flowers train --resume {in_shell(word)}"
    is_folder = dataset_folder(Path(word)).is_dir()
    if _is_config(word) and not is_folder:
        given = ["--data", str(data)] if data else []
        return f"A model: {_line(['train', *given, '--model', word, *rest])}"
    if data is None:
        return f"Photographs: {_line(['train', '--data', word, *rest])}"
    if is_folder:
        return f"--data names one folder, here {data}. Several become one: flowers merge DIR DIR --output NEW"
    return "flowers train --help lists options and groups of keys."


def _line(words: Sequence[str]) -> str:
    return " ".join(["flowers", *map(in_shell, words)])


def _is_config(name: str) -> bool:
    from flowercli.training.config import config_dir

    return (config_dir() / "model" / f"{name}.yaml").is_file()


def _quote(value: object) -> str:
    """Quote a path for Hydra's grammar; numbers pass as they are."""
    if isinstance(value, int | float):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
