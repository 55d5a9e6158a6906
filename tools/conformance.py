"""Prints the DICOM conformance statement of the application; with --write, puts it into docs/conformance.md.

What the code knows (SOP classes, transfer syntaxes, attributes that are looked at, codes of segments, exit codes) is
taken from it; the rest stands in `tools/templates/conformance/`, and tests hold it against written objects.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import yaml
from pydicom import uid
from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.pixels.decoders.base import get_decoder
from pydicom.tag import Tag
from pydicom.uid import UID

from acuity import __version__
from acuity.anatomy import BRAIN, MORPHOLOGY, REGION_NAMES, REGION_TYPES, SEGMENTS, Code
from acuity.dicom.reading.files import MR_CLASSES
from tools.exit_codes import table as exit_code_table

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "conformance.md"
TEMPLATES = REPOSITORY / "tools" / "templates" / "conformance"
# What reads headers and chooses series; their keywords are those that the application looks at.
READERS = (
    "acquisition",
    "candidate",
    "classify",
    "files",
    "pixels",
    "read",
    "rules",
    "scan",
    "slices",
    "separate",
    "geometry",
    "traits",
)
HIGHDICOM_ROOT, PYDICOM_ROOT = "1.2.826.0.1.3680043.10.511.3.", str(uid.PYDICOM_ROOT_UID)
IMPLEMENTATION_UID, IMPLEMENTATION_NAME = "1.2.826.0.1.3680043.9.7433.1.1", "highdicom0.28.2"


@dataclass(frozen=True)
class Attribute:
    """A line of an object's table: where it belongs, its keyword, how sure it is there, what its value is."""

    module: str
    keyword: str
    presence: str
    value: str


@dataclass(frozen=True)
class WrittenObject:
    """A kind of object that the application writes."""

    title: str
    sop_class: UID
    files: str
    attributes: tuple[Attribute, ...]


def written_objects() -> dict[str, WrittenObject]:
    """The kinds of objects, by a short name."""
    return {
        name: WrittenObject(
            entry["title"], getattr(uid, entry["sop_class"]), entry["files"], _attributes(entry["modules"])
        )
        for name, entry in _facts()["objects"].items()
    }


def required_attributes() -> dict[str, str]:
    """Keyword -> code of the refusal where all images lack it."""
    return dict(_facts()["required"])


def coded_terms() -> list[tuple[str, Code]]:
    """Every code that the application writes, with where it stands."""
    terms = [(f"Segment {spec.number}, {spec.name}: type", spec.type) for spec in SEGMENTS]
    terms += [
        (f"Region of the report, {name}: segment type, finding", REGION_TYPES[r]) for r, name in REGION_NAMES.items()
    ]
    terms += [("Segments and findings: category", MORPHOLOGY), ("Segments and findings: site", BRAIN)]
    for where, codes in _facts()["codes"].items():
        terms += [(where, Code(str(value), scheme, meaning)) for value, scheme, meaning in codes]
    return terms


def transfer_syntaxes() -> list[UID]:
    """Those that the installed decoders read."""
    return [syntax for syntax in uid.AllTransferSyntaxes if _decodable(syntax)]


def keywords_looked_at() -> list[str]:
    """DICOM keywords that stand in the code of the readers, in the order of their tags."""
    files = (REPOSITORY / "acuity" / "dicom" / f"{name}.py" for name in READERS)
    found = {keyword for file in files for keyword in _keywords(file.read_text())}
    return sorted(found, key=lambda keyword: tag_for_keyword(keyword) or 0)


def statement() -> str:
    """The text of docs/conformance.md."""
    objects = written_objects()
    return Template((TEMPLATES / "statement.md").read_text()).substitute(
        version=__version__,
        read_classes=_rows((f"{c.name} Storage".replace("Storage Storage", "Storage"), str(c)) for c in MR_CLASSES),
        read_syntaxes=_rows((syntax.name, str(syntax)) for syntax in transfer_syntaxes()),
        required=_rows((*_named(keyword), f"`{code}`") for keyword, code in required_attributes().items()),
        looked_at=", ".join(f"{name} {tag}" for name, tag in map(_named, keywords_looked_at())) + ".",
        written=_rows((o.title, o.sop_class.name, str(o.sop_class), f"`{o.files}`") for o in objects.values()),
        explicit_vr=str(uid.ExplicitVRLittleEndian),
        implementation_uid=IMPLEMENTATION_UID,
        implementation_name=IMPLEMENTATION_NAME,
        tables="\n\n".join(_table(o) for o in objects.values()),
        codes=_rows((where, code.value, code.scheme, code.meaning) for where, code in coded_terms()),
        highdicom_root=HIGHDICOM_ROOT,
        pydicom_root=PYDICOM_ROOT,
        exit_codes=exit_code_table().rstrip("\n"),
    )


def _facts() -> dict[str, Any]:
    facts: dict[str, Any] = yaml.safe_load((TEMPLATES / "objects.yaml").read_text())
    return facts


def _attributes(parts: Sequence[dict[str, dict[str, str]]]) -> tuple[Attribute, ...]:
    modules = [module for part in parts for module in part.items()]
    lines = [(module, keyword, line) for module, attributes in modules for keyword, line in attributes.items()]
    split = [(module, keyword, *line.partition(", ")) for module, keyword, line in lines]
    return tuple(Attribute(module, keyword, presence, value) for module, keyword, presence, _, value in split)


def _decodable(syntax: UID) -> bool:
    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:
        return False


def _keywords(source: str) -> Iterator[str]:
    """DICOM keywords among the texts and attribute names of a module."""
    for node in ast.walk(ast.parse(source)):
        text = node.value if isinstance(node, ast.Constant) else node.attr if isinstance(node, ast.Attribute) else None
        if isinstance(text, str) and text.isidentifier() and tag_for_keyword(text) is not None:
            yield text


def _named(keyword: str) -> tuple[str, str]:
    """Name and tag of an attribute."""
    tag = Tag(tag_for_keyword(keyword) or 0)
    return dictionary_description(tag), f"({tag.group:04X},{tag.element:04X})"


def _rows(rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _table(written: WrittenObject) -> str:
    lines = [
        f"#### {written.title}: {written.sop_class.name}",
        "",
        "| module | attribute | tag | presence | value |",
        "|---|---|---|---|---|",
    ]
    last = ""
    for attribute in written.attributes:
        module = attribute.module if attribute.module != last else ""
        last = attribute.module
        lines.append(
            f"| {module} | {' | '.join(_named(attribute.keyword))} | {attribute.presence} | {attribute.value} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the statement or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write docs/conformance.md instead of printing it")
    if parser.parse_args().write:
        PAGE.write_text(statement())
    else:
        print(statement(), end="")


if __name__ == "__main__":
    main()
