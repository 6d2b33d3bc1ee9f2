"""Writes the tables of README.md and docs/ that come from the code, and can say whether they are stale: `make docs`.

The settings are read from `streamdex.config`, the models from `streamdex.embed`, metrics and log events from
`streamdex.telemetry`. Each table is between two markers, `<!-- name: begin -->` and `<!-- name: end -->`. What is
between them is replaced; all else is left as it is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from streamdex import telemetry
from streamdex.config import MIB, Settings
from streamdex.embed import MODELS
from streamdex.embed.models import EmbeddingModel
from streamdex.telemetry import Metrics, Signal

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
TELEMETRY = ROOT / "docs" / "telemetry.md"


def render(path: Path, text: str) -> str:
    """A document's text with its tables as the code has them now. Raises ValueError where a marker is missing."""
    for name, table in TABLES[path].items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"{path.name} has no markers for the {name}")
        text = f"{before}{begin}{table()}{end}{after}"
    return text


def settings_tables() -> str:
    """All settings: for each section a line on it and a table."""
    settings = Settings()
    return "\n".join(_section(name, getattr(settings, name)) for name in Settings.model_fields)


def models_table() -> str:
    """All models of the jina dialect and what they can do."""
    rows = [_model_row(model) for model in MODELS.values()]
    return _table(("model", "dimensions", "tasks", "longest input", "late chunking"), rows)


def metrics_table() -> str:
    """All metrics but those of the process."""
    rows = [
        (f"`{one.name}`", one.kind, ", ".join(f"`{label}`" for label in one.labels), one.meaning)
        for one in sorted(Metrics().described, key=lambda one: one.name)
    ]
    return _table(("metric", "kind", "labels", "meaning"), rows)


def events_table() -> str:
    """All log events."""
    rows = [(f"`{signal.event}`", signal.level, signal.meaning) for signal in signals().values()]
    return _table(("event", "level", "meaning"), sorted(rows))


def signals() -> Mapping[str, Signal]:
    """The log events by the names of their constants."""
    return {name: value for name, value in vars(telemetry).items() if isinstance(value, Signal)}


def _section(name: str, section: BaseModel) -> str:
    values = section.model_dump(mode="json")
    rows = [
        (f"`{field}`", _value(field, values[field]), _purpose(about))
        for field, about in type(section).model_fields.items()
    ]
    purpose = (type(section).__doc__ or "").partition("\n")[0]
    return f"### `{name}`\n\n{purpose}\n\n{_table(('name', 'default', 'what for'), rows)}"


def _value(field: str, value: Any) -> str:
    if value is None or value == {}:
        return ""
    if isinstance(value, list):
        return ", ".join(f"`{item}`" for item in value)
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if field.endswith("_bytes") and value % MIB == 0:
        return f"`{value}` ({value // MIB} MiB)"
    return f"`{value}`".replace(".0`", "`")


def _purpose(about: FieldInfo) -> str:
    choices = _choices(about.annotation)
    listed = f" ({', '.join(f'`{choice}`' for choice in choices)})" if choices else ""
    return f"{about.description}{listed}"


def _choices(annotation: Any) -> Sequence[str]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return [member.value for member in annotation]
    return ()


def _model_row(model: EmbeddingModel) -> tuple[str, ...]:
    dimensions = f"{model.smallest} to {model.dimension}" if model.smallest else f"{model.dimension}"
    return (
        f"`{model.name}`",
        dimensions,
        _tasks(model.tasks),
        f"{model.context_tokens:,} tokens",
        "yes" if model.late_chunking else "",
    )


def _tasks(tasks: Sequence[str]) -> str:
    """The tasks; where both sides of a pair are there, once, as `name.query` / `.passage`."""
    listed = []
    for task in tasks:
        pair, _, side = task.rpartition(".")
        if side == "query" and f"{pair}.passage" in tasks:
            listed.append(f"`{task}` / `.passage`")
        elif side != "passage":
            listed.append(f"`{task}`")
    return ", ".join(listed)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:], ""])


TABLES: Mapping[Path, Mapping[str, Callable[[], str]]] = {
    README: {"settings": settings_tables, "models": models_table},
    TELEMETRY: {"metrics": metrics_table, "events": events_table},
}


def main() -> None:
    """Write the documents."""
    for path in TABLES:
        path.write_text(render(path, path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
