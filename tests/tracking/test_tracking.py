from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import ROOT, SAMPLES, default_interrupt, flowers, untracked
from support.forked import forked_program
from support.mlflow_server import Server

from flowercli.bundle import Bundle
from flowercli.data.manifest import Manifest
from flowercli.data.places import manifest_path
from flowercli.errors import TrackingError, TrainingError
from flowercli.models import load_model

pytest.importorskip("torch", reason="needs the extra 'train'")

from flowercli.mlflow_quietly import import_mlflow
from flowercli.tracking.listener import open_tracking
from flowercli.tracking.replay import Replay
from flowercli.tracking.spool import Spool
from flowercli.tracking.store import Store
from flowercli.training.config import compose_config
from flowercli.training.listeners import EpochReport

EPOCHS = 6
STEPS = 6 * EPOCHS  # 108 photographs of 120 are trained on, 16 a batch.
OPTIONS = ("model=tiny", "loss=ce", "--batch-size", 16, "num_workers=0", "validate_every=2", "patience=0")
FILES = ("config.json", "model.safetensors", "README.md", "reference.npz", "split.json")


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.kill()


@pytest.fixture
def server(shared_server):
    """Return a server that runs; a test may kill it."""
    if shared_server.process is None:
        shared_server.start()
    return shared_server


def the_run(client, experiment="flowers"):
    (run,) = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return run


def steps_of(client, run, key):
    return [metric.step for metric in client.get_metric_history(run.info.run_id, key)]


def check_complete(client, run, epochs=EPOCHS):
    assert run.info.status == "FINISHED"
    for key in ("loss", "learning_rate"):
        assert steps_of(client, run, key) == list(range(1, 6 * epochs + 1))
    for key in ("train_loss", "images_per_second"):
        assert steps_of(client, run, key) == list(range(1, epochs + 1))
    assert steps_of(client, run, "val_accuracy") == steps_of(client, run, "val_loss") == list(range(2, epochs + 1, 2))
    (model,) = client.search_logged_models([run.info.experiment_id], filter_string=f"source_run_id='{run.info.run_id}'")
    assert model.status == "READY"
    names = {entry.path for entry in client.list_artifacts(run.info.run_id, "bundle")}
    assert names == {f"bundle/{name}" for name in FILES}
    return model


def start_training(dataset, output, uri, *options):
    arguments = ("train", "--data", dataset, *OPTIONS, "--output", output, "--tracking-uri", uri, *options)
    return subprocess.Popen(
        [*forked_program(), *untracked(arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        preexec_fn=default_interrupt,  # noqa: PLW1509
    )  # fmt: skip


def wait_for(process, words):
    seen = []
    for line in process.stderr:
        seen.append(line)
        if words in line:
            return
    pytest.fail(f"'{words}' did not come: {''.join(seen)}")


@pytest.mark.slow
def test_default_store_is_beside_the_runs(dataset, tmp_path):
    output = tmp_path / "runs"
    done = flowers(
        "train", "--data", dataset, *OPTIONS, "--epochs", 2, "--output", output, "tracking=mlflow", "plots=true"
    )
    assert done.code == 0, done.err
    (line,) = done.out.splitlines()
    uri = f"sqlite:///{output}/mlflow.db"
    assert f"See it: flowers serve-mlflow --tracking --runs {output}\n" in done.err
    made = sorted(path.name for path in output.iterdir() if path.name != ".mlflow.db.lock")
    assert made == sorted(["mlartifacts", "mlflow.db", Path(line).name])
    assert not (ROOT / "mlruns").exists()
    client = import_mlflow().MlflowClient(uri)
    run = the_run(client)
    model = check_complete(client, run, epochs=2)
    metrics = Bundle.load(Path(line)).section["metrics"]
    for split in ("val", "test"):
        measured = metrics[split]["torch"]
        assert run.data.metrics[f"{split}/accuracy"] == measured["accuracy"]["value"]
        assert run.data.metrics[f"{split}/macro_f1"] == pytest.approx(measured["macro_f1"]["value"], abs=1e-3)
        assert run.data.metrics[f"{split}/recall/reds"] == measured["per_class"]["reds"]["recall"]["value"]
    evaluated = flowers("eval", line)
    assert f"Added to the record of the run: {uri}\n" in evaluated.err, evaluated.err
    assert steps_of(client, run, "test/accuracy") == [2, 2]
    assert model.artifact_location.startswith((output / "mlartifacts").as_uri())
    assert run.info.run_name == Path(line).name
    drawn = {path.name for path in (Path(line) / "plots").iterdir()}
    assert {"learning-curves.png", "confusion-matrix.svg"} <= drawn
    assert {entry.path for entry in client.list_artifacts(run.info.run_id, "plots")} == {f"plots/{n}" for n in drawn}
    assert steps_of(client, run, "system/cpu_utilization_percentage")[0] == 0
    assert steps_of(client, run, "system/system_memory_usage_megabytes")[0] == 0


@pytest.mark.slow
def test_a_resumed_run_goes_on_with_its_record(dataset, tmp_path, server):
    options = ("tracking.experiment=resumed", "epochs=400", "patience=0")
    process = start_training(dataset, tmp_path, server.uri, *options)
    wait_for(process, "epoch 2/")
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    before = the_run(server.client, "resumed")
    assert before.info.status == "KILLED"
    (folder,) = tmp_path.glob("*.unfinished")
    described = json.loads((folder / "run.json").read_text())
    described["config"]["epochs"] = 5  # The rest of the run is not what is tested here.
    (folder / "run.json").write_text(json.dumps(described))
    server.kill()  # What the resumed run has to say waits until the server is back.
    done = flowers("train", "--resume", folder)
    assert done.code == 1
    server.start()
    done = flowers("train", "--resume", folder)
    assert done.code == 0, done.err
    after = the_run(server.client, "resumed")
    assert after.info.run_id == before.info.run_id
    assert after.info.status == "FINISHED"
    assert after.info.run_name == folder.name.removesuffix(".unfinished")
    assert sorted(set(steps_of(server.client, after, "loss"))) == list(range(1, 31))
    assert steps_of(server.client, after, "train_loss")[-1] == 5


@pytest.mark.slow
def test_a_server_gets_everything_and_a_model_that_answers_as_classify_does(
    dataset, tmp_path, server, run, monkeypatch
):
    process = start_training(dataset, tmp_path, server.uri, "--epochs", EPOCHS, "tracking.experiment=whole")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    mlflow, client, bundle = import_mlflow(), server.client, Bundle.load(Path(out.strip()))
    found = the_run(client, "whole")
    where = f"{server.uri}/#/experiments/{found.info.experiment_id}/runs/{found.info.run_id}"
    assert f"Recorded in {where}?workflowType=machine_learning\n" in err
    model = check_complete(client, found)
    assert not (tmp_path / "tracking").exists()
    assert found.data.params["optim.name"] == "adam"
    assert found.data.params["model.name"] == "test_efficientnet"
    assert found.data.tags["version.torch"] == bundle.section["provenance"]["versions"]["torch"]
    assert found.data.tags["git_revision"] == bundle.section["provenance"]["git_revision"]
    manifest = Manifest.read(manifest_path(dataset))
    inputs = {entry.tags[0].value: entry.dataset for entry in found.inputs.dataset_inputs}
    assert set(inputs) == {"train", "val", "test", "manifest"}
    assert all(inputs[split].digest == manifest.dataset_sha256[:36] for split in ("train", "val", "test"))
    assert json.loads(inputs["train"].profile)["dataset_sha256"] == manifest.dataset_sha256
    assert json.loads(inputs["train"].profile)["num_rows"] == 108
    assert inputs["manifest"].digest == manifest.sha256[:36]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    assert "optim:" in mlflow.artifacts.load_text(f"{found.info.artifact_uri}/config.yaml")

    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{model.model_id}", dst_path=str(tmp_path / "model")))
    assert "torch" not in (folder / "requirements.txt").read_text()
    assert not list(folder.rglob("*.pkl"))
    loaded = mlflow.pyfunc.load_model(str(folder))
    pictures = sorted((dataset / "green").glob("*.jpg"))[:5]
    lines = run("classify", "--json", "--model", folder / "artifacts" / "model.onnx", *pictures).out.splitlines()
    expected = [{key: value for key, value in json.loads(line).items() if key != "path"} for line in lines]
    assert predict(loaded, pictures) == expected


@pytest.mark.slow
def test_a_server_that_is_killed_and_comes_back_has_everything(dataset, tmp_path, server):
    process = start_training(dataset, tmp_path, server.uri, "--epochs", EPOCHS, "tracking.experiment=back")
    wait_for(process, "epoch 2/")
    server.kill()
    wait_for(process, "does not answer")
    wait_for(process, "epoch 5/")
    server.start()
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "answers again" in err
    assert Bundle.load(Path(out.strip()))
    check_complete(server.client, the_run(server.client, "back"))
    assert not (tmp_path / "tracking").exists()


@pytest.mark.slow
def test_a_server_that_stays_away_is_made_up_for_later(dataset, tmp_path, server, run):
    process = start_training(dataset, tmp_path, server.uri, "--epochs", EPOCHS, "tracking.experiment=late")
    wait_for(process, "epoch 1/")
    server.kill()
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert Bundle.load(Path(out.strip()))
    (folder,) = (tmp_path / "tracking").iterdir()
    assert f"flowers track {folder}" in err

    result = run("track", folder, "--tracking-uri", server.uri)
    assert (result.code, result.out) == (1, "")
    assert "does not take the records: Connection refused." in result.err

    fresh = Server(tmp_path / "fresh")
    fresh.start()
    try:
        copy = tmp_path / "copy" / "again"
        copy.parent.mkdir()
        subprocess.run(["cp", "-r", folder, copy], check=True)
        for records in (folder, copy):  # The second time nothing is new.
            result = run("track", records, "--tracking-uri", fresh.uri)
            assert (result.code, result.out) == (0, ""), result.err
            assert not records.exists()
            check_complete(fresh.client, the_run(fresh.client, "late"))
    finally:
        fresh.kill()


def test_a_server_that_does_not_answer_at_the_start_is_told(dataset, tmp_path, run):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        uri = f"http://127.0.0.1:{port}"
        result = run("train", "--data", dataset, *OPTIONS, "--output", tmp_path / "runs", "--tracking-uri", uri)
    assert result.code == 1
    assert f"The tracking server {uri} does not answer: Connection refused." in result.err
    assert f"mlflow server --host 127.0.0.1 --port {port}" in result.err
    assert "tracking=none" in result.err
    assert "Traceback" not in result.err
    assert not (tmp_path / "runs").exists()


def test_a_password_does_not_get_into_the_bundle(dataset, tmp_path, run):
    uri = "http://me:secret@127.0.0.1:1"
    result = run("train", "--data", dataset, *OPTIONS, "--output", tmp_path, "--tracking-uri", uri)
    assert result.code == 1
    assert "MLFLOW_TRACKING_PASSWORD" in result.err
    assert "secret" not in result.err


def tracking_of(dataset, output, *overrides):
    config = compose_config([f"data.path={dataset}", f"output={output}", "model=tiny", *overrides])
    return open_tracking(config, Manifest.read(manifest_path(dataset)), lambda _message: None)


@pytest.fixture
def split_dataset(dataset, run):
    assert manifest_path(dataset).is_file() or run("split", dataset).code == 0
    return dataset


MAKE = """
import sys
from pathlib import Path
from flowercli.tracking.store import Store
Store.beside(Path(sys.argv[1])).client()
"""


@pytest.mark.slow
def test_first_runs_at_once_make_one_database(tmp_path):
    makers = [subprocess.Popen([sys.executable, "-W", "ignore", "-c", MAKE, tmp_path], cwd=ROOT) for _ in range(3)]
    assert [maker.wait(timeout=120) for maker in makers] == [0] * 3
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        assert database.execute("select count(*) from experiments").fetchone() == (1,)


def test_records_are_kept_in_a_folder_of_any_name(tmp_path):
    output = tmp_path / "a%20b?c#d"
    output.mkdir()
    store = Store.beside(output)
    assert store.client().get_experiment_by_name("Default") is not None
    assert sorted(path.name for path in output.iterdir()) == [".mlflow.db.lock", "mlflow.db"]
    assert list(tmp_path.iterdir()) == [output]
    store.require_records()


def test_a_variable_set_to_nothing_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert Store.of_config(compose_config([f"output={tmp_path}", "tracking.uri=''"])) == Store.beside(tmp_path)


def test_a_run_that_ends_badly_says_so(split_dataset, tmp_path):
    def raising(error):
        with tracking_of(split_dataset, tmp_path) as tracking:
            tracking.started("bad", type(error).__name__)
            tracking.step(1, 1, 6, 0.5, 1e-3)
            raise error

    for error in (TrainingError("it is over"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            raising(error)
    client = import_mlflow().MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("flowers").experiment_id])
    assert sorted(run.info.status for run in runs) == ["FAILED", "KILLED"]


def test_a_killed_process_leaves_records_that_can_be_sent(tmp_path, run):
    folder = tmp_path / "tracking" / "killed"
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    spool = Spool.create(folder, uri)
    spool.append("run", id="1", experiment="flowers", name="killed", time=1000, tags={})
    for step in range(2500):
        spool.append("metrics", time=1000 + step, step=step, values={"loss": 1.0})
    result = run("track", folder)
    assert result.code == 1
    assert "still going on" in result.err
    spool.close()
    with (folder / "records.jsonl").open("ab") as file:
        file.write(b'{"kind": "metrics", "ti')
    result = run("track", folder)
    assert result.code == 0, result.err
    client = import_mlflow().MlflowClient(uri)
    found = the_run(client)
    assert found.info.status == "KILLED"
    assert steps_of(client, found, "loss") == list(range(2500))
    assert run("track", folder).code == 1


def test_training_never_waits_for_a_server_that_hangs(split_dataset, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as hanging:  # Takes connections and says nothing.
        tracking = tracking_of(split_dataset, tmp_path)
        tracking.store = type(tracking.store)(f"http://127.0.0.1:{hanging.getsockname()[1]}")
        started = time.perf_counter()
        for step in range(1, 2001):
            tracking.step(1, step, 2000, 0.5, 1e-3)
        tracking.epoch_done(EpochReport(1, 0.5, 1e-3, 30.0, 900.0, None, None))
        assert time.perf_counter() - started < 5
        hanging.close()
        with contextlib.suppress(KeyboardInterrupt), tracking:
            raise KeyboardInterrupt
    assert tracking.unsent is not None
    assert (tracking.unsent / "records.jsonl").read_bytes().count(b"\n") > 2000


@pytest.fixture
def dripping():
    """Serve on loopback, a byte at a time and without an end, whatever is asked."""

    def answer(connection):
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{")
            while not ended.wait(0.1):
                connection.sendall(b" ")

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listening.accept()[0],), daemon=True).start()

    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        ended.set()
        listening.shutdown(socket.SHUT_RDWR)


def test_a_server_that_drips_is_not_waited_for(dripping, split_dataset, tmp_path, monkeypatch):
    """Before training, at its end, and when what it does not have is sent later."""
    for name in ("store.CHECK_SECONDS", "replay.REQUEST_SECONDS"):
        monkeypatch.setattr(f"flowercli.tracking.{name}", 0.5)
    monkeypatch.setattr("flowercli.tracking.listener.PATIENCE", 0.02)
    store = Store(dripping)
    with pytest.raises(TrackingError, match=r"does not answer: nothing whole within 0\.5 seconds"):
        store.check("flowers")
    tracking = tracking_of(split_dataset, tmp_path)
    tracking.store = store
    started = time.perf_counter()
    with tracking:
        tracking.step(1, 1, 2000, 0.5, 1e-3)
    assert time.perf_counter() - started < 60
    assert "one request has taken more than" in tracking.trouble
    spool = Spool.open(tracking.unsent)
    with pytest.raises(TrackingError, match="does not take the records: nothing whole"):
        Replay(spool, store).send_all()
    spool.close()


def predict(model, pictures, **params):
    import pandas as pd

    column = [base64.b64encode(path.read_bytes()).decode() for path in pictures]
    return model.predict(pd.DataFrame({"image": column}), params=params or None)


def test_served_model_stands_alone_and_refuses_in_short(tmp_path, run):
    import pandas as pd

    from flowercli.serving.mlflow.save import save_mlflow_model

    mlflow = import_mlflow()
    shipped = load_model(None).path / "model.int8.onnx"
    save_mlflow_model(shipped, tmp_path / "model")
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    pictures = sorted(SAMPLES.glob("*.jpg"))
    (answer, *_) = predict(model, pictures, top_k=2)
    expected = json.loads(run("classify", "--json", "--top-k", 2, pictures[0]).out)
    assert {"path": str(pictures[0]), **answer} == expected
    long = "A" * (45 * 2**20)
    texts = {"###": "not_base64", "aGVsbG8=": "not_an_image", long: "too_large", "": "empty"}
    answers = model.predict(pd.DataFrame({"image": list(texts)}))
    assert [answer["error"]["code"] for answer in answers] == list(texts.values())
    many = model.predict(pd.DataFrame({"image": [""] * 1000}))  # Of a table, not of a request.
    assert [answer["error"]["code"] for answer in many] == ["empty"] * 1000
    assert model.predict(pd.DataFrame({"image": pd.Series([], dtype=str)})) == []
    with pytest.raises(mlflow.MlflowException, match="top_k"):
        predict(model, pictures[:1], top_k=-1)

    code = "import sys, mlflow.pyfunc; mlflow.pyfunc.load_model('model'); flowercli = sys.modules['flowercli']"
    code += "; print(flowercli.__file__, 'torch' in sys.modules)"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    where, with_torch = done.stdout.split()
    assert Path(where).resolve().is_relative_to(tmp_path.resolve())
    assert with_torch == "False"
