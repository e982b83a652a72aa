"""deploy/kubernetes says what the code does: stages, settings, commands, probes, the image's user."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.cli import parser
from pipeline.core.limits import Limits
from pipeline.limits import load_limits
from pipeline.settings import STAGE_NAMES, Settings
from tests.compose.compose_file import ROOT

FILE = ROOT / "deploy/kubernetes/aftermath.yaml"


def objects(kind: str) -> list[dict[str, Any]]:
    found = [item for item in yaml.safe_load_all(FILE.read_text()) if item["kind"] == kind]
    assert found
    return found


def containers() -> list[dict[str, Any]]:
    pods = [item["spec"]["template"]["spec"] for item in (*objects("Deployment"), *objects("Job"))]
    return [container for pod in pods for container in pod["containers"]]


def test_every_stage_has_one_deployment_with_its_own_command() -> None:
    commands = [container["args"] for container in containers() if container["args"][0] == "run"]
    assert sorted(commands) == [["run", "--stage", stage] for stage in sorted(STAGE_NAMES)]
    for container in containers():
        parser().parse_args(container["args"])


def test_what_is_configured_are_settings_and_the_probes_ask_the_port_that_is_served() -> None:
    data = next(item["data"] for item in objects("ConfigMap") if item["metadata"]["name"] == "aftermath")
    named = {*data, *objects("Secret")[0]["stringData"]}
    assert named <= {f"AFTERMATH_{name.upper()}" for name in Settings.model_fields}
    for item in objects("Deployment"):
        pod = item["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert str(container["ports"][0]["containerPort"]) == data["AFTERMATH_HEALTH_PORT"]
        assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "health"}
        assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "health"}
        assert pod["terminationGracePeriodSeconds"] > Settings.model_fields["stop_seconds"].default
        assert item["spec"]["selector"]["matchLabels"] == item["spec"]["template"]["metadata"]["labels"]


def test_pods_run_as_the_user_of_the_image_and_write_nowhere_else() -> None:
    (user,) = set(re.findall(r"(?m)^USER (\d+)", (ROOT / "Dockerfile").read_text()))
    for item in objects("Deployment"):
        pod = item["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsUser"] == int(user)
        assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_limits_load(tmp_path: Path) -> None:
    text = next(item["data"] for item in objects("ConfigMap") if item["metadata"]["name"] == "aftermath-limits")
    (tmp_path / "limits.yml").write_text(text["limits.yml"])
    assert isinstance(load_limits(tmp_path / "limits.yml"), Limits)


@pytest.mark.skipif(
    shutil.which("kubernetes-validate") is None and "CI" not in os.environ,
    reason="no kubernetes-validate (PyPI; it carries the schemas of Kubernetes)",
)
def test_every_object_is_one_that_kubernetes_takes(tmp_path: Path) -> None:
    """Against the schemas, names it does not know included; and a misspelt one is seen."""

    def validate(path: Path) -> subprocess.CompletedProcess[str]:
        words = ["kubernetes-validate", "--strict", str(path)]
        return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)

    done = validate(FILE)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(FILE.read_text().replace("readinessProbe:", "readynessProbe:"))
    assert validate(wrong).returncode != 0


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl")
def test_kubectl_reads_the_file(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [aftermath.yaml]\n")
    shutil.copy(FILE, tmp_path)
    done = subprocess.run(
        ["kubectl", "kustomize", str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
