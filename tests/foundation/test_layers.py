"""Imports point one way: from the front doors down to errors and volumes, never up and never in a circle."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

# Lowest first.  A unit may import units of its own layer and of those before it.
LAYERS = (
    {
        "acuity",
        "acuity._allocator",
        "acuity._cuda_runtime",
        "acuity.errors",
        "acuity.anatomy",
        "acuity.resources",
        "acuity.volume",
    },
    {"acuity.networks", "acuity.losses", "acuity.degradations", "acuity.metrics"},
    {"acuity.imaging", "acuity.dicom", "acuity.data"},
    {"acuity.training", "acuity.inference"},
    {"acuity.evaluation"},
    {"acuity.commands", "acuity.cli", "operators", "label"},
    {"app", "workbench"},
)
# highdicom's packages that write DICOM objects; Volume and the geometry helpers are free to all.
HIGHDICOM_WRITERS = ("ann", "ko", "legacy", "pm", "pr", "sc", "seg", "sr")
LEVEL = {unit: level for level, units in enumerate(LAYERS) for unit in units}


def unit_of(module: str) -> str:
    """The unit of LAYERS that a dotted module name belongs to: ``acuity.dicom.reading.read`` -> ``acuity.dicom``."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "acuity" else parts[0]


def module_name(file: Path, root: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(source: str, module: str, *, is_package: bool) -> Iterator[str]:
    """Dotted names that the source imports, relative ones made absolute; ``from a import b`` gives ``a.b``.

    An attribute of an imported module counts as well: ``import a as x; x.b`` gives ``a`` and ``a.b``.
    """
    aliases: dict[str, str] = {}
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
            aliases.update({alias.asname or alias.name: alias.name for alias in node.names})
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                package = parts[: len(parts) - node.level + is_package]
                base = ".".join([*package, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            yield f"{aliases[node.value.id]}.{node.attr}"


def product_imports(root: Path) -> list[tuple[str, str]]:
    """Each (importing module, imported name) of the files that ship."""
    files = [*sorted(root.glob("acuity/**/*.py")), *sorted(root.glob("operators/**/*.py"))]
    files += [path for folder in ("label", "workbench") for path in sorted(root.glob(f"{folder}/**/*.py"))]
    files += sorted(root.glob("app.py"))
    return [
        (module_name(file, root), name)
        for file in files
        for name in imported_names(file.read_text(), module_name(file, root), is_package=file.name == "__init__.py")
    ]


def is_or_is_under(name: str, module: str) -> bool:
    return name == module or name.startswith(module + ".")


def faults(imports: list[tuple[str, str]]) -> list[str]:
    """What breaks the rules, one line each."""
    found = []
    for importer, name in imports:
        unit = unit_of(importer)
        if unit not in LEVEL:
            found.append(f"{importer} belongs to no layer: give {unit} its place in LAYERS")
            continue
        if unit_of(name) in LEVEL and LEVEL[unit_of(name)] > LEVEL[unit]:
            found.append(f"{importer} imports {name}, of a higher layer")
        if is_or_is_under(name, "monai.deploy") and unit not in {"operators", "app"}:
            found.append(f"{importer} imports {name}: only operators/ and app.py may")
        if is_or_is_under(name, "monailabel") and unit != "label":
            found.append(f"{importer} imports {name}: only label/ may")
        if unit != "acuity.dicom" and any(is_or_is_under(name, f"highdicom.{p}") for p in HIGHDICOM_WRITERS):
            found.append(f"{importer} imports {name}: only acuity/dicom may write with highdicom")
        if is_or_is_under(name, "tests"):
            found.append(f"{importer} imports {name}: what ships does not import tests")
    return found


def unit_graph(imports: list[tuple[str, str]]) -> dict[str, set[str]]:
    """Which units each unit imports, itself left out."""
    graph: dict[str, set[str]] = {}
    for importer, name in imports:
        if unit_of(name) in LEVEL and unit_of(name) != unit_of(importer):
            graph.setdefault(unit_of(importer), set()).add(unit_of(name))
    return graph


def test_imports_point_one_way(repository: Path) -> None:
    imports = product_imports(repository)
    assert ("acuity.volume", "numpy") in imports  # the walk does see the product's files
    assert faults(imports) == []


def test_no_circle_between_units(repository: Path) -> None:
    graph = unit_graph(product_imports(repository))
    graph.pop("acuity", None)  # the root package holds the version and the start-up hook only
    for units in graph.values():
        units.discard("acuity")
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize(
    ("importer", "name", "message"),
    [
        ("acuity.volume", "acuity.dicom.reading.read", "of a higher layer"),
        ("acuity.networks.unet", "acuity.training.trainer", "of a higher layer"),
        ("acuity.pipeline.stages", "operators.loader", "of a higher layer"),
        ("acuity.pipeline.stages", "monai.deploy.core", "only operators/ and app.py"),
        ("operators.loader", "monailabel.interfaces.app", "only label/"),
        ("operators.loader", "highdicom.seg.Segmentation", "only acuity/dicom"),
        ("acuity.volume", "highdicom.sr", "only acuity/dicom"),
        ("acuity.novelty.module", "numpy", "belongs to no layer"),
        ("acuity.dicom.reading.read", "tests.dicom_builder", "does not import tests"),
    ],
)
def test_each_rule_finds_its_fault(importer: str, name: str, message: str) -> None:
    (fault,) = faults([(importer, name)])
    assert message in fault


def test_attributes_of_imported_modules_are_seen() -> None:
    source = "import highdicom as hd\n\ndef write():\n    return hd.seg.Segmentation()\n"
    assert list(imported_names(source, "label.store", is_package=False)) == ["highdicom", "highdicom.seg"]


def test_relative_imports_are_seen() -> None:
    source = "from . import sibling\nfrom ..training import gan\n"
    assert list(imported_names(source, "acuity.networks.unet", is_package=False)) == [
        "acuity.networks.sibling",
        "acuity.training.gan",
    ]
    assert list(imported_names("from .x import y", "acuity.networks", is_package=True)) == ["acuity.networks.x.y"]
