"""The rules of series selection: their file format, and whether one holds for a scan.

The file is documented where it is written: ``configs/sequences.yaml``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from acuity.anatomy import Sequence
from acuity.dicom.reading.scan import Scan
from acuity.errors import RulesError
from acuity.resources import config_file

NUMBERS = frozenset(
    {"repetition_time", "echo_time", "inversion_time", "inversions", "flip_angle", "b_value", "slices", "stacks"}
)
VALUES = frozenset({"scanning_sequence", "sequence_variant", "scan_options", "image_type", "contrast", "body_part"})

_PARTS = ("exclude", "physics", "names", "contrast", "series")


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
    """What a scan is if one of ``any`` holds; an item of it holds if all of its conditions do."""

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
    with_agent: tuple[re.Pattern[str], ...]
    without_agent: tuple[re.Pattern[str], ...]
    series: Mapping[Sequence, Pin] = field(default_factory=dict)


def default_rules() -> Rules:
    """The rules of ``configs/sequences.yaml``."""
    return _default_rules()


def load_rules(path: Path) -> Rules:
    """The default rules with the parts replaced that the YAML or JSON file ``path`` holds.

    Raises
    ------
    RulesError
        When the file is absent, is not YAML, or does not follow the format.
    """
    return _parse(_read(path), default_rules(), path.name)


def plain(text: str) -> str:
    """Lower case, without accents, underscores as spaces: what ``words`` are matched with."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).lower().replace("_", " ").strip()


def matches(patterns: tuple[re.Pattern[str], ...], text: str) -> bool:
    """Whether one of ``patterns`` matches whole words of ``text``."""
    return any(pattern.search(plain(text)) for pattern in patterns)


@lru_cache(maxsize=1)
def _default_rules() -> Rules:
    path = config_file("sequences.yaml")
    return _parse(_read(path), Rules((), (), (), (), ()), path.name)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RulesError(
            f"The rule file {path.name} cannot be read: {error.strerror}.",
            rule="A rule file is a YAML or JSON file.",
            remedy="Give the path of one.",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RulesError(
            f"The rule file {path.name} is not YAML: {error}.",
            rule="A rule file is a YAML or JSON file.",
            remedy="Correct it.",
        ) from error
    if not isinstance(content, dict):
        raise _invalid(path.name, f"the file holds {content!r:.40}", f"it is a mapping of {', '.join(_PARTS)}")
    return content


def _parse(content: dict[str, Any], base: Rules, file: str) -> Rules:
    _check_keys(content, _PARTS, file, "the file")
    rules = {
        part: tuple(_rule(item, file, part) for item in _listed(content[part], file, part))
        for part in ("exclude", "physics", "names")
        if part in content
    }
    base = replace(
        base,
        exclude=rules.get("exclude", base.exclude),
        physics=rules.get("physics", base.physics),
        names=rules.get("names", base.names),
    )
    if "contrast" in content:
        words = _mapped(content["contrast"], file, "contrast")
        _check_keys(words, ("with", "without"), file, "contrast")
        base = replace(
            base,
            with_agent=_patterns(words.get("with", []), file, "contrast.with"),
            without_agent=_patterns(words.get("without", []), file, "contrast.without"),
        )
    if "series" in content:
        pins = _mapped(content["series"], file, "series")
        base = replace(base, series={_sequence(k, file): _pin(v, file, f"series.{k}") for k, v in pins.items()})
    return base


def _rule(item: Any, file: str, part: str) -> Rule:
    entry = _mapped(item, file, part)
    _check_keys(entry, ("name", "sequence", "reason", "any"), file, part)
    name = str(entry.get("name", ""))
    where = f"{part}: {name}"
    if not name:
        raise _invalid(file, f"a rule of {part} has no name", "every rule has one")
    sequence = entry.get("sequence", "none")
    if part == "exclude" and sequence != "none":
        raise _invalid(file, f"{where} has sequence {sequence}", "an exclusion has none")
    items = [_mapped(x, file, where) for x in _listed(entry.get("any"), file, f"{where}: any")]
    if not all(items):
        raise _invalid(file, f"{where} has an item without conditions", "an item holds at least one")
    return Rule(
        name,
        None if sequence == "none" else _sequence(sequence, file),
        str(entry.get("reason", "")),
        tuple(tuple(_condition(k, v, file, f"{where}: {k}") for k, v in x.items()) for x in items),
    )


def _condition(key: str, value: Any, file: str, where: str) -> Condition:
    if key == "words":
        return WordsCondition(_patterns(value, file, where))
    if key in NUMBERS:
        if value == "absent":
            return NumberCondition(key, only_absent=True)
        limits = _mapped(value, file, where)
        _check_keys(limits, ("min", "max", "absent"), file, where)
        low, high = limits.get("min", float("-inf")), limits.get("max", float("inf"))
        if not all(isinstance(x, int | float) for x in (low, high)) or low > high:
            raise _invalid(file, f"{where} has min {low} and max {high}", "both are numbers, min the smaller")
        return NumberCondition(key, low, high, bool(limits.get("absent", False)))
    if key in VALUES:
        if value == "absent":
            return ValuesCondition(key, only_absent=True)
        entry = {"any": value} if isinstance(value, list) else _mapped(value, file, where)
        _check_keys(entry, ("any", "lacks", "absent"), file, where)
        wanted, unwanted = (_upper(entry.get(k, []), file, where) for k in ("any", "lacks"))
        return ValuesCondition(key, wanted, unwanted, bool(entry.get("absent", False)))
    raise _invalid(file, f"{where} is no condition", f"conditions are words, {', '.join(sorted(NUMBERS | VALUES))}")


def _pin(value: Any, file: str, where: str) -> Pin:
    if isinstance(value, str):
        return Pin(uid=value.strip())
    entry = _mapped(value, file, where)
    _check_keys(entry, ("uid", "description", "number"), file, where)
    if not entry:
        raise _invalid(file, f"{where} is empty", "it names a uid, a description or a number")
    number = entry.get("number")
    if number is not None and not isinstance(number, int):
        raise _invalid(file, f"{where}.number is {number!r}", "it is a whole number")
    description = _compile(str(entry["description"]), file, where) if "description" in entry else None
    return Pin(str(entry["uid"]) if "uid" in entry else None, description, number)


def _sequence(name: Any, file: str) -> Sequence:
    try:
        return Sequence(name)
    except ValueError:
        raise _invalid(file, f"{name!r} is no sequence", "sequences are T1, T1c, T2 and FLAIR") from None


def _patterns(value: Any, file: str, where: str) -> tuple[re.Pattern[str], ...]:
    return tuple(_compile(rf"(?<![a-z0-9])(?:{text})(?![a-z0-9])", file, where) for text in _listed(value, file, where))


def _compile(pattern: str, file: str, where: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise _invalid(
            file,
            f"{where} holds {pattern!r}, which is no regular expression ({error})",
            "words are regular expressions",
        ) from error


def _upper(values: Any, file: str, where: str) -> frozenset[str]:
    return frozenset(str(v).upper() for v in _listed(values, file, where))


def _listed(value: Any, file: str, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _invalid(file, f"{where} is {value!r:.60}", "it is a list")
    return value


def _mapped(value: Any, file: str, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _invalid(file, f"{where} is {value!r:.60}", "it is a mapping")
    return value


def _check_keys(entry: dict[str, Any], allowed: tuple[str, ...], file: str, where: str) -> None:
    unknown = sorted(str(key) for key in entry if key not in allowed)
    if unknown:
        raise _invalid(file, f"{where} has {', '.join(unknown)}", f"it holds {', '.join(allowed)}")


def _invalid(file: str, found: str, rule: str) -> RulesError:
    return RulesError(
        f"In the rule file {file}, {found}.",
        rule=f"By the format, {rule}.",
        remedy="Correct the file; configs/sequences.yaml documents the format.",
    )
