"""`streamdex config`: what it prints can be read back, names every setting and shows no secret."""

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.cli import MARK, Cli
from streamdex.cli.config import _toml
from streamdex.config import Settings, load_settings

SECRETS = {
    "STREAMDEX_JINA__API_KEY": f"jina_{MARK}_1a",
    "STREAMDEX_QDRANT__API_KEY": f"qdrant_{MARK}_2b",
    "STREAMDEX_KAFKA__SASL_PASSWORD": f"kafka_{MARK}_3c",
}


def test_the_defaults_read_back_are_the_defaults(cli: Cli, tmp_path: Path) -> None:
    said = cli("config")
    assert said.exit_code == 0
    assert read_back(said.out, tmp_path) == Settings()


def test_what_was_changed_reads_back_as_well(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "given.toml"
    file.write_text(
        '[kafka]\ntopics = ["a", "b"]\nssl_cafile = "/etc/ssl/a file.pem"\n'
        '[qdrant]\npayload_indexes = { "metadata.year" = "integer", "metadata.größe" = "float" }\n'
        '[mapping]\ntext = "{title}\\n\\n\\"{body}\\" \U0001f600"\n'
        "[jina]\nlate_chunking = true\ndimensions = 256\nread_timeout_s = 2.5\n"
    )
    said = cli("config", "--config", str(file), "--set", "jina.limits=free", env={"KAFKA_BOOTSTRAP_SERVERS": "a:1,b:2"})
    found = read_back(said.out, tmp_path)
    assert found == load_settings(file, {"jina.limits": "free", "kafka.bootstrap_servers": "a:1,b:2"})
    assert found.kafka.topics == ("a", "b")
    assert found.jina.dimensions == 256


def test_every_setting_is_there_with_its_variable_and_what_it_is_for(cli: Cli) -> None:
    lines = cli("config").out.splitlines()
    for section in Settings.model_fields:
        assert f"[{section}]" in lines
        for name, about in type(getattr(Settings(), section)).model_fields.items():
            assert f"# {about.description} (STREAMDEX_{section.upper()}__{name.upper()})" in lines


def test_no_secret_is_shown(cli: Cli) -> None:
    said = cli("config", env=SECRETS)
    assert said.exit_code == 0
    assert said.out.count("is set, and not shown") == len(SECRETS)
    assert tomllib.loads(said.out)["jina"].get("api_key") is None


def test_the_schema_is_json_and_knows_every_section(cli: Cli) -> None:
    said = cli("config", "--schema", env=SECRETS)
    assert said.exit_code == 0
    schema = json.loads(said.out)
    assert set(schema["properties"]) == set(Settings.model_fields)
    assert schema["$defs"]["JinaSettings"]["properties"]["model"]["default"] == "jina-embeddings-v3"


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_written_as_toml_reads_it(text: str) -> None:
    assert tomllib.loads(f"value = {_toml(text)}") == {"value": text}
    assert tomllib.loads(f"value = {_toml({text: text})}") == {"value": {text: text}}


def read_back(printed: str, folder: Path) -> Settings:
    file = folder / "printed.toml"
    file.write_text(printed)
    return load_settings(file)


@pytest.fixture(autouse=True)
def no_settings_around(cli: Cli) -> None:
    """`cli` takes them out of the environment; `load_settings` here must not see them either."""
