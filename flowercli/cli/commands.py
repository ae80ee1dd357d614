"""Every command by name, what the list of all says of it, and the options that say something of the program."""

from __future__ import annotations

from typing import NamedTuple

ANSWER, DATA, MODEL, SERVE = "Answer", "Data and weights", "Make a model", "Serve and watch"
HELP = ("-h", "--help")
VERSION = "--version"
# Nothing is run with these.
ABOUT = (*HELP, VERSION)


class Command(NamedTuple):
    """A command, or a group of them: its part of the list of all, and its line there.

    ``summary`` is the first sentence of the command's own help, so that the list needs none of their modules. It is in
    the module of its name in this package, as ``function`` where that is not its name too.
    """

    panel: str
    summary: str
    function: str | None = None


COMMANDS = {
    "classify": Command(ANSWER, "Tell which flower is in each picture."),
    "answers": Command(ANSWER, "Prove that every photograph of a plan has its answer, once, and read the answers out."),
    "tag": Command(
        ANSWER, "Write the flower in each picture as a keyword into its XMP sidecar, for digiKam, Lightroom, Immich."
    ),
    "undo": Command(
        ANSWER,
        "Take back what `classify --copy-to`, `--move-to` or `tag` did: pictures and sidecars are what they were.",
    ),
    "seen": Command(ANSWER, "Say whether a model was trained on these photographs, or on near copies of them."),
    "teach": Command(
        ANSWER,
        "Teach a model a flower of your own from three to twenty photographs, in seconds, without torch.",
    ),
    "models": Command(
        ANSWER,
        "List the models that come with the package and those that were downloaded; `classify --model NAME` asks one.",
    ),
    "doctor": Command(ANSWER, "Say what runs here and why not something better, what is wrong, and what to type."),
    "download": Command(DATA, "Fetch datasets, models and backbones, and keep them for work without a network."),
    "data": Command(DATA, "Keep datasets and models in a repository of your own with DVC, and share them through S3."),
    "publish": Command(
        DATA, "Upload a bundle to the Hub, where `flowers download model` finds it, and print its address."
    ),
    "split": Command(MODEL, "Split a folder of photographs into train, val and test, and write the manifest."),
    "merge": Command(
        MODEL, "Merge datasets class by class into a new folder, each photograph on its side of the split."
    ),
    "pack": Command(
        MODEL, "Pack the photographs of a split dataset into shards that `flowers train --data` and WebDataset read."
    ),
    "train": Command(MODEL, "Train a model on a folder of photographs and write a bundle into runs/TIME-MODEL/."),
    "track": Command(MODEL, "Send the record of a run that its tracking server has missed."),
    "average": Command(MODEL, "Average the weights of several runs into one new bundle."),
    "eval": Command(
        MODEL,
        "Evaluate a bundle: its torch weights and each of its ONNX files, with 95 % confidence intervals.",
        function="evaluate",
    ),
    "export": Command(
        MODEL, "Export a model to ONNX, check it against torch, and add it to its bundle; pack it for others."
    ),
    "serve": Command(
        SERVE,
        "Answer over HTTP: a page at /, /v1/classify, the Open Inference Protocol under /v2, and /metrics for"
        " Prometheus.",
    ),
    "serve-mlflow": Command(
        SERVE, "Serve a model with MLflow's scoring server, or the records of runs with its tracking server."
    ),
    "reference": Command(
        SERVE,
        "Add to a bundle what its model says of validation photographs, which `flowers drift` compares logs with.",
    ),
    "drift": Command(SERVE, "Compare the answers in a log with those about the model's own validation photographs."),
}
