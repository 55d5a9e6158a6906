"""The rules of series selection: their file format and their evaluation.

The file is documented where it is written: ``configs/sequences.yaml``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from acuity.anatomy import Sequence
from acuity.dicom.reading.scan import Scan
from acuity.dicom.selection.agents import KEYS, AgentWords, agent_words
from acuity.dicom.selection.text import plain, whole_words
from acuity.errors import RulesError
from acuity.resources import config_file

NUMBERS = frozenset(
    {"repetition_time", "echo_time", "inversion_time", "inversions", "flip_angle", "b_value", "slices", "stacks"}
)
VALUES = frozenset({"scanning_sequence", "sequence_variant", "scan_options", "image_type", "contrast", "body_part"})


@dataclass(frozen=True)
class NumberCondition:
    """``low <= value <= high``; a missing value passes if ``absent``, and only a missing one if ``only_absent``."""

    field: str
    low: float = float("-inf")
    high: float = float("inf")
    absent: bool = False
    only_absent: bool = False

    def holds(self, scan: Scan) -> bool:
        """Whether ``scan`` meets the condition."""
        value = getattr(scan, self.field)
        if value is None or self.only_absent:
            return value is None and (self.absent or self.only_absent)
        return bool(self.low <= value <= self.high)


@dataclass(frozen=True)
class ValuesCondition:
    """At least one of ``any`` is among the values, and none of ``lacks``.

    No value at all passes if ``absent``, and nothing else does if ``only_absent``.
    """

    field: str
    any: frozenset[str] = frozenset()
    lacks: frozenset[str] = frozenset()
    absent: bool = False
    only_absent: bool = False

    def holds(self, scan: Scan) -> bool:
        """Whether ``scan`` meets the condition."""
        held = getattr(scan, self.field)
        values = frozenset({held} - {""}) if isinstance(held, str) else held
        if values & self.lacks or (values and self.only_absent):
            return False
        return not self.any or bool(values & self.any) or (self.absent and not values)


@dataclass(frozen=True)
class WordsCondition:
    """One of the regular expressions matches whole words of the description or of the sequence's name."""

    patterns: tuple[re.Pattern[str], ...]

    def holds(self, scan: Scan) -> bool:
        """Whether ``scan`` meets the condition."""
        return any(matches(self.patterns, text) for text in (scan.description, scan.sequence_name))


Condition = NumberCondition | ValuesCondition | WordsCondition


@dataclass(frozen=True)
class Rule:
    """The class of a scan for which one item of ``any`` holds; an item holds if all of its conditions do."""

    name: str
    sequence: Sequence | None
    reason: str
    any: tuple[tuple[Condition, ...], ...]

    def holds(self, scan: Scan) -> bool:
        """Whether the rule applies to ``scan``."""
        return any(all(condition.holds(scan) for condition in item) for item in self.any)


@dataclass(frozen=True)
class Pin:
    """A series that the rule file names: by UID, or by description (a regular expression) and number."""

    uid: str | None = None
    description: re.Pattern[str] | None = None
    number: int | None = None

    def matches(self, uid: str, description: str, number: int) -> bool:
        """Whether a series is the one that is named."""
        if self.uid is not None:
            return uid == self.uid
        by_name = self.description is None or bool(self.description.fullmatch(plain(description)))
        return by_name and self.number in (None, number)

    def __str__(self) -> str:
        parts = [f"UID {self.uid}"] if self.uid else []
        parts += [f"description /{self.description.pattern}/"] if self.description else []
        parts += [f"number {self.number}"] if self.number is not None else []
        return " and ".join(parts)


@dataclass(frozen=True)
class Rules:
    """All rules; the parts are those of ``configs/sequences.yaml``, each in its order of precedence."""

    exclude: tuple[Rule, ...]
    physics: tuple[Rule, ...]
    names: tuple[Rule, ...]
    agent: AgentWords
    series: Mapping[Sequence, Pin] = field(default_factory=dict)


class _InvalidError(Exception):
    """A rule file breaks its format."""

    def __init__(self, found: str, rule: str) -> None:
        self.found, self.rule = found, rule


@lru_cache(maxsize=1)
def default_rules() -> Rules:
    """The rules of ``configs/sequences.yaml``."""
    return _load(config_file("sequences.yaml"), Rules((), (), (), agent_words({})))


def load_rules(path: Path) -> Rules:
    """The default rules with the parts replaced that the YAML or JSON file ``path`` holds.

    Raises
    ------
    RulesError
        When the file is absent, is not YAML, or does not follow the format.
    """
    return _load(path, default_rules())


def matches(patterns: tuple[re.Pattern[str], ...], text: str) -> bool:
    """Whether one of ``patterns`` matches whole words of ``text``."""
    return any(pattern.search(plain(text)) for pattern in patterns)


def _load(path: Path, base: Rules) -> Rules:
    form = "A rule file is a YAML or JSON file."
    try:
        return _parse(yaml.safe_load(path.read_text(encoding="utf-8")), base)
    except OSError as error:
        found = f"The rule file {path.name} cannot be read: {error.strerror}."
        raise RulesError(found, rule=form, remedy="Give the path of one.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RulesError(f"The rule file {path.name} is not YAML: {error}.", rule=form, remedy="Correct it.") from error
    except _InvalidError as error:
        raise RulesError(
            f"In the rule file {path.name}, {error.found}.",
            rule=f"By the format, {error.rule}.",
            remedy="Correct the file; configs/sequences.yaml documents the format.",
        ) from error


def _parse(content: Any, base: Rules) -> Rules:
    parts = _mapping(content, "the file", ("exclude", "physics", "names", "contrast", "series"))
    changes: dict[str, Any] = {
        part: tuple(_rule(item, part) for item in _list(parts[part], part))
        for part in ("exclude", "physics", "names")
        if part in parts
    }
    if "contrast" in parts:
        words = _mapping(parts["contrast"], "contrast", KEYS)
        for key, value in words.items():
            _patterns(value, f"contrast.{key}")
        changes["agent"] = agent_words({**base.agent.lists, **{k: tuple(map(str, v)) for k, v in words.items()}})
    if "series" in parts:
        pins = _mapping(parts["series"], "series")
        changes["series"] = {_sequence(name): _pin(value, f"series.{name}") for name, value in pins.items()}
    return replace(base, **changes)


def _rule(value: Any, part: str) -> Rule:
    entry = _mapping(value, part, ("name", "sequence", "reason", "any"))
    name = str(entry.get("name", ""))
    if not name:
        raise _InvalidError(f"a rule of {part} has no name", "every rule has one")
    where = f"{part}: {name}"
    sequence = entry.get("sequence", "none")
    if part == "exclude" and sequence != "none":
        raise _InvalidError(f"{where} has sequence {sequence}", "an exclusion has none")
    items = [_mapping(item, where) for item in _list(entry.get("any"), f"{where}: any")]
    if not all(items):
        raise _InvalidError(f"{where} has an item without conditions", "an item holds at least one")
    return Rule(
        name,
        None if sequence == "none" else _sequence(sequence),
        str(entry.get("reason", "")),
        tuple(tuple(_condition(k, v, f"{where}: {k}") for k, v in item.items()) for item in items),
    )


def _condition(key: str, value: Any, where: str) -> Condition:
    if key == "words":
        return WordsCondition(_patterns(value, where))
    if key in NUMBERS:
        if value == "absent":
            return NumberCondition(key, only_absent=True)
        limits = _mapping(value, where, ("min", "max", "absent"))
        low, high = limits.get("min", float("-inf")), limits.get("max", float("inf"))
        if not all(isinstance(x, int | float) for x in (low, high)) or low > high:
            raise _InvalidError(f"{where} has min {low} and max {high}", "both are numbers, min the smaller")
        return NumberCondition(key, low, high, bool(limits.get("absent", False)))
    if key in VALUES:
        if value == "absent":
            return ValuesCondition(key, only_absent=True)
        entry = _mapping({"any": value} if isinstance(value, list) else value, where, ("any", "lacks", "absent"))
        terms = {k: frozenset(str(term).upper() for term in _list(entry.get(k, []), where)) for k in ("any", "lacks")}
        return ValuesCondition(key, terms["any"], terms["lacks"], bool(entry.get("absent", False)))
    raise _InvalidError(f"{where} is no condition", f"conditions are words, {', '.join(sorted(NUMBERS | VALUES))}")


def _pin(value: Any, where: str) -> Pin:
    if isinstance(value, str):
        return Pin(uid=value.strip())
    entry = _mapping(value, where, ("uid", "description", "number"))
    if not entry:
        raise _InvalidError(f"{where} is empty", "it names a uid, a description or a number")
    number = entry.get("number")
    if number is not None and not isinstance(number, int):
        raise _InvalidError(f"{where}.number is {number!r}", "it is a whole number")
    description = _compile(str(entry["description"]), where) if "description" in entry else None
    return Pin(str(entry["uid"]) if "uid" in entry else None, description, number)


def _sequence(name: Any) -> Sequence:
    try:
        return Sequence(name)
    except ValueError:
        raise _InvalidError(f"{name!r} is no sequence", "sequences are T1, T1c, T2 and FLAIR") from None


def _patterns(value: Any, where: str) -> tuple[re.Pattern[str], ...]:
    return tuple(_compile(str(text), where, whole_words) for text in _list(value, where))


def _compile(
    pattern: str, where: str, compiled: Callable[[str], re.Pattern[str]] = lambda text: re.compile(text, re.IGNORECASE)
) -> re.Pattern[str]:
    try:
        return compiled(pattern)
    except re.error as error:
        found = f"{where} holds {pattern!r}, which is no regular expression ({error})"
        raise _InvalidError(found, "words are regular expressions") from error


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _InvalidError(f"{where} is {value!r:.60}", "it is a list")
    return value


def _mapping(value: Any, where: str, keys: tuple[str, ...] = ()) -> dict[str, Any]:
    """``value`` as a mapping that holds no other than ``keys``, if there are any."""
    allowed = ", ".join(keys)
    if not isinstance(value, dict):
        raise _InvalidError(f"{where} is {value!r:.60}", f"it is a mapping of {allowed}" if keys else "it is a mapping")
    unknown = sorted(str(key) for key in value if keys and key not in keys)
    if unknown:
        raise _InvalidError(f"{where} has {', '.join(unknown)}", f"it holds {allowed}")
    return value
