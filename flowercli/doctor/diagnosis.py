"""All sections in their order, and what they come to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flowercli.doctor.checks import Section, Status, examine
from flowercli.doctor.processors import cpu, gpu
from flowercli.doctor.software import extras, providers, versions
from flowercli.doctor.storage import data_directory, hub
from flowercli.doctor.trial import benchmark, classify_once, runtimes

CLASSIFYING = "Classifying"


@dataclass(frozen=True)
class Diagnosis:
    """What was found: whether classifying works, and every section."""

    sections: Sequence[Section]

    @property
    def works(self) -> bool:
        """Whether the generated picture was classified."""
        trial = next(section for section in self.sections if section.title == CLASSIFYING)
        return all(check.status is Status.OK for check in trial.checks)

    @property
    def to_do(self) -> list[str]:
        """The fixes of what is wrong, the causes before what they lead to."""
        wrong = (Status.WARNING, Status.PROBLEM)
        fixes = [c.fix for s in self.sections for c in s.checks if c.status in wrong and c.fix]
        return list(dict.fromkeys(fixes))

    def as_dict(self) -> dict[str, Any]:
        """Return the object that ``flowers doctor --json`` prints."""
        sections = {section.title: [check.as_dict() for check in section.checks] for section in self.sections}
        return {"works": self.works, "to_do": self.to_do, "sections": sections}


def sections(*, measure: bool) -> Iterator[Section]:
    """Yield each section as soon as it is known.

    Args:
        measure: also measure the default bundle for two seconds.
    """
    yield examine("Versions", versions)
    yield examine("CPU", cpu)
    trial = examine(CLASSIFYING, classify_once)
    yield trial
    # A library that ended the process of the trial must not be loaded into this one.
    if not any(check.values.get("exit_code", 0) < 0 for check in trial.checks):
        yield examine("onnxruntime", providers)
        yield examine("GPU", gpu)
        yield examine("Runtimes", runtimes)
        if measure and all(check.status is Status.OK for check in trial.checks):
            yield examine("Benchmark", benchmark)
    yield examine("Extras", extras)
    yield examine("Data directory", data_directory)
    yield examine("Hub", hub)
