"""docker-compose.yml and the Dockerfile, checked without an engine."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from infra.webhooks.face import PATH
from tests.house import tree
from tests.house.commands import cli, command_fault

Services = dict[str, dict[str, Any]]
VARIABLE = re.compile(r"\$\{([A-Z_]+)(:[-?])?([^}]*)\}")
SECRET_NAME = re.compile(r"PASSWORD|SECRET|API_KEY|TOKEN")
OURS = "tidemark:local"


def compose() -> dict[str, Any]:
    """The file as parsed, merge keys resolved."""
    found = yaml.safe_load(tree.texts()["docker-compose.yml"])
    assert isinstance(found, dict)
    return found


def services() -> Services:
    """Its services by name."""
    return dict(compose()["services"])


def resolved(environment: dict[str, object]) -> dict[str, str]:
    """The environment of a service as compose hands it over where `.env` holds only what must be in it."""
    return {name: VARIABLE.sub(lambda found: found[3] if found[2] == ":-" else "given", str(value)) for name, value in environment.items()}


def test_every_variable_has_a_default_or_says_what_to_do() -> None:
    """Each variable of the compose file has a default or a message for the user, and is in env.example."""
    example = tree.texts()["infra/docker/env.example"]
    for name, kind, _ in VARIABLE.findall(tree.texts()["docker-compose.yml"]):
        assert kind in {":-", ":?"}, name
        assert re.search(rf"^(# )?{name}=", example, re.MULTILINE), f"{name} is not in env.example"


def test_no_secret_is_written_down() -> None:
    """Every password, key, secret or token comes from the environment, and the sandbox's key is recognisably nobody's."""
    for name, service in services().items():
        for variable, value in service.get("environment", {}).items():
            if SECRET_NAME.search(variable):
                assert VARIABLE.fullmatch(str(value)), f"{name}: {variable} is written down"
                assert resolved({variable: value})[variable] in {"", "given", "sk_test_compose"}, f"{name}: {variable}"
    assert not re.search(r"^[A-Z_]*(PASSWORD|KEY|SECRET)=.+", tree.texts()["infra/docker/env.example"], re.MULTILINE)


def test_services_fit_together() -> None:
    """Each dependency is a service, waits for something that service can say, and each named volume is declared."""
    every = services()
    for name, service in every.items():
        for target, wait in service.get("depends_on", {}).items():
            assert target in every, f"{name} depends on {target}"
            if wait["condition"] == "service_completed_successfully":
                assert every[target]["restart"] == "on-failure", f"{target} never ends"
            if wait["condition"] == "service_healthy":
                assert "test" in every[target]["healthcheck"], f"{target} has no health check"
        for volume in service.get("volumes", []):
            source = VARIABLE.sub(r"\3", volume).split(":")[0]
            assert source in compose()["volumes"] or (tree.ROOT / source).exists(), f"{name}: {source} is not declared"


def test_what_runs_for_long_restarts_and_is_watched() -> None:
    """Every service is either a job that ends or restarts unless stopped and has a health check of its own or of the image."""
    for name, service in services().items():
        if service["restart"] == "on-failure":
            continue
        assert service["restart"] == "unless-stopped", name
        assert "test" in service.get("healthcheck", {}) or service["image"] == OURS, f"{name} has no health check"
    assert "HEALTHCHECK" in tree.texts()["infra/docker/Dockerfile"]
    assert {"kafka", "clickhouse", "sandbox", "meter", "report", "archive", "webhooks"} <= set(services())


def test_nothing_listens_on_the_network() -> None:
    """Every published port is bound to this machine's loopback."""
    ports = [port for service in services().values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_images_are_pinned() -> None:
    """Every image has a version, and ours installs by hash and does not run as root."""
    dockerfile = tree.texts()["infra/docker/Dockerfile"]
    foreign = [service["image"] for service in services().values() if service["image"] != OURS]
    foreign += re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert [image for image in foreign if not re.search(r":\d+\.\d+", image)] == []
    assert "--require-hashes" in dockerfile
    assert re.search(r"^USER (?!root|0\b)", dockerfile, re.MULTILINE)


def test_one_broker_is_configured_as_one() -> None:
    """Kafka's own topics have one copy, no topic appears by accident, and an unclean leader is never elected."""
    kafka = services()["kafka"]["environment"]
    assert {kafka[name] for name in kafka if name.endswith(("REPLICATION_FACTOR", "MIN_ISR"))} == {1}
    assert kafka["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert kafka["KAFKA_UNCLEAN_LEADER_ELECTION_ENABLE"] == "false"
    assert f"{kafka['KAFKA_NODE_ID']}@kafka:9093" == kafka["KAFKA_CONTROLLER_QUORUM_VOTERS"]


def test_commands_of_services_are_verbs() -> None:
    """Every command that a service of ours runs is a verb of the command line, with options that it has."""
    root = cli()
    if root is None:
        pytest.skip("infra/cli/app.py is not written yet")
    named = {name: service["command"] for name, service in services().items() if service["image"] == OURS}
    found = {name: command_fault(list(command), root) for name, command in named.items()}
    assert {name: fault for name, fault in found.items() if fault} == {}


def test_the_settings_of_the_workers_are_valid() -> None:
    """What compose hands to a worker, with the example configuration, is a configuration without a fault."""
    if "infra/settings.py" not in tree.files():
        pytest.skip("infra/settings.py is not written yet")
    load = importlib.import_module("infra.settings").load_settings
    for name in ("meter", "report", "archive"):
        environment = resolved(services()[name]["environment"])
        settings = load(tree.ROOT / "infra/docker/tidemark.toml", environment)
        assert settings.kafka.bootstrap == "kafka:9092"
        assert settings.stripe.api_base == "http://sandbox:12111"
        assert settings.worker.name


def test_the_sandbox_tells_the_receiver() -> None:
    """The sandbox of the compose file writes its webhooks to where the receiver listens, and both get one secret by environment."""
    sandbox, receiver = services()["sandbox"], services()["webhooks"]
    told = urlsplit(sandbox["command"][sandbox["command"].index("--webhooks-to") + 1])
    port = receiver["command"][receiver["command"].index("--listen") + 1].rpartition(":")[2]
    assert (told.hostname, told.port, told.path) == ("webhooks", int(port), PATH)
    secrets = {service["environment"]["STRIPE_WEBHOOK_SECRET"] for service in (sandbox, receiver)}
    assert len(secrets) == 1
    assert VARIABLE.fullmatch(secrets.pop())


@pytest.mark.docker
def test_docker_compose_accepts_the_file() -> None:
    """Docker Compose itself, where it is installed, finds nothing wrong with the file."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode != 0:
        pytest.skip("docker compose is not installed; the tests above check the structure")
    given = {"CLICKHOUSE_PASSWORD": "given", "STRIPE_WEBHOOK_SECRET": "given"}
    answer = subprocess.run([docker, "compose", "config", "--quiet"], cwd=tree.ROOT, env=given, capture_output=True, check=False)
    assert answer.returncode == 0, answer.stderr.decode()
