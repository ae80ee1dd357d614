"""Every command by name: where it is, and what the list of all says of it."""

from __future__ import annotations

from typing import NamedTuple

ANSWER, DATA, MODEL, SERVE = "Answer", "Data and weights", "Make a model", "Serve and watch"


class Command(NamedTuple):
    """Where a command is: a function, or a group of commands, in a module of this package; and its line of the help.

    ``summary`` is the first sentence of the command's own help, so that a list of all needs none of their modules.
    """

    module: str
    attribute: str
    panel: str
    summary: str


COMMANDS = {
    "classify": Command("classify", "classify", ANSWER, "Tell which flower is in each picture."),
    "models": Command(
        "models",
        "models",
        ANSWER,
        "List the models that come with the package and those that were downloaded; `classify --model NAME` asks one.",
    ),
    "doctor": Command(
        "doctor", "doctor", ANSWER, "Say what runs here and why not something better, what is wrong, and what to type."
    ),
    "download": Command(
        "download",
        "download",
        DATA,
        "Fetch datasets, models and backbones, and keep them for work without a network.",
    ),
    "data": Command(
        "data",
        "data",
        DATA,
        "Keep datasets and models in a repository of your own with DVC, and share them through S3.",
    ),
    "publish": Command(
        "publish",
        "publish",
        DATA,
        "Upload a bundle to the Hub, where `flowers download model` finds it, and print its address.",
    ),
    "split": Command(
        "split", "split", MODEL, "Split a folder of photographs into train, val and test, and write the manifest."
    ),
    "merge": Command(
        "merge",
        "merge",
        MODEL,
        "Merge datasets class by class into a new folder, each photograph on its side of the split.",
    ),
    "train": Command(
        "train", "train", MODEL, "Train a model on a folder of photographs and write a bundle into runs/TIME-MODEL/."
    ),
    "track": Command("track", "track", MODEL, "Send the record of a run that its tracking server has missed."),
    "average": Command("average", "average", MODEL, "Average the weights of several runs into one new bundle."),
    "eval": Command(
        "eval",
        "evaluate",
        MODEL,
        "Evaluate a bundle: its torch weights and each of its ONNX files, with 95 % confidence intervals.",
    ),
    "export": Command(
        "export",
        "export",
        MODEL,
        "Export a model to ONNX, check it against torch, and add it to its bundle; pack it for others.",
    ),
    "serve": Command(
        "serve",
        "serve",
        SERVE,
        "Answer over HTTP: a page at /, /v1/classify, the Open Inference Protocol under /v2, and /metrics for"
        " Prometheus.",
    ),
    "serve-mlflow": Command(
        "serve_mlflow",
        "serve_mlflow",
        SERVE,
        "Serve a model with MLflow's scoring server, or the records of runs with its tracking server.",
    ),
    "reference": Command(
        "reference",
        "reference",
        SERVE,
        "Add to a bundle what its model says of validation photographs, which `flowers drift` compares logs with.",
    ),
    "drift": Command(
        "drift",
        "drift",
        SERVE,
        "Compare the answers in a log with those about the model's own validation photographs.",
    ),
}
