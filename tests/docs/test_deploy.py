"""Checks deploy/ against headend's commands, options and metrics, without a cluster."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from headend.app.cli import cli
from headend.app.jobs.metrics import DispatcherMetrics

DEPLOY = Path(__file__).parents[2] / "deploy"


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def manifests() -> list[dict[str, Any]]:
    return [
        document for document in yaml.safe_load_all((DEPLOY / "kubernetes" / "headend.yaml").read_text()) if document
    ]


def commands() -> list[list[str]]:
    found = [shlex.split(service["command"]) for service in compose()["services"].values()]
    for document in manifests():
        if document["kind"] == "Deployment":
            found += [container["args"] for container in document["spec"]["template"]["spec"]["containers"]]
    for unit in sorted((DEPLOY / "systemd").glob("*.service")):
        line = re.search(r"^ExecStart=/usr/local/bin/(.*)$", unit.read_text(), re.MULTILINE)
        assert line, unit
        found.append(shlex.split(line[1]))
    return found


@pytest.mark.parametrize("words", [words for words in commands() if words[0] == "headend"], ids=" ".join)
def test_every_command_and_option_exists(words: list[str]) -> None:
    command = cli.get_command(click.Context(cli), words[1])
    assert command is not None, words
    known = {option for param in command.params for option in param.opts}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known


def test_options_of_other_commands_exist_in_the_installed_version() -> None:
    found = [words for words in commands() if words[0] == "dask"]
    for name in {words[1] for words in found}:
        output = subprocess.run(
            [sys.executable, "-m", "dask", name, "--help"], capture_output=True, text=True, check=True
        ).stdout
        for words in found:
            if words[1] == name:
                assert all(word in output for word in words if word.startswith("--")), words


def test_the_compose_file_keeps_to_the_specification() -> None:
    compose_spec = pytest.importorskip("compose_spec")
    document = {name: part for name, part in compose().items() if not name.startswith("x-")}
    compose_spec.ComposeSpecification.model_validate(document, extra="forbid")
    assert set(compose()["services"]) >= {"dispatcher", "scheduler", "worker", "s3", "origin", "edge"}


def test_ports_that_are_published_are_those_that_services_listen_at() -> None:
    for name, service in compose()["services"].items():
        words = shlex.split(service["command"])
        for published in service.get("ports", ()):
            assert any(word.endswith(published.rpartition(":")[2]) for word in words), name


@pytest.mark.parametrize(
    "document", manifests(), ids=lambda document: f"{document['kind']} {document['metadata']['name']}"
)
def test_manifests_keep_to_the_schemas_of_kubernetes(document: dict[str, Any]) -> None:
    pytest.importorskip("kubernetes_validate").validate(document, "1.31", strict=True)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
@pytest.mark.parametrize("unit", sorted((DEPLOY / "systemd").glob("*.service")), ids=lambda unit: unit.stem)
def test_units_are_valid_for_systemd(unit: Path, tmp_path: Path) -> None:
    for name in ("headend", "dask"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/usr/local/bin", str(tmp_path)))
    output = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)
    assert (output.returncode, output.stderr) == (0, "")


def test_manifests_refer_to_what_they_define() -> None:
    found = manifests()
    names = {(document["kind"], document["metadata"]["name"]) for document in found}
    assert len(names) == len(found)
    for document in found:
        assert document["apiVersion"] and document["metadata"]["name"]
        if document["kind"] == "Deployment":
            pod = document["spec"]["template"]
            assert document["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
            for container in pod["spec"]["containers"]:
                assert container["resources"]["limits"]["memory"], "a pod without limit takes the node's memory"
                for source in container.get("envFrom", ()):
                    if "configMapRef" in source:
                        assert ("ConfigMap", source["configMapRef"]["name"]) in names
        if document["kind"] == "HorizontalPodAutoscaler":
            target = document["spec"]["scaleTargetRef"]
            assert (target["kind"], target["name"]) in names


def test_services_wait_for_services_that_exist() -> None:
    services = compose()["services"]
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)


def test_the_dashboard_queries_only_metrics_that_are_exposed() -> None:
    exposed = {
        name for family in DispatcherMetrics().registry.collect() for name in (family.name, f"{family.name}_total")
    }
    asked = set(re.findall(r"headend_[a-z_]+", (DEPLOY / "grafana" / "jobs.json").read_text()))
    assert asked and asked <= exposed
    json.loads((DEPLOY / "grafana" / "jobs.json").read_text())
