"""Keys of released state dicts <-> ours, by pairs of templates that read in either direction.

`{i}` stands for digits, `*` for one name between dots, `**` for one or more of them:

>>> rename("body.7.body.2.bias", (("body.{i}.body.2.*", "body.{i}.conv2.*"),))
'body.7.conv2.bias'
"""

import re
from collections.abc import Iterable
from functools import lru_cache

PLACEHOLDER = re.compile(r"\{(\w+)\}|\*\*|\*")


def rename(key: str, rules: Iterable[tuple[str, str]]) -> str | None:
    """The right-hand side of the first rule whose left-hand side matches the whole key, filled in; None if none does.

    Args:
        key: a dotted name.
        rules: pairs of templates; both sides have the same placeholders, those without a name in the same order.
    """
    for given, wanted in rules:
        if match := pattern(given).fullmatch(key):
            return _filled(wanted, match)
    return None


def inverted(rules: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The rules for the way back."""
    return tuple((wanted, given) for given, wanted in rules)


@lru_cache
def pattern(template: str) -> re.Pattern[str]:
    """The regular expression of a template, its placeholders as groups."""
    parts, position, unnamed = [], 0, 0
    seen: set[str] = set()
    for found in PLACEHOLDER.finditer(template):
        parts.append(re.escape(template[position : found.start()]))
        if name := found[1]:
            parts.append(f"(?P={name})" if name in seen else rf"(?P<{name}>\d+)")
            seen.add(name)
        else:
            parts.append(f"(?P<_{unnamed}>{'.+' if found[0] == '**' else '[^.]+'})")
            unnamed += 1
        position = found.end()
    return re.compile("".join([*parts, re.escape(template[position:])]))


def _filled(template: str, match: re.Match[str]) -> str:
    unnamed = iter(range(len(match.groupdict())))
    return PLACEHOLDER.sub(lambda found: match[found[1] or f"_{next(unnamed)}"], template)
