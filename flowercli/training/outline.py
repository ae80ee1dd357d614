"""What a run says of itself before its first step: network, weights, device, where it writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from flowercli.training.model import downloaded_weights
from flowercli.training.run_folder import LAST
from flowercli.training.weights import repository

if TYPE_CHECKING:
    from flowercli.training.learner import Learner
    from flowercli.training.run_folder import RunFolder
    from flowercli.training.schema import ModelConfig


def outline(run: RunFolder, learner: Learner) -> list[str]:
    """Return a line each about the network, the device, and the folder."""
    config, model = run.config, learner.model
    parameters = sum(parameter.numel() for parameter in model.parameters())
    resumed = (run.path / LAST).is_file()
    weights = f"those of the checkpoint {run.path / LAST}" if resumed else weights_from(config.model)
    group, sizes = learner.group, learner.share.sizes
    here = "" if group.local_size == group.size else f", {group.local_size} of them on this machine"
    together = f"Processes: {group.size}{here}; a batch is {len(sizes)} parts of at most {max(sizes)} photographs"
    return [
        f"Model: {config.model.name}, {parameters / 1e6:.1f} million parameters; weights: {weights}",
        f"Device: {device(learner)}; {learner.steps_per_epoch} steps an epoch, of {config.batch_size} photographs",
        *([together] if group.size > 1 else []),
        f"Run: {run.path} until it is done",
    ]


def weights_from(config: ModelConfig) -> str:
    """Say where the weights that a new run starts from come from."""
    if config.weights is not None:
        return str(Path(config.weights).expanduser())
    if config.pretrained and (there := downloaded_weights(config.name)) is not None:
        return str(there.parent)
    repo_id = repository(config.name) if config.pretrained else None
    return "random" if repo_id is None else f"{repo_id} from the Hugging Face Hub"


def device(learner: Learner) -> str:
    """Say what computes, and in which precision."""
    kind, precision = learner.device.type, learner.accelerator.mixed_precision
    threads = torch.get_num_threads()
    computes = f"{threads} thread{'s' * (threads > 1)}"
    what = torch.cuda.get_device_name(learner.device) if kind == "cuda" else computes
    return f"{kind} ({what}), {'fp32' if precision == 'no' else precision}"
