"""config.json: which class a model is of and what it was made with. What others wrote is checked before it is used."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SCHEMA = 1
LONGEST = 65_536  # characters of a description


@dataclass(frozen=True)
class Description:
    """The class of a model, by name, and its constructor's arguments."""

    architecture: str
    arguments: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """What config.json holds."""
        return {"schema": SCHEMA, "architecture": self.architecture, "arguments": self.arguments}


def parse(text: str, source: str) -> Description:
    """The description in a JSON text; `source` is named in errors. The arguments themselves are not checked here.

    Raises:
        ValueError: too long, not JSON, of another schema, with other keys than a description has.
    """
    if len(text) > LONGEST:
        raise ValueError(f"{source}: a configuration has at most {LONGEST} characters, got {len(text)}.")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source}: the configuration is not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{source}: the configuration must be a JSON object, got {type(found).__name__}.")
    schema, name, arguments = found.get("schema"), found.get("architecture"), found.get("arguments")
    if type(schema) is not int or schema != SCHEMA:  # True == 1
        raise ValueError(f"{source}: schema must be {SCHEMA}, got {schema!r}. Is cclnn up to date?")
    if not isinstance(name, str):
        raise ValueError(f"{source}: `architecture` must be the name of a class, got {name!r}.")
    if not isinstance(arguments, dict):
        raise ValueError(f"{source}: `arguments` must be a JSON object, got {type(arguments).__name__}.")
    unexpected = sorted(found.keys() - {"schema", "architecture", "arguments", "version"})
    if unexpected:
        raise ValueError(f"{source}: unexpected {', '.join(unexpected)} beside `architecture` and `arguments`.")
    return Description(name, arguments)


def differing(header: Description, config: Description) -> str:
    """What two descriptions that are not equal say differently, in words."""
    if header.architecture != config.architecture:
        return f"architecture is {header.architecture!r} and {config.architecture!r}"
    ours, theirs = header.arguments, config.arguments
    names = [*ours, *(name for name in theirs if name not in ours)]
    return ", ".join(
        f"{name} is {_said(ours, name)} and {_said(theirs, name)}"
        for name in names
        if ours.get(name, ...) != theirs.get(name, ...)
    )


def _said(arguments: Mapping[str, Any], name: str) -> str:
    return repr(arguments[name]) if name in arguments else "absent"
