"""How often a model rejects pictures of what it does not know, and of what it knows.

python benchmarks/rejection.py MODEL KNOWN UNKNOWN [UNKNOWN ...]     (MODEL: a name or path, or - for the shipped one)
"""

from __future__ import annotations

import argparse
from pathlib import Path

from flowercli.inference.classifier import Classifier, Prediction
from flowercli.inference.cpu import available_cores
from flowercli.inference.pipeline import classify_stream
from flowercli.inference.sources import walk
from flowercli.models import load_model


def main() -> None:
    """Print the share of rejected pictures of each folder, and the area under the ROC curve of the confidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("known", type=Path)
    parser.add_argument("unknown", type=Path, nargs="+")
    arguments = parser.parse_args()
    classifier = Classifier.open(load_model(None if arguments.model == "-" else arguments.model))
    known = answers(classifier, arguments.known)
    print(f"{arguments.known}: {share(known):.1%} of {len(known)} rejected")
    for folder in arguments.unknown:
        unknown = answers(classifier, folder)
        print(f"{folder}: {share(unknown):.1%} of {len(unknown)} rejected, AUROC {auroc(known, unknown):.3f}")


def answers(classifier: Classifier, folder: Path) -> list[Prediction]:
    """Classify every picture of a folder."""
    results = classify_stream(classifier, walk(str(folder)), workers=available_cores())
    return [result.outcome for result in results if isinstance(result.outcome, Prediction)]


def share(predictions: list[Prediction]) -> float:
    """Return the share of rejected answers."""
    return sum(prediction.rejected for prediction in predictions) / len(predictions)


def auroc(known: list[Prediction], unknown: list[Prediction]) -> float:
    """Return the chance that a known picture has more confidence than an unknown one (ties count half)."""
    pairs = [(k.confidence, u.confidence) for k in known for u in unknown]
    return sum((k > u) + 0.5 * (k == u) for k, u in pairs) / len(pairs)


if __name__ == "__main__":
    main()
