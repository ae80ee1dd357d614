"""Pictures gathered into batches: when a batch goes, what is in it, and that no answer depends on it. Real threads."""

from __future__ import annotations

import io
import itertools
import json
import signal
import subprocess
import threading
import time

import numpy as np
import pytest
from conftest import FLOWERS, SAMPLES, command, default_interrupt
from PIL import Image

from flowercli.errors import ImageError
from flowercli.inference import on_device, session
from flowercli.inference.batches import MOST_WAIT, Batches, Gatherer, Gathering, gathered_map
from flowercli.inference.classifier import Classifier
from flowercli.inference.on_device import OnDevice, best_size, portions
from flowercli.inference.pipeline import classify_stream, open_for_many
from flowercli.inference.preprocess import INPUT, load_pixels
from flowercli.models import load_model

PICTURES = [SAMPLES / f"{name}.jpg" for name in FLOWERS]
OUTPUTS = ["probabilities", "embedding", "known"]
# What docs/runtimes.md promises of a probability on a CPU, whatever is in the batch.
TOLERANCE = 1e-5
# A machine that does much else stops threads for so long.
LATE = 2.0


@pytest.fixture(scope="module")
def alone():
    return Classifier.open(load_model("flowers5"), "cpu")


@pytest.fixture(scope="module")
def pixels(alone):
    return np.stack([load_pixels(path, alone.spec) for path in PICTURES])


@pytest.fixture
def start():
    """Return a function that starts a gatherer; all end with the test."""
    started = []

    def call(work, most, wait, coming):
        started.append(Gatherer(work, Batches(most, wait), coming))
        started[-1].start()
        return started[-1]

    yield call
    for gatherer in started:
        gatherer.close()


def gathering(most, wait):
    return Gathering(Batches(most, wait), lambda: Batches(most, wait))


class Taken:
    """Takes batches, and tells of each how long after the start of the test it went."""

    def __init__(self):
        self.batches, self.at, self.since = [], [], time.perf_counter()
        self._new = threading.Condition()

    def __call__(self, batch):
        with self._new:
            self.batches.append(batch)
            self.at.append(time.perf_counter() - self.since)
            self._new.notify_all()

    def wait_for(self, count):
        with self._new:
            assert self._new.wait_for(lambda: len(self.batches) >= count, timeout=10), self.batches


def test_a_full_batch_goes_at_once_though_more_is_coming(start):
    taken = Taken()
    gatherer = start(taken, 4, 60, lambda: True)
    for item in range(9):
        gatherer.put(item)
    taken.wait_for(2)
    assert sorted(itertools.chain(*taken.batches)) == list(range(8))
    assert {len(batch) for batch in taken.batches} == {4}


def test_what_is_there_goes_when_nothing_else_is_coming(start):
    taken, coming = Taken(), [True]
    gatherer = start(taken, 64, 60, lambda: coming[0])
    for item in range(3):
        gatherer.put(item)
    time.sleep(0.1)
    assert taken.batches == []
    coming[0] = False
    gatherer.look()
    taken.wait_for(1)
    assert taken.batches == [[0, 1, 2]]


def test_the_first_of_a_batch_waits_for_slow_ones_no_longer_than_is_said(start):
    taken = Taken()
    gatherer = start(taken, 64, 0.2, lambda: True)
    gatherer.put("first")
    for _ in range(6):
        time.sleep(0.05)
        gatherer.put("later")
    taken.wait_for(2)
    assert 0.2 <= taken.at[0] < 0.2 + LATE
    assert taken.batches[0][0] == "first"
    assert 2 <= len(taken.batches[0]) < 7
    assert sum(map(len, taken.batches)) == 7


def test_the_end_works_on_what_waits_or_lets_it_go(start):
    taken = Taken()
    patient = start(taken, 64, 60, lambda: True)
    patient.put(1)
    patient.close(10)
    assert taken.batches == [[1]]
    hasty = start(taken, 64, 60, lambda: True)
    hasty.put(2)
    hasty.close()
    time.sleep(0.1)
    assert taken.batches == [[1]]


def test_a_batch_that_holds_the_device_is_noticed(start):
    let_go = threading.Event()
    gatherer = start(lambda _batch: let_go.wait(10), 1, 0, lambda: False)
    gatherer.put(1)
    time.sleep(0.1)
    assert gatherer.is_stuck(0.05)
    assert not gatherer.is_stuck(5)
    let_go.set()


def test_results_keep_their_order_and_one_that_fails_harms_no_other():
    def load(number):
        time.sleep(0.002 * (number % 5))  # The later overtake the earlier.
        if number == 13:
            raise ImageError("unreadable", "thirteen")
        return number

    batches = []

    def work(loaded):
        batches.append(len(loaded))
        return [number * number for number in loaded]

    results = gathered_map(load, work, range(40), 4, gathering(8, 0.05))
    assert list(itertools.islice(results, 13)) == [number * number for number in range(13)]
    with pytest.raises(ImageError, match="thirteen"):
        next(results)
    # The generator has ended, as that of all others does; another one goes on behind what fails.
    assert max(batches) == 8
    again = gathered_map(load, lambda loaded: [-number for number in loaded], range(14, 20), 2, gathering(4, 0.05))
    assert list(again) == [-14, -15, -16, -17, -18, -19]


def test_what_is_measured_counts_from_the_second_batch_on():
    sizes, measured = [], []

    def measure():
        measured.append(len(sizes))
        return Batches(2, 5)

    def load(number):
        time.sleep(0.001)
        return number

    def work(loaded):
        sizes.append(len(loaded))
        return loaded

    assert list(gathered_map(load, work, range(7), 2, Gathering(Batches(8, 5), measure))) == list(range(7))
    assert measured == []
    sizes.clear()
    assert list(gathered_map(load, work, range(200), 2, Gathering(Batches(8, 5), measure))) == list(range(200))
    (batches,) = measured
    assert max(sizes[:batches]) > 2
    # One may have been on its way.
    assert max(sizes[batches + 1 :]) <= 2


def test_an_error_of_the_work_is_raised_and_nothing_hangs():
    def work(_loaded):
        raise ValueError("the device is gone")

    with pytest.raises(ValueError, match="the device is gone"):
        list(gathered_map(lambda number: number, work, range(100), 2, gathering(8, 0.01)))


def test_no_more_is_read_than_there_is_room_for():
    read = []

    def endless():
        for number in itertools.count():
            read.append(number)
            yield number

    before = threading.active_count()
    results = gathered_map(lambda number: number, list, endless(), 2, gathering(8, 0.01))
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    time.sleep(0.3)
    room = 2 * 8 + 3 * 8
    assert len(read) <= 5 + room + 3
    results.close()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before
    count = len(read)
    time.sleep(0.1)
    assert len(read) == count


@pytest.mark.parametrize(
    ("count", "seconds", "runs"),
    [
        (1, {1: 1, 8: 1.9, 64: 4}, [1]),
        (3, {1: 1, 8: 1.9, 64: 4}, [8]),
        (9, {1: 1, 8: 1.9, 64: 4}, [8, 1]),
        (20, {1: 1, 8: 1.9, 64: 4}, [64]),
        (130, {1: 1, 8: 1.9, 64: 4}, [64, 64, 8]),
        # As on a CPU: nothing is won by many at once, and a padded one costs as much as a real one.
        (7, {1: 1, 8: 8.1, 64: 66}, [1] * 7),
        (5, {1: 1.0, 8: 1.0, 64: 1.0}, [8]),
    ],
)
def test_the_sizes_of_runs_are_those_that_take_least(count, seconds, runs):
    found = portions(count, seconds)
    assert sorted(found) == sorted(runs)
    assert sum(found) >= count


def test_size_and_wait_are_chosen_by_what_was_measured():
    gpu = {1: 0.001, 8: 0.002, 64: 0.0158}
    assert best_size(gpu, 0.05) == 8
    assert best_size({1: 0.001, 8: 0.002, 64: 0.004}, 0.05) == 64
    assert Batches.chosen(gpu) == (8, 0.002)
    assert Batches.chosen({1: 0.03, 8: 0.24}) == (1, MOST_WAIT)
    assert Batches.chosen({1: 0.001, 4: 0.003}, 4) == (4, 0.003)


def test_places_give_what_the_session_gives_for_any_number_of_pictures(alone, pixels):
    held = OnDevice(alone._session, "cpu", (alone.spec.height, alone.spec.width), (1, 2, 4))
    seven = np.concatenate([pixels, pixels[:2]])
    expected = [alone._session.run(OUTPUTS, {INPUT: one[np.newaxis]}) for one in seven]
    kept = {count: held.run(OUTPUTS, {INPUT: seven[:count]}) for count in (1, 2, 3, 7)}
    assert sorted(held.measured()) == [1, 2, 4]
    kept |= {-count: held.run(OUTPUTS, {INPUT: list(seven[:count])}) for count in (3, 5, 7)}
    # What was answered before is not written over by what came later.
    for count, columns in kept.items():
        for column, wanted in zip(columns, zip(*expected, strict=True), strict=True):
            assert column.shape[0] == abs(count)
            np.testing.assert_allclose(column, np.concatenate(wanted[: abs(count)]), rtol=1e-5, atol=TOLERANCE)
    (known,) = held.run(["known"], {INPUT: pixels[:1]})
    np.testing.assert_array_equal(known, kept[1][2])
    with pytest.raises(ValueError, match="shape"):
        held.run(OUTPUTS, {INPUT: np.zeros((1, 8, 8, 3), np.uint8)})
    assert held.run(["known"], {INPUT: pixels[:1]})[0] == known


def test_many_threads_may_ask_at_once(alone, pixels):
    held = OnDevice(alone._session, "cpu", (alone.spec.height, alone.spec.width), (1, 2))
    expected = [held.run(OUTPUTS, {INPUT: one[np.newaxis]})[0] for one in pixels]
    wrong = []

    def ask(place):
        for _ in range(5):
            answer = held.run(OUTPUTS, {INPUT: pixels[place][np.newaxis]})[0]
            if not np.array_equal(answer, expected[place]):
                wrong.append(place)

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_size_that_memory_does_not_hold_is_done_without(alone, pixels, monkeypatch):
    """As a small GPU: onnxruntime raises where it cannot allocate."""
    monkeypatch.setattr(on_device, "MEASURE_SECONDS", 1e12)
    shape, many = (alone.spec.height, alone.spec.width), (1, 2, 10**9)
    held, asked_first = OnDevice(alone._session, "cpu", shape, many), OnDevice(alone._session, "cpu", shape, many)
    assert sorted(held.measured()) == [1, 2]
    three = np.stack([pixels[0], pixels[1], pixels[2]])
    answers = [one.run(["known"], {INPUT: three})[0] for one in (held, asked_first)]
    np.testing.assert_array_equal(*answers)
    assert held.sizes == asked_first.sizes == (1, 2)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Return pictures of many sizes, three of them broken, and one that takes long to decode."""
    folder = tmp_path_factory.mktemp("odd")
    paths = []
    for number, size in enumerate([(30, 40), (400, 90), (1200, 1600), (224, 224), (1, 1), (90, 700)]):
        image = Image.open(PICTURES[number % 5]).convert("RGB").resize(size)
        image.save(folder / f"{number}.png")
        paths += [folder / f"{number}.png", PICTURES[number % 5]]
    (folder / "text.jpg").write_text("no picture")
    (folder / "cut.jpg").write_bytes(PICTURES[0].read_bytes()[:30_000])
    Image.open(PICTURES[1]).convert("RGB").resize((2500, 2500)).save(folder / "slow.png", compress_level=1)
    paths[1:1] = [folder / "text.jpg"]
    paths[5:5] = [folder / "slow.png", folder / "cut.jpg"]
    paths.append(folder / "none.jpg")
    return paths


@pytest.mark.parametrize("size", [3, 64])
def test_no_answer_depends_on_its_batch(alone, odd, size):
    expected = list(classify_stream(alone, map(str, odd), workers=2, top_k=0))
    batched = open_for_many(load_model("flowers5"), "cpu", size)
    found = list(classify_stream(batched, map(str, odd), workers=3, top_k=0))
    assert [result.path for result in found] == [str(path) for path in odd]
    for one, other in zip(found, expected, strict=True):
        if isinstance(other.outcome, ImageError):
            assert (one.outcome.code, one.outcome.message) == (other.outcome.code, other.outcome.message)
        else:
            mine, its = one.outcome, other.outcome
            assert (mine.predicted_class, mine.rejected, mine.reason) == (its.predicted_class, its.rejected, its.reason)
            assert mine.known == pytest.approx(its.known, abs=TOLERANCE)
            assert mine.all_predictions == pytest.approx(its.all_predictions, abs=TOLERANCE)
    errors = [result.outcome.code for result in found if isinstance(result.outcome, ImageError)]
    assert errors == ["not_an_image", "truncated", "not_found"]


def test_a_picture_waits_for_a_slow_neighbour_no_longer_than_is_said(odd, monkeypatch):
    """While a picture is decoded that takes long, those before it are answered."""
    batched = open_for_many(load_model("flowers5"), "cpu", 8)
    monkeypatch.setattr(type(batched), "gathering", lambda _self: gathering(8, 0.01))
    slow, decoding, done = next(path for path in odd if path.name == "slow.png"), threading.Event(), threading.Event()
    load = type(batched).load

    def watched(self, source):
        if source != str(slow):
            return load(self, source)
        decoding.set()
        picture = load(self, source)
        # Until the other is out, however fast this machine is.
        assert done.wait(10)
        return picture

    monkeypatch.setattr(type(batched), "load", watched)
    results = classify_stream(batched, [str(PICTURES[0]), str(slow), str(PICTURES[1])], workers=2)
    assert next(results).outcome.predicted_class == "daisy"
    assert decoding.wait(10)
    done.set()
    assert [result.outcome.predicted_class for result in results][1:] == ["dandelion"]


def test_among_some_flowers_only_and_told_to_a_log(run, tmp_path):
    same = ("classify", *PICTURES, *PICTURES[:2], "--json", "--only", "rose,tulip,daisy")
    log = tmp_path / "answers.parquet"
    batched = run(*same, "--batch-size", 4)
    assert batched.code == 0, batched.err
    answers, expected = (list(map(json.loads, result.out.splitlines())) for result in (batched, run(*same)))
    assert [answer["predicted_class"] for answer in answers] == [answer["predicted_class"] for answer in expected]
    assert [answer["rejected"] for answer in answers] == [answer["rejected"] for answer in expected]
    assert set(answers[0]["all_predictions"]) == {"rose", "tulip", "daisy"}
    pytest.importorskip("pyarrow", reason="needs the extra 'batch'")
    assert run("classify", *PICTURES, "--batch-size", 4, "--log", log).code == 0
    assert log.exists()


def test_batches_of_one_are_as_before(alone, run):
    assert alone.gathering() is None
    assert alone.in_batches(1).gathering() is None
    assert run("classify", *PICTURES, "--batch-size", 1).out == run("classify", *PICTURES).out
    for size in (0, 65):
        assert run("classify", PICTURES[0], "--batch-size", size).code == 2


@pytest.fixture
def posing(monkeypatch):
    """Have the CPU pose as the device `cuda`, which has nothing in its way."""
    row = session.Candidate("cuda", session.CPU_PROVIDER, session.ON_CPU, lambda: iter(()), session._on_cpu)
    monkeypatch.setattr(session, "CANDIDATES", (row, session.CANDIDATES[-1]))


@pytest.mark.usefixtures("posing")
def test_a_device_that_is_none_of_the_cpu_is_asked_in_batches_unasked(run, monkeypatch):
    monkeypatch.setitem(session.MEMORY, "cuda", "cpu")
    taken = []
    inner = OnDevice.run

    def counted(self, names, feeds):
        taken.append(len(feeds[INPUT]))
        return inner(self, names, feeds)

    monkeypatch.setattr(OnDevice, "run", counted)
    measured = []
    monkeypatch.setattr(OnDevice, "measured", lambda _self: measured.append(sum(taken)) or {1: 1.0, 8: 2.0, 64: 20.0})
    many = [*PICTURES * 14, SAMPLES / "none.jpg"]
    same = ("classify", *many, "--json", "--model", "flowers5")
    batched, alone = run(*same, "--verbose"), run(*same, "--device", "cpu")
    assert batched.code == alone.code == 3
    assert "on cuda (model.int8.onnx)" in batched.err
    for one, other in zip(batched.out.splitlines(), alone.out.splitlines(), strict=True):
        mine, its = json.loads(one), json.loads(other)
        assert mine.keys() == its.keys()
        assert mine["path"] == its["path"]
        assert mine.get("all_predictions") == pytest.approx(its.get("all_predictions"), abs=TOLERANCE)
    assert sum(taken) == 70
    assert len(taken) < 50
    # Once, and not before as many had come as a batch holds at first.
    assert len(measured) == 1
    taken.clear()
    assert run("classify", PICTURES[0], "--model", "flowers5").code == 0
    assert (taken, len(measured)) == ([1], 1)


@pytest.mark.usefixtures("posing")
def test_a_device_that_opens_and_cannot_run_is_passed_over(run):
    """As a driver that breaks at the first run: here, memory that this onnxruntime does not have."""
    answered = run("classify", PICTURES[0], "--model", "flowers5", "--verbose")
    assert answered.code == 0
    assert "on cpu (model.int8.onnx); not cuda: " in answered.err
    refused = run("classify", PICTURES[0], "--model", "flowers5", "--device", "cuda")
    assert refused.code == 1
    assert "--device cuda cannot be had: " in refused.err


def test_parts_are_answered_in_batches_by_this_machine_alone(run, tmp_path):
    pytest.importorskip("pyarrow", reason="needs the extra 'batch'")
    into = ("classify", *PICTURES, "--out")
    assert run(*into, tmp_path / "a").code == 0
    assert run(*into, tmp_path / "b", "--batch-size", 4).code == 0
    answers = [run("answers", tmp_path / place, "--format", "csv").out for place in "ab"]
    assert answers[0] == answers[1] != ""
    refused = run(*into, tmp_path / "c", "--batch-size", 4, "--engine", "ray")
    assert refused.code == 2
    assert "does not go with --engine ray" in refused.err


def test_classifying_one_by_one_loads_nothing_of_this():
    script = (
        "import sys; from flowercli.cli.main import main; code = main(sys.argv[1:]);"
        "ours = {f'flowercli.inference.{name}' for name in ('batches', 'on_device', 'pinned')} & set(sys.modules);"
        "sys.exit(str(ours) if ours else code)"
    )
    line = [command()[0], "-c", script, "classify", "--device", "cpu", str(PICTURES[0])]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_answers_come_one_by_one_though_batches_are_large():
    line = command("classify", "-", "--json", "--batch-size", 64)
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        for name, path in zip(FLOWERS, PICTURES, strict=True):
            process.stdin.write(f"{path}\n")
            assert json.loads(process.stdout.readline())["predicted_class"] == name
        process.stdin.close()
        assert process.wait(30) == 0


def test_interrupt_in_the_middle_of_batches():
    process = subprocess.Popen(
        command("classify", *PICTURES * 200, "--json", "--batch-size", 8),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=default_interrupt,  # noqa: PLW1509
    )  # fmt: skip
    with process:
        assert json.loads(process.stdout.readline())["predicted_class"] == "daisy"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_evaluating_in_batches_gives_the_same_rows():
    pytest.importorskip("torch", reason="needs the extra 'train'")
    from flowercli.evaluation.answers import Runs, answer_rows

    bundle = load_model("flowers5")
    expected = list(answer_rows(bundle, "int8", PICTURES))
    found = list(answer_rows(bundle, "int8", PICTURES, Runs("cpu", 4)))
    for one, other in zip(found, expected, strict=True):
        for mine, its in zip(one, other, strict=True):
            np.testing.assert_allclose(mine, its, rtol=1e-5, atol=TOLERANCE)


def test_bytes_and_images_are_answered_in_batches_too(alone):
    batched = alone.in_batches(4)
    image = Image.open(io.BytesIO(PICTURES[2].read_bytes()))
    assert batched.classify(image).predicted_class == "rose"
    assert batched.answer([]) == []
    assert batched.answering_only(["rose", "tulip"]).gathering().measured().most == 4
