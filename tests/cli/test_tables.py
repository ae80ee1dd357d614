"""Tables on narrow terminals: whole numbers, the ends of paths, and no line that is too long."""

from __future__ import annotations

import io
import re

import pytest
from conftest import SAMPLES, in_terminal
from rich.cells import cell_len

from flowercli.cli.console import SafeConsole
from flowercli.cli.output import print_table
from flowercli.cli.tables import shortened

LONG = "/home/somebody/photographs of the garden/2026/july/a-very-long-folder-name"
NAME = "a_class_with_quite_a_long_name_that_botanists_gave"
SHARE = "97.50 % (94.0–99.5)"
# The columns of commands' tables: titles, rows, columns of words, columns of paths.
TABLES = {
    "export": (
        ("File", "Size", "Made by", "Max diff.", "Mean diff.", "Same answer", "Val accuracy", "Lost", "Latency"),
        [("model.int8.onnx", "5.51 MB", "minmax", "1.3e-01", "2.4e-03", "99.73 %", SHARE, "0.27 pt", "12.6 ms")] * 3,
        ("Made by",),
        ("File",),
    ),
    "eval": (("", "torch", "fp16", "onnx", "int8"), [("Calibration error (ECE)", *[SHARE] * 4)] * 3, (), ()),
    "classes": (("Class", "Precision", "Recall", "F1", "Photos"), [(NAME, SHARE, SHARE, "97.75 %", "1059")], (), ()),
    "split": (("Class", "train", "val", "test", "Photos", "Share"), [(NAME, *["3670"] * 4, "33.3 %")], (), ()),
    "label errors": (
        ("Photo", "Labelled", "Looks like", "Probability", "Split"),
        [(f"{LONG}/rose.jpg", NAME, NAME, "99.7 %", "train")],
        ("Labelled", "Looks like", "Split"),
        ("Photo",),
    ),
    "download": (
        ("Name", "Kind", "Size", "Revision", "From", "Where"),
        [("flower_photos", "dataset", "228.8 MB", "", "https://example.org/a/b/flowers.tgz", f"{LONG}/flower_photos")],
        ("Kind", "Revision"),
        ("From", "Where"),
    ),
    "drift": (
        ("Feature", "Reference", "Log", "PSI (95 %)", "p", ""),
        [("class mix", "white arum lily 12 %", "white arum lily 40 %", "0.254 (0.21–0.29)", "0.001", "drifting")],
        ("",),
        (),
    ),
}  # fmt: skip


def printed(table: str, width: int) -> list[str]:
    columns, rows, left, paths = TABLES[table]
    console = SafeConsole(file=io.StringIO(), width=width)
    print_table(columns, rows, title="A title", left=left, paths=paths, console=console)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 160])
@pytest.mark.parametrize("table", TABLES)
def test_numbers_are_whole_and_paths_keep_their_end(table, width):
    lines = printed(table, width)
    columns, rows, left, paths = TABLES[table]
    assert max(map(cell_len, lines)) <= width
    shown = "\n".join(lines)
    for row in rows:
        for place, (column, cell) in enumerate(zip(columns, row, strict=True)):
            if column in paths:
                assert cell[-8:] in shown
            elif place and column not in left:
                # In one piece, but for an interval in brackets, which may stand below.
                assert all(part in shown for part in cell.split(" ("))
    numbers = [number for row in rows for cell in row for number in re.findall(r"\d+\.\d+ %", cell)]
    assert all(shown.count(number) >= numbers.count(number) for number in set(numbers))


def test_a_wide_table_of_few_rows_is_turned_and_of_many_is_listed():
    columns = ("File", *(f"Title {number}" for number in range(9)))
    console = SafeConsole(file=io.StringIO(), width=60)
    print_table(columns, [("one", *["123456"] * 9), ("two", *["654321"] * 9)], console=console)
    assert re.search(r"File +one +two", console.file.getvalue())
    console = SafeConsole(file=io.StringIO(), width=60)
    print_table(columns, [(f"row {number}", *["123456"] * 9) for number in range(12)], console=console)
    assert "row 11\n  Title 0  123456\n" in console.file.getvalue()


def test_names_are_cut_in_the_middle_and_paths_at_the_beginning():
    assert shortened("giant_white_arum_lily", 12) == "giant…m_lily"
    assert shortened("holiday/bed/rose.jpg", 12, keep_end=True) == "…ed/rose.jpg"
    assert shortened("花" * 9, 8) == "花…花花"
    assert shortened("rose", 4) == "rose"
    assert shortened("rose", 1) == "…"


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("top", [[], ["--top-k", "3"]], ids=["one line", "top-k"])
def test_answers_fit(tmp_path, columns, top):
    folder = tmp_path / "photographs-of-the-garden-behind-the-house"
    folder.mkdir()
    for name in ("daisy", "dandelion"):
        (folder / f"{name}.jpg").write_bytes((SAMPLES / f"{name}.jpg").read_bytes())
    lines = in_terminal(["classify", folder, "--model", "garden", *top], columns).out.splitlines()
    assert max(map(cell_len, lines)) <= columns
    rows = re.compile(r"(daisy|elion)\.jpg +(daisy|dandelion) .* [<>]?[\d.]+ %")
    assert len([line for line in lines if rows.search(line)]) == 2
    shares = re.findall(r"\S+ %", "\n".join(lines))
    assert len(shares) >= (6 if top else 2)
    assert all(re.fullmatch(r"[<>]?\d+\.\d %", share) for share in shares)
