"""The recipes' files: they hold what makes the method and nothing else, and each cites its paper."""

from __future__ import annotations

import pytest
import yaml

from acuity.research.recipe_file import recipe_names
from acuity.resources import config_file

NAMES = {
    "seg": ["dynunet", "efficientunet", "equiunet", "fcn16s", "fcn32s", "fcn8s", "segresnet", "unet2d"],
    "sr": ["bebygan", "bsrgan", "esrgan", "ranksrgan", "realesrgan", "srgan", "srrescycgan"],
}


@pytest.mark.parametrize("kind", NAMES)
def test_all_methods_are_there(kind: str) -> None:
    assert recipe_names(config_file(kind)) == NAMES[kind]


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in NAMES.items() for name in names])
def test_a_recipe_is_the_method_alone_and_short(kind: str, name: str) -> None:
    text = (config_file(kind) / f"{name}.yaml").read_text()
    content = yaml.safe_load(text)
    assert set(content) == {"recipe"}
    # The recipes' classes hold nothing of data, sampling, budget and evaluation; the pixel stage is the same for all.
    assert "pixel_learning_rate" not in content["recipe"]
    assert len(text.splitlines()) <= 25
    assert "arXiv:" in " ".join(text.splitlines()[:2])
