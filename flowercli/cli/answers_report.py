"""How ``flowers answers`` looks: the proof in a sentence, what is wrong with it, and the answers read out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowercli.batch.part import REJECTED
from flowercli.batch.plan import Plan, name_of
from flowercli.batch.proof import Proof, answers
from flowercli.cli.classify_output import Output, written
from flowercli.cli.classify_rows import RowPrinter, others_listed
from flowercli.cli.options import Format
from flowercli.cli.output import json_line, note, print_table, print_text, warn
from flowercli.errors import UsageError
from flowercli.inference.classifier import DEFAULT_TOP_K, in_words
from flowercli.models import DEFAULT
from flowercli.shown import counted, in_shell, percent

# Names of parts that a warning lists.
NAMED = 5


def show(proof: Proof, settings: dict[str, Any]) -> None:
    """Print the sentence that proves, and what it is about."""
    bad = sum(proof.errors.values())
    gone = proof.planned - proof.answered - bad
    lacking = f" + {gone:,} without an answer" if gone else ""
    print_text(f"planned {proof.planned:,} = {proof.answered:,} answered + {counted(bad, 'error')}{lacking}")
    if proof.answered:
        rejected = proof.met[REJECTED]
        print_text(f"rejected {rejected:,} of them, {percent(rejected / proof.answered)}")
    for code, count in proof.errors.most_common():
        print_text(f"{code} {count:,}")
    note(f"{counted(proof.parts, 'part')}, by {settings['model']} ({settings['graph']}), flowers {settings['flowers']}")


def warn_of(proof: Proof, settings: dict[str, Any], place: str) -> None:
    """Say why the proof does not hold, and what to do."""
    again = _command(settings, place)
    if not proof.listed:
        warn("The photographs are not all listed yet.")
    if proof.missing:
        warn(f"{proof.without_answer:,} photographs have no answer: {_named(proof.missing)}")
    if not proof.listed or proof.missing:
        note(f"What is missing, and nothing else, is answered by: {again}")
    if proof.other:
        warn(f"The answers of {_named(proof.other)} are about other photographs than the plan's.")
        note(f"Delete these files, then: {again}")
    if proof.double:
        warn(f"{proof.double:,} photographs are in the plan once more: they were given twice.")
        note("Each time they have their answer. To have each once, give another --out.")


def _command(settings: dict[str, Any], place: str) -> str:
    """Return the command that asks as it was asked."""
    options = {"--out": place, "--model": settings["model"], "--top-k": settings["top_k"]}
    if settings["only"]:
        options["--only"] = ",".join(settings["only"])
    usual = {"--model": DEFAULT, "--top-k": DEFAULT_TOP_K}
    told = (f"{option} {in_shell(value)}" for option, value in options.items() if usual.get(option) != value)
    return " ".join(["flowers classify", *map(in_shell, settings["sources"]), *told])


def _named(parts: Sequence[int]) -> str:
    more = f" and {len(parts) - NAMED:,} more" if len(parts) > NAMED else ""
    return ", ".join(map(name_of, parts[:NAMED])) + more


def read_out(plan: Plan, proof: Proof, settings: dict[str, Any], output: Output) -> None:
    """Print or write the answers, or the table of how often which flower was named.

    Raises:
        UsageError: the table is to go into a file.
    """
    if output.form is Format.TABLE:
        if output.file is not None:
            raise UsageError("The table of counts is for people.", hint="--json has the same counts for programs.")
        rows = [
            (in_words(name), f"{count:,}", percent(count / proof.planned))
            for name, count in proof.classes.most_common()
        ]
        print_table(("Flower", "Photographs", "Of all"), rows, left=("Flower",))
        return
    if output.form is Format.PARQUET and output.file is not None:
        from flowercli.batch.one_file import tables_of, write_file

        write_file(output.file, tables_of(answers(plan)), settings)
        return
    with written(output.file) as stream:
        if output.form is Format.JSON:
            for result in answers(plan):
                stream.write(json_line(result.as_dict()))
            return
        every = settings["classes"] if not settings["top_k"] and output.form is Format.CSV else []
        others = 0 if every else others_listed(settings["top_k"], len(settings["classes"]))
        row = RowPrinter(stream, classes=every, others=others, tabs=output.form is Format.TSV)
        for result in answers(plan):
            row(result)
