"""``flowers train``: from a folder of photographs to a bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowercli.cli.options import OutliersFolder, finite
from flowercli.cli.output import note, print_text
from flowercli.cli.progress import waiting
from flowercli.cli.train_arguments import (
    DEFAULT_OUTPUT,
    as_overrides,
    model_override,
    refuse_words,
    require_photographs,
)
from flowercli.cli.train_processes import all_processes, launched, unfinished
from flowercli.errors import UsageError, needs_extra
from flowercli.shown import counted

if TYPE_CHECKING:
    from flowercli.cli.train_progress import TrainingProgress
    from flowercli.data.manifest import Manifest
    from flowercli.tracking.listener import NoTracking
    from flowercli.training.launch import Launch
    from flowercli.training.process_group import ProcessGroup
    from flowercli.training.run import TrainResult
    from flowercli.training.run_folder import RunFolder
    from flowercli.training.schema import TrainConfig

# What may be given with --resume.
WORKERS, TEACHER = "num_workers=", "distill.teacher="
GROUPS = "model, data, loss, optim, augment, distill, tracking, recipe"


def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE...",
            help=f"Overrides in Hydra's grammar, for example model=rexnet_150 optim.lr=1e-3. Groups: {GROUPS}.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Dataset: a folder with one subfolder a class, or a downloaded one's name.")
    ] = None,
    outliers: OutliersFolder = None,
    model: Annotated[str | None, typer.Option(help="A config of the group 'model', or any timm model name.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Photographs an optimizer update.")] = None,
    lr: Annotated[float | None, typer.Option(callback=finite, help="Peak learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order and augmentation.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder that the runs go into.")] = None,
    tracking_uri: Annotated[
        str | None,
        typer.Option(help="MLflow's tracking URI, as http://127.0.0.1:8080; a file beside the runs by default."),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with an unfinished run: the folder given as argument, or the newest in --output. "
            "Of its configuration, num_workers alone may be another; --data says where its photographs are now.",
        ),
    ] = False,
    processes: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Processes of this machine that train together, each with its parts of every batch; how large a part "
            "is, micro_batch says. On several machines: torchrun.",
        ),
    ] = 1,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the configuration and exit.")] = False,
) -> None:
    """Train a model on a folder of photographs and write a bundle into runs/TIME-MODEL/.

    The split manifest of the folder is used if there is one and made if there is none. A run that is
    interrupted or killed goes on with --resume, as if it had never stopped.
    """
    from flowercli.installed import dataset_folder

    with needs_extra("train"):
        from flowercli.training.config import compose_config, written_out
        from flowercli.training.parts import require_parts
    launch = launched(processes)
    options = {
        "data.path": dataset_folder(data) if data else None,
        "data.outliers": outliers,
        "epochs": epochs,
        "batch_size": batch_size,
        "optim.lr": lr,
        "seed": seed,
        "device": device,
        "output": output,
        "tracking.uri": tracking_uri,
    }
    if resume:
        free = {"output", "data.path", "data.outliers"}
        fixed = {key: value for key, value in options.items() if key not in free} | {"model": model}
        places = (dataset_folder(data) if data else None, outliers)
        _resume(overrides or [], output, places, [key for key, value in fixed.items() if value is not None], launch)
        return
    refuse_words(overrides or [], data)
    typed = written_out(overrides or [])
    config = compose_config([*typed, *as_overrides(options), *model_override(model)])
    if print_config:
        _print_config(config)
        return
    from flowercli.cli.train_progress import print_outline

    require_parts(config, launch.size)
    if launch.torchrun and (folder := unfinished(config)) is not None:
        _go_on(folder, launch)
        return
    require_photographs(config.data.path, data)
    note(f"{config.model.name}, {counted(config.epochs, 'epoch')} at most")
    manifest = _manifest(config, typed)
    print_outline(config, manifest)
    # Only now torch: a typo is told in a second.
    with waiting("Loading torch"), needs_extra("train"):
        from flowercli import whole_run
    _watch(config, manifest, launch, partial(whole_run.train, config, manifest))


def _manifest(config: TrainConfig, typed: Sequence[str]) -> Manifest:
    from flowercli.cli.progress import advancing
    from flowercli.training.run_data import find_or_make_manifest

    with advancing() as advance:
        return find_or_make_manifest(config.data, typed, note, advance)


def _resume(
    arguments: list[str],
    output: Path | None,
    places: tuple[Path | None, Path | None],
    options: list[str],
    launch: Launch,
) -> None:
    with waiting("Loading torch"), needs_extra("train"):
        from flowercli.training.config import compose_config, written_out
        from flowercli.training.run_folder import RunFolder, newest_unfinished
    arguments = [each if Path(each).exists() else written_out([each])[0] for each in arguments]
    # Settings that say nothing of the result, only of the machine.
    here = [argument for argument in arguments if argument.startswith((WORKERS, TEACHER))]
    arguments = [argument for argument in arguments if argument not in here]
    changes = options + [argument for argument in arguments if "=" in argument and not Path(argument).exists()]
    if changes or len(arguments) > 1:
        message = f"A resumed run keeps its configuration: {', '.join(changes or arguments[1:])} cannot be given."
        raise UsageError(message, hint="flowers train --resume RUN")
    path = Path(arguments[0]) if arguments else newest_unfinished(output or Path(DEFAULT_OUTPUT))
    folder = RunFolder.open(path)
    if here:
        given, config = compose_config(here), folder.config
        if any(argument.startswith(WORKERS) for argument in here):
            config = replace(config, num_workers=given.num_workers)
        if given.distill.teacher:
            config = replace(config, distill=replace(config.distill, teacher=given.distill.teacher))
        folder = replace(folder, config=config)
    _go_on(folder.moved(*places), launch)


def _go_on(folder: RunFolder, launch: Launch) -> None:
    from flowercli import whole_run
    from flowercli.cli.train_progress import print_outline
    from flowercli.training.parts import require_parts

    require_parts(folder.config, launch.size, begun=True)
    print_outline(folder.config, folder.manifest)
    _watch(folder.config, folder.manifest, launch, partial(whole_run.resume, folder))


def _watch(
    config: TrainConfig,
    manifest: Manifest,
    launch: Launch,
    training: Callable[[NoTracking, TrainingProgress, ProcessGroup], TrainResult],
) -> None:
    """Show and record a run, and print the path of its bundle."""
    from flowercli.cli.train_progress import TrainingProgress
    from flowercli.cli.train_tracking import tracked

    with (
        all_processes(launch) as group,
        tracked(config, manifest) as tracking,
        TrainingProgress(config) as progress,
    ):
        result = training(tracking, progress, group)
    progress.summarise(result)
    # The one line of data: where the bundle is.
    print_text(result.bundle.path)


def _print_config(config: TrainConfig) -> None:
    from omegaconf import OmegaConf

    from flowercli.training.config import as_dict

    typer.echo(OmegaConf.to_yaml(OmegaConf.create(as_dict(config))), nl=False)
