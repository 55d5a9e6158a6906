"""What MONAI's workflows and its model zoo ask of a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser, ConfigWorkflow, create_workflow

from tests.bundles.conftest import CASES, REPOSITORY, config
from tests.research.layouts import LAYOUTS, write_layout

BUNDLES = sorted(folder.name for folder in (REPOSITORY / "bundles").iterdir())
PARTS = {"brain_tumor_segmentation": ("coarse#plan", "member_plan")}


def workflow(bundle: str, kind: str, *configs: str, **overrides: Any) -> ConfigWorkflow:
    made = create_workflow(
        workflow_type=kind,
        config_file=[config(bundle, name) for name in configs],
        meta_file=config(bundle, "metadata"),
        logging_file=None,
        **overrides,
    )
    made.initialize()
    return made


@pytest.mark.parametrize("bundle", BUNDLES)
@pytest.mark.parametrize(
    ("kind", "configs"), [("infer", ["inference"]), ("train", ["train"]), ("train", ["train", "evaluate"])]
)
def test_workflows_find_all_properties(
    bundle: str, kind: str, configs: list[str], tiny_brats: Path, tmp_path: Path
) -> None:
    found = workflow(bundle, kind, *configs, dataset_dir=str(tiny_brats), output_dir=str(tmp_path))
    assert found.check_properties() == []


def planned(parser: ConfigParser, bundle: str) -> list[int]:
    """The iterations of each stage."""
    plans = [parser.get_parsed_content(part) for part in PARTS.get(bundle, ("pixel#plan", "adversarial#plan"))]
    return [getattr(plan, "keywords", {}).get("iterations") or plan.iterations for plan in plans]


@pytest.mark.parametrize("bundle", BUNDLES)
def test_one_override_shortens_every_stage(bundle: str) -> None:
    parser = ConfigParser()
    parser.read_config(config(bundle, "train"))
    whole = planned(parser, bundle)
    for override, expected in (
        ({"iterations": 2}, [2, 2]),
        ({"epochs": 1}, [parser["epoch_length"]] * 2),
        ({"train#trainer#max_epochs": 2}, [min(n, 2 * parser["epoch_length"]) for n in whole]),
    ):
        shortened = ConfigParser()
        shortened.read_config(config(bundle, "train"))
        shortened.update(override)
        assert planned(shortened, bundle) == expected
    card = (REPOSITORY / "bundles" / bundle / "docs" / "README.md").read_text()
    assert "--iterations 20" in card


@pytest.mark.parametrize("bundle", [BUNDLES[0], *BUNDLES[-2:]])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_training_takes_what_is_in_the_folder(bundle: str, layout: str, tmp_path: Path) -> None:
    names = write_layout(layout, tmp_path / "data")
    options = {"dataset_dir": str(tmp_path / "data"), "output_dir": str(tmp_path / "runs"), "device": "cpu"}
    found = workflow(bundle, "train", "train", **options)
    parts = {"train": found.train_dataset_data, "validation": found.val_dataset_data}
    drawn = {part: [item["case"] for item in items] for part, items in parts.items()}
    split = json.loads((tmp_path / "runs" / "split.json").read_text())
    assert drawn == {part: split[part] for part in parts}
    assert sorted(sum((split[part] for part in ("train", "validation", "test")), [])) == sorted(names)
    assert all(Path(item["label"]).is_file() for item in parts["train"])


@pytest.mark.parametrize("bundle", [BUNDLES[0], *BUNDLES[-2:]])
def test_training_takes_a_split_from_a_file(bundle: str, tiny_brats: Path, tmp_path: Path) -> None:
    split = {"train": [CASES[1]], "validation": [CASES[0]]}
    (tmp_path / "own.json").write_text(json.dumps(split))
    options = {"dataset_dir": str(tiny_brats), "output_dir": str(tmp_path), "split": str(tmp_path / "own.json")}
    found = workflow(bundle, "train", "train", **options)
    assert [item["case"] for item in found.train_dataset_data] == split["train"]
    assert found.parser.get_parsed_content("train_cases") == split["train"]
    assert found.parser.get_parsed_content("validation_cases") == split["validation"]
