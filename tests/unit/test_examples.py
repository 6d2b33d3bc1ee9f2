"""The examples work with this version: they compile, their settings load, and they name only settings that exist."""

import json
import re
from pathlib import Path

import pytest
import yaml

from streamdex.config import PREFIX, Settings, load_settings
from streamdex.config.loading import USUAL_VARIABLES
from streamdex.intake import Decoder
from streamdex.model import Event, Record

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_a_python_example_compiles_and_says_how_to_run_it(path: Path) -> None:
    compile(path.read_text(), path.name, "exec")
    assert f"python examples/{path.name}" in path.read_text()


def test_the_mapping_loads_and_reads_the_event_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STREAMDEX_CONFIG", *USUAL_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    path = EXAMPLES / "mapping.toml"
    settings = load_settings(path)
    (shown,) = re.findall(r'^#\s+(\{"article".*\})$', path.read_text(), re.MULTILINE)
    record = Record("articles", 0, 0, 0, b"A-17", json.dumps(json.loads(shown)).encode())
    event = Decoder(settings).decode(record, 0)
    assert isinstance(event, Event)
    assert (event.text, event.version) == ("Keys\n\nRotate them.", 12)
    assert event.metadata == {"lang": "en", "title": "Keys"}


def test_the_compose_file_names_only_settings_that_exist() -> None:
    services = yaml.safe_load((EXAMPLES / "compose.replicas.yml").read_text())["services"]
    names = set(services["worker"]["environment"])
    assert len(names) >= 4
    for name in names - USUAL_VARIABLES.keys():
        section, setting = name.removeprefix(PREFIX).lower().split("__")
        assert setting in Settings.model_fields[section].annotation.model_fields, name  # type: ignore[union-attr]  # a section's model


def test_the_index_names_every_example() -> None:
    named = set(re.findall(r"\]\(([\w.]+)\)", (EXAMPLES / "README.md").read_text()))
    assert named == {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".toml", ".yml")}
