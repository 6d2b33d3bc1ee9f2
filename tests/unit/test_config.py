"""Settings: precedence, the usual variables, secrets, and refusals that say what, where and the fix."""

from pathlib import Path

import pytest

from streamdex.config import CONFIG_VARIABLE, PREFIX, USUAL_VARIABLES, Settings, load_settings
from streamdex.errors import ConfigurationError

SECRET = "jina_canary_9f3b"


@pytest.fixture(autouse=True)
def no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for variable in list(os.environ):
        if variable.startswith(PREFIX) or variable in USUAL_VARIABLES:
            monkeypatch.delenv(variable)


def test_flags_win_over_own_variables_over_usual_ones_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "streamdex.toml"
    file.write_text('[kafka]\nbootstrap_servers = "file:1"\ngroup_id = "file"\n[qdrant]\nurl = "http://file:1"\n')
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))
    assert load_settings().kafka.bootstrap_servers == "file:1"
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "usual:1")
    assert load_settings().kafka.bootstrap_servers == "usual:1"
    monkeypatch.setenv("STREAMDEX_KAFKA__BOOTSTRAP_SERVERS", "own:1")
    assert load_settings().kafka.bootstrap_servers == "own:1"
    loaded = load_settings(flags={"kafka.bootstrap_servers": "flag:1"})
    assert loaded.kafka.bootstrap_servers == "flag:1"
    assert (loaded.kafka.group_id, loaded.qdrant.url) == ("file", "http://file:1")


def test_topics_may_stand_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMDEX_KAFKA__TOPICS", "a, b")
    assert load_settings().kafka.topics == ("a", "b")
    assert load_settings(flags={"kafka.topics": "c"}).kafka.topics == ("c",)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("STREAMDEX_JINA__API_KEY", SECRET),
        ("JINA_API_KEY", SECRET),
        ("STREAMDEX_JINA__API_KEY_FILE", "file"),
        ("JINA_API_KEY_FILE", "file"),
    ],
)
def test_the_key_may_come_by_any_of_its_names(
    variable: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text(SECRET + "\n")
    monkeypatch.setenv(variable, str(file) if value == "file" else value)
    jina = load_settings().jina
    assert jina.read_api_key() == SECRET
    assert SECRET not in repr(jina)
    assert SECRET not in jina.model_dump_json()


def test_a_rotated_key_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("old")
    jina = load_settings(flags={"jina.api_key_file": str(file)}).jina
    file.write_text("new")
    assert jina.read_api_key() == "new"
    file.unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        jina.read_api_key()


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("jina.modle", "x", "Did you mean jina.model?"),
        ("jina.zzzzzz", "x", "Known in jina:"),
        ("kafak.topics", "x", "The sections are kafka,"),
        ("chunk.max_tokens", "many", "STREAMDEX_CHUNK__MAX_TOKENS"),
        ("chunk.overlap_tokens", "500", "at most half of max_tokens"),
        ("worker.order", "time", "'offset' or 'version'"),
        ("qdrant.text_key", "version", "payload key of our own"),
        ("qdrant.text_key", "metadata", "must differ"),
        ("kafka.topics", ",", "name at least one topic"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_fix(flag: str, value: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(flags={flag: value})
    assert said in str(caught.value)


def test_a_misspelt_section_in_a_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMDEX_KAFAK__TOPICS", "a")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert caught.value.where == "STREAMDEX_KAFAK__TOPICS"


@pytest.mark.parametrize(
    ("content", "said"),
    [("[kafka", "not a TOML file"), ('topics = "a"', "outside a section"), (None, "no such settings file")],
)
def test_a_wrong_file_is_refused(content: str | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "streamdex.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match=said):
        load_settings(file)


def test_a_refusal_never_quotes_the_value() -> None:
    for flag in ("jina.dimensions", "jina.concurrency", "kafka.epoch", "jina.limits"):
        with pytest.raises(ConfigurationError) as caught:
            load_settings(flags={flag: SECRET})
        assert SECRET not in str(caught.value)


def test_both_a_secret_and_its_file_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="not both"):
        load_settings(flags={"jina.api_key": SECRET, "jina.api_key_file": "file"})


@pytest.mark.parametrize("setting", ["jina.base_url", "qdrant.url"])
@pytest.mark.parametrize("url", [f"https://me:{SECRET}@host", f"https://{SECRET}@host/v1", f"http://[{SECRET}"])
def test_an_address_holds_no_secret_since_it_is_shown(setting: str, url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(flags={setting: url})
    assert caught.value.where == setting
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("section", ["jina", "qdrant"])
@pytest.mark.parametrize("key", [f"{SECRET} x", f"{SECRET}\nx", f"{SECRET}\0", f"{SECRET}ä", SECRET * 300])
def test_a_key_that_no_header_can_carry_is_refused_before_it_is_sent(section: str, key: str) -> None:
    part = getattr(Settings.model_validate({section: {"api_key": key}}), section)
    with pytest.raises(ConfigurationError) as caught:
        part.read_api_key()
    assert caught.value.where == f"{section}.api_key"
    assert SECRET not in str(caught.value)
    assert getattr(Settings.model_validate({section: {"api_key": ""}}), section).read_api_key() is None


def test_every_secret_may_come_from_a_file() -> None:
    secrets = 0
    for section in Settings.model_fields:
        names = type(getattr(Settings(), section)).model_fields
        for name in names:
            if "SecretStr" in str(names[name].annotation):
                assert f"{name}_file" in names
                secrets += 1
    assert secrets == 3


def test_presets_and_what_overrides_them() -> None:
    assert load_settings().jina.effective_limits == (500, 2_000_000, 50)
    free = load_settings(flags={"jina.limits": "free", "jina.concurrency": "1"}).jina
    assert free.effective_limits == (100, 100_000, 1)


def test_every_setting_says_what_it_is_for() -> None:
    for section in Settings.model_fields.values():
        assert section.annotation is not None
        for name, setting in section.annotation.model_fields.items():
            assert setting.description, name
