"""What deploy/ says is held against what headend knows, as far as that can be done without a cluster."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from headend.cli import cli
from headend.jobs.figures import Figures

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


def test_other_commands_are_those_of_what_is_installed() -> None:
    for words in commands():
        if words[0] == "dask":
            said = subprocess.run(
                [sys.executable, "-m", "dask", words[1], "--help"], capture_output=True, text=True, check=True
            ).stdout
            assert all(word in said for word in words if word.startswith("--")), words


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


def test_the_dashboard_asks_for_figures_that_are_exposed() -> None:
    exposed = {name for family in Figures().registry.collect() for name in (family.name, f"{family.name}_total")}
    asked = set(re.findall(r"headend_[a-z_]+", (DEPLOY / "grafana" / "jobs.json").read_text()))
    assert asked and asked <= exposed
    json.loads((DEPLOY / "grafana" / "jobs.json").read_text())
