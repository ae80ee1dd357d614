"""What answers the parts: this process, or a cluster of Ray's. An engine maps one function over what is missing."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

from flowercli.batch.part import Done, answer_parts
from flowercli.batch.places import Place
from flowercli.batch.plan import Plan
from flowercli.errors import BatchError, FlowersError, UsageError
from flowercli.inference.classifier import Classifier, parse_only
from flowercli.inference.cpu import available_cores
from flowercli.inference.pipeline import open_for_many
from flowercli.models import load_model
from flowercli.monitoring.features import identity
from flowercli.shown import first_line

# Tasks that wait beside those that run, a core: enough that none stands still while the plan is read.
TASKS_PER_CORE = 3
# How often a part is begun anew when its machine dies or its place fails. Not for ever: a photograph may kill each.
RETRIES = 10
HOST_AND_PORT = re.compile(r"(?:ray://)?\[?([^/\]]+)\]?:(\d+)")
CONNECT_SECONDS = 10


class Question(NamedTuple):
    """What is asked about each photograph, as any machine can be told it."""

    place: str
    model: str | None
    device: str | None
    only: str | None
    top_k: int
    batch_size: int | None = None

    def opened(self) -> Classifier:
        """Open the model.

        Raises:
            BundleError, DeviceError, UsageError: it cannot be opened, or has no such flowers.
        """
        classifier = open_for_many(load_model(self.model), self.device, self.batch_size)
        return classifier if self.only is None else classifier.answering_only(parse_only(self.only))


def answered_here(question: Question, classifier: Classifier, parts: Iterable[int]) -> Iterator[Done]:
    """Answer parts on the cores of this machine."""
    plan = Plan(Place.at(question.place))
    return answer_parts(plan, parts, classifier, workers=available_cores(), top_k=question.top_k)


def answered_by_ray(
    question: Question, classifier: Classifier, parts: Iterable[int], address: str | None
) -> Iterator[Done]:
    """Answer parts on a cluster, a task and a core each, and yield them as they are done.

    Args:
        question: what is asked. Its model must be there on every machine, by the same name or path.
        classifier: this machine's, which the others' must be like.
        parts: read only as far ahead as there are cores.
        address: of the cluster, as Ray takes it; without one, a Ray of this machine is started.

    Raises:
        BatchError: there is no such cluster, or a machine cannot answer.
        MissingExtraError: the extra ``ray`` is not installed.
    """
    ray = _connected(address)
    wanted = identity(classifier.bundle), classifier.runtime.graph
    task = ray.remote(num_cpus=1, max_retries=RETRIES, retry_exceptions=[BatchError])(_answer_one)
    rest = iter(parts)
    under_way: list[Any] = []
    try:
        while True:
            room = max(1, TASKS_PER_CORE * int(ray.cluster_resources().get("CPU", 1)))
            while len(under_way) < room and (number := next(rest, None)) is not None:
                under_way.append(task.remote(question, number, wanted))
            if not under_way:
                return
            done, under_way = ray.wait(under_way)
            yield _result(ray, done[0])
    finally:
        ray.shutdown()


def _connected(address: str | None) -> Any:
    from flowercli.errors import needs_extra

    # Ray tells its makers what runs, unless it is told not to before it starts.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with needs_extra("ray"):
        import ray
    before = signal.getsignal(signal.SIGTERM)
    try:
        _reach(address)
        dashboard = {} if address else {"include_dashboard": False}
        ray.init(address or "local", log_to_driver=False, logging_level="error", **dashboard)
    except (OSError, ValueError, RuntimeError) as error:
        hint = "Start one: ray start --head   (or leave --address out)"
        raise BatchError(f"There is no Ray at '{address}': {first_line(error)}", hint=hint) from error
    signal.signal(signal.SIGTERM, before)  # Ray's own prints where it was and ends with 15.
    return ray


def _reach(address: str | None) -> None:
    """Find out at once that nothing is there: Ray would try for many minutes."""
    if found := HOST_AND_PORT.fullmatch(address or ""):
        socket.create_connection((found[1], int(found[2])), CONNECT_SECONDS).close()


def _result(ray: Any, reference: Any) -> Done:
    try:
        return Done(*ray.get(reference))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, FlowersError):
            raise BatchError(f"A machine cannot answer: {error.cause.message}", hint=error.cause.hint) from error
        raise
    except ray.exceptions.RayError as error:
        hint = "The same command goes on; what every machine dies of, `ray status` and its logs say."
        raise BatchError(f"Ray gave up on a part: {first_line(error)}", hint=hint) from error


@cache
def _opened(question: Question) -> Classifier:
    """Open the model once in each of Ray's processes."""
    return question.opened()


def _answer_one(question: Question, number: int, wanted: tuple[str, str]) -> tuple[Any, ...]:
    """Be the task: answer one part on one core.

    Raises:
        BatchError: the place does not answer for a while; Ray begins the part anew.
        UsageError: this machine has another model, or would run another graph of it.
    """
    classifier = _opened(question)
    if (identity(classifier.bundle), classifier.runtime.graph) != wanted:
        raise UsageError(
            f"{classifier.bundle.name} with {classifier.runtime.graph} is not what the others answer with."
        )
    plan = Plan(Place.at(question.place))
    (done,) = answer_parts(plan, [number], classifier, workers=1, top_k=question.top_k)
    return tuple(done)
