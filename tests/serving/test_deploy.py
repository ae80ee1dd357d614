"""What ``deploy/`` holds. No image is built: its lines run in a bare environment, the rest is linted and compared."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, SAMPLES

from flowercli.models import load_model

DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "flowers.json"


def instructions() -> dict[str, list[tuple[str, str]]]:
    """Return the instructions of the Dockerfile by stage: pairs of the first word and the rest."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    stages = {"": []}
    stage = ""
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stage = rest.split(" AS ")[1]
            stages[stage] = []
        elif word:
            stages[stage].append((word, rest.strip()))
    return stages


def one(stage: str, word: str) -> str:
    (value,) = [rest for name, rest in instructions()[stage] if name == word]
    return value


def documents(name: str) -> list[dict]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def port() -> int:
    return int(one("service", "EXPOSE"))


def health_check() -> list[str]:
    return json.loads(one("service", "HEALTHCHECK").partition("CMD ")[2])


def start_command() -> list[str]:
    return [*json.loads(one("service", "ENTRYPOINT")), *json.loads(one("service", "CMD"))]


@pytest.mark.parametrize(
    "linter",
    [
        "hadolint deploy/Dockerfile",
        "check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml",
        "check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/ci.yml",
        "kubernetes-validate --strict deploy/kubernetes.yaml",
        "kubernetes-validate --strict deploy/classify-job.yaml",
        "yamllint --strict --config-file deploy/.yamllint deploy",
    ],
)
def test_linters_find_nothing(linter):
    name, *arguments = linter.split()
    path = shutil.which(name, path=str(Path(sys.executable).parent))
    if path is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run([path, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_pods_of_the_training_job_are_valid(tmp_path):
    """The job is of a kind that a cluster is taught; what is in it is of Kubernetes' own."""
    validate = shutil.which("kubernetes-validate", path=str(Path(sys.executable).parent))
    if validate is None:
        pytest.skip("kubernetes-validate is not installed")
    (job,) = documents("pytorchjob.yaml")
    replicas = job["spec"]["pytorchReplicaSpecs"]
    assert replicas["Master"]["replicas"] == 1
    for name, replica in replicas.items():
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **replica["template"]}
        (tmp_path / name).write_text(yaml.safe_dump(pod))
        done = subprocess.run([validate, "--strict", tmp_path / name], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_file_names_the_port_and_the_paths_of_the_dockerfile():
    assert start_command() == ["flowers", "serve", "--host", "0.0.0.0", "--port", str(port())]  # noqa: S104
    assert f"127.0.0.1:{port()}/v2/health/ready" in health_check()[-1]
    (compose,) = documents("compose.yaml")
    service = compose["services"]["flowers"]
    assert service["ports"] == [f"127.0.0.1:{port()}:{port()}"]
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).resolve() == DOCKERFILE
    assert service["build"]["target"] in instructions()
    (scrape,) = documents("prometheus.yml")[0]["scrape_configs"]
    assert scrape["static_configs"] == [{"targets": [f"flowers:{port()}"]}]
    for mount in [mount for other in compose["services"].values() for mount in other.get("volumes", ())]:
        source = mount.split(":")[0]
        assert source in compose["volumes"] or (DEPLOY / source).exists()
    shown = compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(shown).name == DASHBOARD.name


def test_kubernetes_probes_reach_the_container_and_give_it_time_to_drain():
    deployment, service = documents("kubernetes.yaml")
    pod = deployment["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert labels == deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(port())
    (container,) = pod["spec"]["containers"]
    (opened,) = container["ports"]
    assert opened["containerPort"] == port()
    assert service["spec"]["ports"][0]["targetPort"] == opened["name"]
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {probe["port"] for probe in probes.values()} == {opened["name"]}
    assert [probe["path"].rpartition("/")[2] for probe in probes.values()] == ["ready", "live", "ready"]
    waits = int(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert pod["spec"]["terminationGracePeriodSeconds"] > waits + drain_seconds()
    (compose,) = documents("compose.yaml")
    assert int(compose["services"]["flowers"]["stop_grace_period"].removesuffix("s")) > drain_seconds()
    user = one("service", "USER").split(":")
    context = pod["spec"]["securityContext"]
    assert [str(context["runAsUser"]), str(context["runAsGroup"])] == user
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == compose["services"]["flowers"]["tmpfs"]


def drain_seconds() -> float:
    import inspect

    from flowercli.cli.serve import serve

    return inspect.signature(serve).parameters["drain_seconds"].default


def test_dashboard_asks_for_what_is_served():
    pytest.importorskip("prometheus_client", reason="needs the extra 'serve'")
    known = served_metrics()
    queries = [target["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"] for target in panel["targets"]]
    asked = set()
    for query in queries:
        for name, labels in re.findall(r"(flowers_\w+)(?:\{([^}]*)\})?", query):
            assert name in known, query
            asked.add(re.sub("_(bucket|sum|count)$", "", name))
            assert set(re.findall(r"(\w+)[!=]~?\"", labels)) <= known[name]
        grouped = [label for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(", ")]
        (metric,) = {re.search(r"flowers_\w+", query)[0]}
        assert set(grouped) <= known[metric]
        assert query.count("(") == query.count(")")
    legends = {
        label: target["expr"]
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel["targets"]
        for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
    }
    for label, query in legends.items():
        assert label in known[re.search(r"flowers_\w+", query)[0]]
    # Nothing that is served is missing.
    assert asked == {re.sub("_(bucket|sum|count)$", "", name) for name in known}
    sources = {panel["datasource"]["uid"] for panel in json.loads(DASHBOARD.read_text())["panels"]}
    (provisioned,) = documents("grafana/provisioning/datasources/prometheus.yaml")[0]["datasources"]
    assert sources == {provisioned["uid"]}


def served_metrics() -> dict[str, set[str]]:
    """Return the label names of each sample that the service exports, after one of everything."""
    from prometheus_client.parser import text_string_to_metric_families

    from flowercli.inference.session import Runtime
    from flowercli.serving.http.metrics import Metrics

    bundle = load_model(None)
    metrics = Metrics(bundle.class_names)
    metrics.describe(bundle, Runtime("cpu", "CPUExecutionProvider", "model.int8.onnx", ()))
    metrics.request("/v1/classify", "POST", 200, 0.01)
    metrics.picture(0, None)
    metrics.shed(503)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def context(folder: Path) -> Path:
    """Copy what Docker would send to the builder."""
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith(("#", "!", "*"))]
    ignored = ["__pycache__", *rules]
    assert "**/__pycache__" in lines

    def leave_out(where: str, names: list[str]) -> list[str]:
        paths = {name: (Path(where) / name).relative_to(ROOT).as_posix() for name in names}
        return [name for name in names for rule in ignored if fnmatch(name, rule) or fnmatch(paths[name], rule)]

    for name in [line[1:] for line in lines if line.startswith("!")]:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=leave_out)
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def installed():
    """Run the lines of the Dockerfile that build and install, with other folders, and return the environment."""
    with tempfile.TemporaryDirectory(prefix="flowers-deploy-") as temporary:
        root = Path(temporary)
        # The user of the image has to reach it.
        root.chmod(0o755)
        python, user = python_and_user()
        subprocess.run([python, "-m", "venv", str(root / "bare")], check=True)
        source = context(root / "source")
        lines = [rest for stage in ("wheel", "packages-cpu") for word, rest in instructions()[stage] if word == "RUN"]
        for line in [line for line in lines if "apt-get" not in line]:
            here = line.replace("/opt/flowers", str(root / "opt")).replace("/wheels", str(root / "wheels"))
            shell(here, source, {"PATH": f"{root / 'bare' / 'bin'}:{os.environ['PATH']}"})
        yield root / "opt", user


def python_and_user() -> tuple[str, int | None]:
    """Return a Python, and the user of the image if this process may become it and that user can run this Python."""
    user = int(one("service", "USER").split(":")[0])
    fit = "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
    for python in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        if os.geteuid() == 0 and Path(python).exists():
            with contextlib.suppress(PermissionError):
                if subprocess.run([python, "-c", fit], cwd="/", user=user, check=False).returncode == 0:
                    return python, user
    return sys.executable, None


def shell(line: str, folder: Path, variables: dict[str, str]) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | variables
    done = subprocess.run(
        ["sh", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.slow
def test_the_lines_of_the_image_install_start_and_stop_the_service(installed, tmp_path):
    installed, user = installed
    packages = {path.name for path in installed.glob("lib/*/site-packages/*")}
    assert not packages & {"torch", "mlflow", "onnxruntime_gpu"}
    assert not list(installed.glob("lib/*/site-packages/onnxruntime/capi/*cuda*"))
    before = {path: path.stat().st_mtime_ns for path in installed.rglob("*")}
    with tempfile.TemporaryDirectory(prefix="flowers-deploy-tmp-") as temporary:
        Path(temporary).chmod(0o777)
        environment = image_environment(installed, Path(temporary))
        free = free_port()
        command = [str(installed / "bin" / start_command()[0]), *start_command()[1:]]
        command[command.index(str(port()))] = str(free)
        check = [str(free).join(word.split(str(port()))) for word in health_check()]
        check[0] = str(installed / "bin" / check[0])
        options = {"env": environment, "cwd": temporary, "user": user}
        assert subprocess.run(check, capture_output=True, check=False, **options).returncode != 0
        with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stderr=log, **options) as process:
            try:
                wait_until(lambda: subprocess.run(check, capture_output=True, check=False, **options).returncode == 0)
                answer = ask(free, (SAMPLES / "rose.jpg").read_bytes())
            finally:
                process.send_signal(signal.SIGTERM)
        assert process.returncode == 0, (tmp_path / "log").read_text()
        assert answer["predicted_class"] == "rose"
        assert list(Path(temporary).iterdir()) == []
    # As with a read-only root: nothing of what is installed was written.
    assert {path: path.stat().st_mtime_ns for path in installed.rglob("*")} == before


def image_environment(installed: Path, temporary: Path) -> dict[str, str]:
    """Return the variables of the image, its paths replaced, and no other."""
    pairs = [shlex.split(rest) for word, rest in instructions()["service"] if word == "ENV"]
    variables = dict(pair.split("=", 1) for pair in pairs[0])
    variables["PATH"] = f"{installed / 'bin'}:{os.environ['PATH']}"
    replaced = {key: value.replace("/tmp", str(temporary)) for key, value in variables.items() if key != "PATH"}  # noqa: S108
    return {"PATH": variables["PATH"], "TMPDIR": str(temporary), **replaced}


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as opened:
        return opened.getsockname()[1]


def wait_until(true) -> None:
    deadline = time.monotonic() + 300
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def ask(opened: int, picture: bytes) -> dict:
    import http.client

    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", opened, timeout=30)) as connection:
        connection.request("POST", "/v1/classify", picture, {"Content-Type": "image/jpeg"})
        response = connection.getresponse()
        body = json.loads(response.read())
        assert response.status == 200, body
        return body["results"][0] if "results" in body else body
