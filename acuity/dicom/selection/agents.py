"""Whether a contrast agent had been given before a scan, as its header and its name say.

A word for an agent says little: "vor KM" and "no contrast" hold one and mean that there was none. Each word is
therefore read together with the word that denies it. The words of all languages are in ``configs/sequences.yaml``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from acuity.dicom.reading.scan import Scan
from acuity.dicom.selection.text import plain, whole_words

# Between a denial and its agent: "without any i.v. contrast", "o. KM", "avant l'injection", "pas de gado".
_FILLER = r"(?![a-z0-9])\W{0,3}(?:(?:the|any|i\.?v\.?|d[aeiou]s?|del|dell|l|el|di)\W{1,2}){0,2}"

# How much a statement weighs against others; see ``contrast``. A header may state an agent that is yet to be given.
STATED, BY_NAME, DOUBTFUL, DENIED, NAMED = 6, 3, 2, -4, 100


@dataclass(frozen=True)
class Agent:
    """Whether a contrast agent had been given: True, False, or None where nothing says so.

    ``weight`` is above 0 for an agent and below 0 for none; ``warning`` tells of a contradiction.
    """

    given: bool | None
    reason: str
    warning: str = ""
    weight: int = 0


Patterns = tuple[re.Pattern[str], ...]

KEYS = ("agent", "deny", "deny_after", "with", "without", "header_none", "header_unknown")


@dataclass(frozen=True)
class AgentWords:
    """The part ``contrast`` of the rules, as lists of regular expressions under ``KEYS``; see ``agent_words``."""

    lists: Mapping[str, tuple[str, ...]]
    denials: Patterns
    claims: Patterns
    header_none: Patterns
    header_unknown: Patterns

    def name_says(self, name: str) -> tuple[bool, bool]:
        """Whether a name claims an agent, and whether it denies one; "before and after" does both."""
        text = plain(name)
        rest = text
        for pattern in self.denials:
            rest = pattern.sub(" # ", rest)
        return any(pattern.search(rest) for pattern in self.claims), rest != text

    def header_says(self, agent: str) -> bool | None:
        """Whether the free text of ContrastBolusAgent states an agent; None if it says nothing."""
        text = plain(agent)
        if not text or any(pattern.fullmatch(text) for pattern in self.header_unknown):
            return None
        return not any(pattern.fullmatch(text) for pattern in self.header_none) and not self.name_says(agent)[1]


def agent_words(lists: Mapping[str, tuple[str, ...]]) -> AgentWords:
    """The words of a rule file: ``agent`` and ``deny`` are read together, ``with`` and ``without`` count alone.

    Raises
    ------
    re.error
        One of the words is no regular expression.
    """
    agent, deny, after = ("|".join(lists.get(key, ())) or r"(?!)" for key in ("agent", "deny", "deny_after"))
    denials = [
        rf"(?:{deny}){_FILLER}(?:{agent})",
        rf"(?:{agent})\W{{0,2}}(?:{after})",
        rf"(?:{agent})\W{{1,2}}(?:{deny})\W*$",
        rf"(?<=\s)-(?:{agent}|c|ce)",  # "T1 -Gd"; "T1-Gd" and "T1 - Gd" have a dash
        rf"(?:{agent})(?: ?\(-\)|-(?=\s|\)|$))",  # "Gd-", "Gd (-)"
        r"\(-\)",
        rf"(?:{deny})\W*$",
        *lists.get("without", ()),
    ]
    return AgentWords(
        lists,
        denials=tuple(map(whole_words, denials)),
        claims=tuple(map(whole_words, (*lists.get("with", ()), *lists.get("agent", ())))),
        header_none=tuple(map(re.compile, (rf"(?:{deny})(?:\W.*)?", *lists.get("header_none", ())))),
        header_unknown=tuple(map(re.compile, lists.get("header_unknown", ()))),
    )


def agent_given(scan: Scan, words: AgentWords) -> Agent:
    """Whether a contrast agent was given before ``scan``, by the header's statement or else by name."""
    claimed, denied = words.name_says(scan.description)
    by_header = words.header_says(scan.agent)
    if by_header and denied and not claimed:
        warning = "Its name says that no contrast agent was given, but its header states one."
        return Agent(True, "its header states a contrast agent", warning, DOUBTFUL)
    if by_header:
        return Agent(True, "its header states a contrast agent", weight=STATED)
    if by_header is False and claimed and not denied:
        warning = "Its name says that a contrast agent was given, but its header denies one."
        return Agent(None, "its header denies the contrast agent of its name", warning)
    if by_header is False:
        return Agent(False, "its header says that no contrast agent was given", weight=DENIED)
    if claimed and denied:
        return Agent(None, "its name speaks of scans with and without a contrast agent")
    if claimed:
        return Agent(True, "its name says so, though no contrast agent is stated", weight=BY_NAME)
    if denied:
        return Agent(False, "its name says that no contrast agent was given", weight=DENIED)
    return Agent(None, "neither header nor name says whether a contrast agent was given")
