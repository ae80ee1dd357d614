"""``flowers classify --out``: answers as files of a folder or bucket, which any number of runs fill together."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from flowercli.cli.classify_output import BY_SUFFIX
from flowercli.cli.interruption import by_sigterm, typed
from flowercli.cli.output import note, print_json, print_text, stderr_console, warn
from flowercli.cli.progress import SAY_EVERY, counting
from flowercli.errors import EXIT_BAD_INPUT, EXIT_OK, BatchInterrupted, UsageError, needs_extra
from flowercli.inference.classifier import DEFAULT_TOP_K, check_top_k
from flowercli.inference.heif import NEEDS_HEIF
from flowercli.installation import add_extra
from flowercli.shown import counted, in_shell

with needs_extra("batch"):
    from flowercli.batch.engines import Question, answered_by_ray, answered_here
    from flowercli.batch.missing import Shard, asked, missing
    from flowercli.batch.part import ANSWERED, REJECTED
    from flowercli.batch.places import Place
    from flowercli.batch.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TextIO

    from flowercli.batch.part import Done
    from flowercli.cli.options import Into

PART_SIZE = 2000
ENDINGS = frozenset(filter(None, BY_SUFFIX))


def classify_into(
    into: Into,
    paths: Sequence[str],
    stdin: TextIO,
    *,
    model: str | None,
    device: str | None,
    batch_size: int | None,
    only: str | None,
    top_k: int | None,
    as_json: bool,
    verbose: bool,
) -> int:
    """Answer what is missing in a place, say what came of it, and return the exit code.

    Raises:
        BatchInterrupted: by Ctrl-C or SIGTERM; the same command goes on.
        BatchError, UsageError: a place cannot be used, or has answers of another kind.
    """
    listed = DEFAULT_TOP_K if top_k is None else top_k
    check_top_k(listed)
    if batch_size is not None and into.engine == "ray":
        raise UsageError("--batch-size does not go with --engine ray: a task there has one core, and no GPU.")
    shard = Shard() if into.shard is None else Shard.parse(into.shard)
    plan = Plan(Place.at(into.out))
    question = Question(plan.place.address, model, device, only, listed, batch_size)
    classifier = question.opened()
    if verbose:
        note(f"{classifier.bundle.name} on {classifier.runtime.describe()}")
    wanted = asked(classifier, paths, top_k=listed, only=only, part_size=into.part_size or PART_SIZE)
    parts = missing(plan, wanted, stdin, shard, add=into.add, retry=into.retry, waiting=_said_once())
    if into.engine == "ray":
        done = answered_by_ray(question, classifier, parts, into.address)
    else:
        done = answered_here(question, classifier, parts)
    with by_sigterm():
        return _tell(_counted(done, plan), plan, shard, as_json=as_json)


def _counted(parts: Iterator[Done], plan: Plan) -> tuple[Counter[str], int]:
    """Go through the parts and return how often what came of a photograph, and how many parts there were."""
    met: Counter[str] = Counter()
    count = 0
    said = time.monotonic()
    try:
        with closing(parts), counting("photographs") as tick:  # type: ignore[type-var]  # generators, all of them
            for part in parts:
                met += part.met
                count += 1
                for _ in range(part.met.total()):
                    tick()
                if time.monotonic() - said > SAY_EVERY and not stderr_console().is_terminal:
                    said = time.monotonic()
                    note(f"{met.total():,} photographs answered so far")
    except KeyboardInterrupt:
        plan.stop()
        message = f"Interrupted after {met.total():,} photographs; the parts that were under way begin anew."
        raise BatchInterrupted(message, hint=f"Go on with: {typed()}") from None
    return met, count


def _tell(done: tuple[Counter[str], int], plan: Plan, shard: Shard, *, as_json: bool) -> int:
    met, parts = done
    answered = met[ANSWERED] + met[REJECTED]
    errors = {code: count for code, count in met.most_common() if code not in {ANSWERED, REJECTED}}
    bad = sum(errors.values())
    if as_json:
        figures = {"answered": answered, "rejected": met[REJECTED], "errors": errors, "parts": parts}
        print_json({"place": plan.place.address, **figures})
    elif parts:
        photographs, errors_met = counted(met.total(), "photograph"), counted(bad, "error")
        print_text(f"{photographs} = {answered:,} answered + {errors_met}, in {counted(parts, 'part')}")
    elif plan.parts():
        print_text(f"Nothing was missing{'' if shard.of == 1 else ' of this shard'}.")
    if bad:
        reasons = ", ".join(f"{code} {count:,}" for code, count in errors.items())
        warn(f"{bad:,} of {met.total():,} could not be read: {reasons}")
    if errors.get(NEEDS_HEIF):
        note(f"To read HEIC pictures: {add_extra('heif')}")
    if not parts and not plan.parts():
        warn("No pictures found.")
        return EXIT_BAD_INPUT
    note(f"Whether all are there: flowers answers {in_shell(plan.place.address)}")
    return EXIT_BAD_INPUT if bad else EXIT_OK


def _said_once() -> Callable[[str], None]:
    said: set[str] = set()

    def say(what: str) -> None:
        if what not in said:
            said.add(what)
            note(what)

    return say


def check_alone(into: Into, others: Mapping[str, object]) -> None:
    """Refuse options that say where answers go in another way.

    Raises:
        UsageError: one of them is given.
    """
    if Path(into.out).suffix.lower() in ENDINGS and not Path(into.out).is_dir():
        hint = f"One file: --output {in_shell(into.out)}"
        raise UsageError(
            f"--out {into.out}: that is a folder or bucket of many files, and this the name of one.", hint=hint
        )
    for option, value in others.items():
        if value and option == "--resume":
            raise UsageError("--resume does not go with --out.", hint="The same command again, without it, goes on.")
        if value:
            hint = f"Read them out afterwards: flowers answers {in_shell(into.out)} --format csv"
            raise UsageError(
                f"{option} does not go with --out.", hint=hint if option in {"--format", "--output"} else None
            )
