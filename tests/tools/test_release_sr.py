"""The script that makes the bundles of super-resolution methods, on a tiny method trained for six steps."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from collections.abc import Sequence as Seq
from pathlib import Path
from typing import Any

import monai.bundle
import nibabel as nib
import numpy as np
import pytest
import torch
from torch import Tensor

from acuity.cli import main as acuity
from acuity.errors import DataError
from acuity.models.bundle import load_bundle
from acuity.research.datasets.slice_sets import read_slices
from acuity.research.recipe_file import recipe_names
from acuity.resources import config_file, file_sha256
from tests.phantom_slices import phantom_slices
from tools.release_sr import compact, main, read_method, release
from tools.sr_figures import NOT_MEASURED

RECIPE = """# TinyGAN: Nobody, "Small: Networks", Journal 1 (arXiv:0000.00001). A second
# sentence.
recipe:
  _target_: acuity.research.training.super_resolution_recipe.Recipe
  generator: {_target_: acuity.networks.srresnet.SRResNet, features: "$8 if @compact else 64", blocks: 1}
  discriminator: {_target_: acuity.networks.discriminators.VGGDiscriminator, size: "@patch", features: 8}
  degradation: {_target_: acuity.research.degradations.random.draw_bsrgan_mri, _mode_: callable}
  adversarial: least_squares
  loss_weights: {pixel: 1.0, adversarial: 0.01}
"""
NAME = "brain_mri_sr_x4_tiny"
PIXEL = "pixel_srresnet_bsrgan_mri"
PUBLISHED = {"file": "net.pth", "sha256": "0" * 64}
OWN = {"file": "own.pt", "format": "Acuity", "sha256": "0" * 64}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/, recipes/ and the runs/ of ``acuity train sr``."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "data").mkdir()
    for seed in range(2):
        stack = np.stack([s.image for s in phantom_slices(3, 40)], axis=2) + seed
        nib.save(nib.Nifti1Image(stack, np.diag([1.0, 1, 3, 1])), folder / "data" / f"{seed}.nii.gz")
    (folder / "recipes").mkdir()
    (folder / "recipes" / "tiny.yaml").write_text(RECIPE)
    options = {
        "recipe": "tiny",
        "recipes": folder / "recipes",
        "data": folder / "data",
        "output": folder / "runs",
        "iterations": 6,
        "patch": 32,
        "batch": 2,
        "seed": 3,
        "device": "cpu",
    }
    assert acuity(["train", "sr", *[f"--{name}={value}" for name, value in options.items()]]) == 0
    return folder


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    """A copy of the runs that a test may change."""
    return Path(shutil.copytree(trained / "runs", tmp_path / "runs", ignore=shutil.ignore_patterns("log")))


@pytest.fixture
def make(trained: Path, runs: Path, tmp_path: Path) -> Callable[..., Path]:
    """Releases the tiny method and gives its folder."""

    def make(version: str = "0.1.0", scores: Path | None = None, earlier: Seq[Path] = ()) -> Path:
        return release(
            "tiny",
            runs=runs,
            scores=scores,
            bundles=tmp_path / "bundles",
            version=version,
            recipes=trained / "recipes",
            earlier=earlier,
        )

    return make


def change(file: Path, **settings: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


def change_weights(file: Path, changed: Callable[[Tensor], Tensor]) -> None:
    torch.save({key: changed(value) for key, value in torch.load(file, weights_only=True).items()}, file)


def forget_start(runs: Path) -> None:
    file = runs / PIXEL / "settings.json"
    file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != "initial_weights"}))


def read_json(folder: Path, config: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "configs" / f"{config}.json").read_text())
    return content


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def write_scores(folder: Path, sha256: str, perceptual: str = "0.25") -> Path:
    """Two cases of two slices: the method is 1 and 3 dB better."""
    (folder / "brain").mkdir(parents=True)
    with (folder / "brain" / "scores.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "source", "case", "sequence", "slice", "psnr", "ssim", "perceptual"])
        for case, gain in (("a", 1), ("b", 3)):
            for index in (0, 1):
                writer.writerow(["truth", "", case, "T1", index, "", "", ""])
                writer.writerow(["bicubic", "interpolation", case, "T1", index, 28 + 2 * index, 0.9, 0.5])
                writer.writerow(["tiny", "bundle", case, "T1", index, 28 + 2 * index + gain, 0.95, perceptual])
    settings = {
        "data": {"slices": 4, "cases": ["a", "b"]},
        "degradation": {"name": "bicubic"},
        "methods": [{"name": "bicubic"}, {"name": "tiny", "sha256": sha256}],
    }
    (folder / "brain" / "settings.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize("name", recipe_names(config_file("sr")))
def test_every_recipe_can_be_put_into_a_bundle(name: str) -> None:
    method = read_method(config_file("sr") / f"{name}.yaml")
    assert method.title.lower().replace("-", "") == name
    assert "et al." in method.citation or "Umer, Micheloni" in method.citation
    assert method.citation.endswith(")") and "arXiv:" in method.citation
    assert "@compact" not in json.dumps(method.content)
    assert method.content["discriminator"].get("size", "@patch") == "@patch"


def test_only_what_depends_on_the_size_is_evaluated() -> None:
    item = {"a": "$6 if @compact else 23", "b": ["@compact", "@patch", "$1 + 1"], "c": 0.5}
    assert compact(item) == {"a": 6, "b": [True, "@patch", "$1 + 1"], "c": 0.5}


def test_the_bundle_is_the_trained_network(make: Callable[..., Path], runs: Path) -> None:
    folder = make()
    assert folder.name == NAME
    bundle = load_bundle(folder.parent, NAME)
    trained = torch.load(runs / "tiny" / "interpolated.pt", weights_only=True)
    assert all(torch.equal(value, trained[key]) for key, value in bundle.network.state_dict().items())
    assert bundle.network(torch.rand(1, 1, 8, 12)).shape == (1, 1, 32, 48)
    assert (bundle.version, bundle.metadata["name"]) == ("0.1.0", "Brain MRI super-resolution x4: TinyGAN")
    assert 'Nobody, "Small: Networks", Journal 1 (arXiv:0000.00001)' in bundle.metadata["references"]
    card = (folder / "docs" / "README.md").read_text()
    for text in (
        "A second sentence.",
        "are 0.8 of the adversarial stage's and 0.2 of",
        "| pixel | 3 |",
        "| adversarial | 3 | pixel 1, adversarial 0.01; least squares",
        "2 patches of 32x32",
        "seed 3",
        "Rician noise",
        "random weights",
        NOT_MEASURED,
    ):
        assert text in card
    assert "$" not in card.replace("$ACUITY_DATA", "")


def test_its_training_is_that_of_the_command(trained: Path, make: Callable[..., Path], tmp_path: Path) -> None:
    """Both stages, run from configs/train.json, end with the very weights that ``acuity train sr`` gave."""
    folder = make()
    split = json.loads((trained / "runs" / "tiny" / "split.json").read_text())
    slices = {f"{part}_slices": read_slices(trained / "data", cases=split[part]) for part in ("train", "validation")}
    monai.bundle.run(
        config_file=str(folder / "configs" / "train.json"),
        meta_file=str(folder / "configs" / "metadata.json"),
        output_dir=str(tmp_path / "again"),
        device="cpu",
        **slices,
    )
    for ours, theirs in (
        ("pixel/best.pt", "pixel_srresnet_bsrgan_mri/best.pt"),
        ("adversarial/interpolated.pt", "tiny/interpolated.pt"),
    ):
        found = torch.load(tmp_path / "again" / ours, weights_only=True)
        wanted = torch.load(trained / "runs" / theirs, weights_only=True)
        assert all(torch.equal(found[key], value) for key, value in wanted.items())


def test_repeating_changes_nothing_and_versions_are_remembered(make: Callable[..., Path]) -> None:
    folder = make()
    before = contents(folder)
    assert contents(make()) == before
    make("0.2.0")
    metadata = read_json(folder, "metadata")
    assert metadata["version"] == "0.2.0"
    assert list(metadata["changelog"]) == ["0.1.0", "0.2.0"]
    assert metadata["changelog"]["0.2.0"].startswith("weights of 3 + 3 iterations")


@pytest.mark.parametrize(
    ("perceptual", "mean", "difference"),
    [("0.25", "0.2500", "-0.2500 (-0.2500 to -0.2500)"), ("", "not available", "not available")],
)
def test_figures_are_means_over_slices_and_differences_over_cases(
    perceptual: str, mean: str, difference: str, make: Callable[..., Path], tmp_path: Path
) -> None:
    make()
    sha256 = load_bundle(tmp_path / "bundles", NAME).weights_sha256
    card = (make(scores=write_scores(tmp_path / "scores", sha256, perceptual)) / "docs" / "README.md").read_text()
    assert NOT_MEASURED not in card and "| knee |" not in card
    assert f"| brain | bicubic | 29.00 | 0.9000 | 0.5000 |\n| brain | tiny | 31.00 | 0.9500 | {mean} |" in card
    assert "Brain: 4 slices of 2 cases, made coarse by bicubic shrinking" in card
    assert "PSNR in dB +2.00 (" in card and f"perceptual distance {difference}." in card


@pytest.mark.parametrize(
    ("format_name", "owner"), [("SRGAN with tanh", "Hao Ren"), ("SRResCGAN or SRResCycGAN", "Rao Muhammad Umer")]
)
def test_published_weights_bring_their_license(
    make: Callable[..., Path], runs: Path, format_name: str, owner: str
) -> None:
    file = runs / PIXEL / "settings.json"
    change(file, initial_weights=PUBLISHED | {"format": format_name})
    folder = make()
    (text,) = (path.read_text() for path in folder.glob("LICENSE-*"))
    assert owner in text and "MIT License" in text
    card = (folder / "docs" / "README.md").read_text()
    assert "`net.pth`" in card and "under the MIT license: see `LICENSE-" in card
    assert read_json(folder, "train")["initial_weights"] == "$os.path.join(@weights_dir, 'net.pth')"
    change(file, initial_weights=None)
    make()
    assert not list(folder.glob("LICENSE-*"))


def test_rounds_of_the_pixel_stage_are_summed_and_the_first_start_is_named(
    make: Callable[..., Path], runs: Path, tmp_path: Path
) -> None:
    earlier = Path(shutil.copytree(runs, tmp_path / "earlier"))
    change(earlier / PIXEL / "settings.json", initial_weights=PUBLISHED | {"format": "SRGAN with tanh"})
    change_weights(earlier / PIXEL / "best.pt", lambda value: value + 1)
    digest = file_sha256(earlier / PIXEL / "best.pt")
    change(runs / PIXEL / "settings.json", initial_weights=OWN | {"sha256": digest})
    with pytest.raises(DataError, match="in the format of Acuity"):
        make()
    folder = make("0.2.0", earlier=[tmp_path / "other", earlier])
    card = (folder / "docs" / "README.md").read_text()
    assert "`net.pth`" in card and "| pixel | 3 + 3 |" in card and "in 2 rounds" in card
    config = read_json(folder, "train")
    assert [config[f"{stage}_iterations"] for stage in ("pixel", "adversarial")] == [6, 3]
    assert config["initial_weights"] == "$os.path.join(@weights_dir, 'net.pth')"
    assert "weights of 3 + 3 + 3 iterations" in read_json(folder, "metadata")["changelog"]["0.2.0"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            lambda runs: change(runs / "tiny" / "settings.json", iterations=30),
            "3 of 30 iterations of stage adversarial",
        ),
        (
            lambda runs: change(runs / PIXEL / "settings.json", initial_weights=OWN),
            "from own.pt, in the format of Acuity",
        ),
        (forget_start, "lacks initial_weights"),
        (lambda runs: change_weights(runs / PIXEL / "best.pt", lambda value: value + 1), "trained from other weights"),
        (lambda runs: change(runs / "tiny" / "settings.json", seed=4), r"differ in seed: \[3, 4\]"),
        (lambda runs: change_weights(runs / "tiny" / "interpolated.pt", Tensor.half), "other numbers than float32"),
        (
            lambda runs: torch.save({"a": torch.zeros(64)}, runs / "tiny" / "interpolated.pt"),
            "fit the generator of tiny",
        ),
        (lambda runs: torch.save({"a": torch.zeros(3_000_001)}, runs / "tiny" / "interpolated.pt"), "most 12000000"),
        (lambda runs: (runs / "tiny" / "interpolated.pt").unlink(), "There is no .*interpolated.pt"),
    ],
)
def test_what_cannot_be_released_is_refused(
    fault: Callable[[Path], object], message: str, make: Callable[..., Path], runs: Path, tmp_path: Path
) -> None:
    fault(runs)
    with pytest.raises(DataError, match=message):
        make()
    assert not (tmp_path / "bundles").exists()  # nothing is written before all is checked


def test_scores_of_other_weights_are_refused(make: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="A bundle states what was measured with its own weights"):
        make(scores=write_scores(tmp_path / "scores", "0" * 64))


def test_a_recipe_without_citation_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plain.yaml").write_text("# A network.\n" + RECIPE.partition("sentence.\n")[2])
    with pytest.raises(DataError, match="Cite the paper"):
        read_method(tmp_path / "plain.yaml")


def test_the_command_line_names_bundles_and_refusals(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--bundles", str(tmp_path), "--version", "0.1.0", "--recipes", str(trained / "recipes")]
    assert main(["--runs", str(trained / "runs"), *words]) == 0
    assert capsys.readouterr().out == f"{tmp_path / NAME}\n"
    assert main(["--runs", str(tmp_path / "nowhere"), *words]) == DataError.exit_code
    assert "Train the method with `acuity train sr`" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--runs", str(trained / "runs"), *words[:2], "--version", "1"])
