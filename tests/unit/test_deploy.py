"""What docker-compose.yml and deploy/Dockerfile promise. Whether they work is tried with Docker, which CI may lack."""

import re
from typing import Any

import pytest
import yaml

from harness.fixtures_qdrant import IMAGE as QDRANT_IMAGE
from harness.kafka_backends import IMAGE as KAFKA_IMAGE
from streamdex.config import AdminSettings
from tools.locks import ROOT

COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE_TEXT)["services"]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text().replace("\\\n", " ")
INSTRUCTIONS = [line.split(maxsplit=1) for line in DOCKERFILE.splitlines() if line and not line.startswith(("#", " "))]
OURS = ["embeddings", "check", "worker"]


def last(instruction: str) -> str:
    """The argument of the last such instruction: the one in force in the image."""
    return [argument for name, argument in INSTRUCTIONS if name == instruction][-1]


@pytest.mark.parametrize("service", sorted(set(SERVICES) - set(OURS)))
def test_images_of_others_are_pinned(service: str) -> None:
    assert re.search(r":v?\d+\.\d+\.\d+$", SERVICES[service]["image"])


def test_compose_runs_what_the_tests_run() -> None:
    assert SERVICES["kafka"]["image"] == SERVICES["topics"]["image"] == KAFKA_IMAGE
    assert SERVICES["qdrant"]["image"] == QDRANT_IMAGE


def test_ports_are_published_on_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_data_stands_in_volumes() -> None:
    declared = set(yaml.safe_load(COMPOSE_TEXT)["volumes"])
    mounted = {SERVICES[name]["volumes"][0].split(":")[0] for name in ("kafka", "qdrant")}
    assert mounted == declared
    log_dirs = SERVICES["kafka"]["environment"]["KAFKA_LOG_DIRS"]
    assert SERVICES["kafka"]["volumes"] == [f"kafka-data:{log_dirs}"]


@pytest.mark.parametrize("service", OURS)
def test_our_containers_may_do_nothing_they_need_not(service: str) -> None:
    container = SERVICES[service]
    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in container  # the image's own, which is not root


def test_worker_starts_after_a_check_that_waits_for_all() -> None:
    assert SERVICES["worker"]["depends_on"] == {"check": {"condition": "service_completed_successfully"}}
    check = SERVICES["check"]
    assert check["command"][:3] == ["check", "--wait", "120"]
    assert check["depends_on"]["topics"]["condition"] == "service_completed_successfully"
    assert check["environment"] == SERVICES["worker"]["environment"]
    assert "restart" not in check


def test_worker_is_granted_the_time_of_its_stop() -> None:
    assert SERVICES["worker"]["stop_grace_period"] == "30s"


def test_a_missing_key_is_refused_with_the_fix() -> None:
    key = SERVICES["worker"]["environment"]["JINA_API_KEY"]
    assert re.fullmatch(r"\$\{JINA_API_KEY:\?.*export your key.*\}", key)
    local = (ROOT / "deploy" / "local.env").read_text()
    assert f"COMPOSE_PROFILES={SERVICES['embeddings']['profiles'][0]}" in local
    assert re.search(rf"^JINA_BASE_URL=http://embeddings:{SERVICES['embeddings']['command'][-1]}/v1$", local, re.M)


def test_worker_is_healthy_when_records_flow() -> None:
    assert SERVICES["worker"]["healthcheck"]["test"] == ["CMD", "python", "-m", "streamdex.admin.healthcheck", "readyz"]
    for service in set(OURS) - {"worker"}:
        assert SERVICES[service]["healthcheck"] == {"disable": True}


def test_image_is_healthy_while_no_restart_would_fix_anything() -> None:
    assert last("EXPOSE") == str(AdminSettings().port)
    assert last("HEALTHCHECK").endswith('CMD ["python", "-m", "streamdex.admin.healthcheck"]')


def test_image_is_pinned_and_made_in_two_stages() -> None:
    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.13\.\d+-slim-[a-z]+", last("ARG"))
    assert [argument for name, argument in INSTRUCTIONS if name == "FROM"] == [
        "${PYTHON_IMAGE} AS build",
        "${PYTHON_IMAGE}",
    ]
    final = DOCKERFILE.rpartition("FROM ")[2]
    assert "RUN" not in final  # nothing is built or installed there


def test_image_installs_by_hash_from_wheels_alone() -> None:
    installs = re.findall(r"pip[^&\n]* install [^&\n]*", DOCKERFILE)
    locked = [each for each in installs if "--require-hashes" in each]
    assert re.findall(r"-r (\S+)", " ".join(locked)) == ["requirements/run.lock", "requirements/build.lock"]
    assert all("--only-binary :all:" in each for each in locked)
    assert all("--no-index" in each and "--no-deps" in each for each in installs if each not in locked)
    assert "--no-build-isolation" in DOCKERFILE


def test_image_runs_as_nobody_and_stops_on_sigterm() -> None:
    assert last("USER") == "10001:10001"
    assert last("STOPSIGNAL") == "SIGTERM"
    assert last("ENTRYPOINT") == '["streamdex"]'
    assert last("CMD") == '["run"]'
    assert "org.opencontainers.image.licenses" in last("LABEL")


def test_build_context_holds_no_more_than_the_image_needs() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    copies = [argument.split() for name, argument in INSTRUCTIONS if name == "COPY"]
    copied = {source for words in copies if not words[0].startswith("--from=") for source in words[:-1]}
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied
