"""The script that puts trained weights into the segmentation's bundle, with networks of one convolution."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from monai.networks.blocks import Convolution

from acuity.errors import DataError
from acuity.models.bundle import load_bundle
from acuity.networks.cascade import CoarseToFine
from acuity.research.sampling.patches import PreparedCase
from tools.release_segmentation import main, release

STAGE = {"_target_": "torch.nn.Conv3d", "in_channels": 4, "out_channels": 3, "kernel_size": 1}
ENSEMBLE = {"_target_": "acuity.networks.cascade.Ensemble", "networks": [STAGE, STAGE]}


def threshold(value: float) -> CoarseToFine:
    """Finds each region where its sequence is above a value."""
    pair = CoarseToFine(torch.nn.Conv3d(4, 3, 1), torch.nn.Conv3d(4, 3, 1))
    for stage in (pair.coarse, pair.fine):
        assert isinstance(stage, torch.nn.Conv3d) and stage.bias is not None
        with torch.no_grad():
            stage.weight.copy_(torch.eye(4)[1:].reshape(3, 4, 1, 1, 1))
            stage.bias.fill_(-value)
    return pair


def write_pair(folder: Path, value: float) -> str:
    torch.save(threshold(value).state_dict(), folder / f"{value}.pt")
    return str(folder / f"{value}.pt")


def write_bundle(folder: Path, stage: dict, fine: dict | None = None) -> Path:
    (folder / "configs").mkdir(parents=True)
    network = {"_target_": "acuity.networks.cascade.CoarseToFine", "coarse": stage, "fine": fine or stage}
    (folder / "configs" / "inference.json").write_text(json.dumps({"network_def": network}))
    (folder / "configs" / "metadata.json").write_text(json.dumps({"version": "1.0.0"}))
    return folder


def block(value: float) -> PreparedCase:
    """A tumor of one intensity."""
    image = torch.zeros(4, 32, 32, 32)
    image[:, 8:24, 8:24, 8:24] = value
    return PreparedCase("block", image.half(), torch.zeros(3, 32, 32, 32, dtype=torch.uint8))


def test_parts_of_trainings_become_the_network_that_the_bundle_defines(tmp_path: Path) -> None:
    """The coarse network of one pair, the fine one of another, and a network that was trained alone."""
    bundle = write_bundle(tmp_path / "bundle", STAGE, fine=ENSEMBLE)
    alone = tmp_path / "alone.pt"
    torch.save(threshold(0.5).fine.state_dict(), alone)
    first, second = write_pair(tmp_path, 1.0), write_pair(tmp_path, 2.5)
    release(bundle, [f"coarse={first}", f"fine.networks.0={second}", f"fine.networks.1={alone}"], [])
    network = load_bundle(tmp_path, "bundle").network
    assert isinstance(network, CoarseToFine)
    image = torch.full((1, 4, 32, 32, 32), 3.0)
    torch.testing.assert_close(network.coarse_logits(image), torch.full((1, 3, 32, 32, 32), 3 - 1.0))
    torch.testing.assert_close(network.fine_logits(image), torch.full((1, 3, 32, 32, 32), 3 - 1.5))


def test_counters_stay_whole_numbers_and_what_half_precision_cannot_hold_is_kept(tmp_path: Path) -> None:
    """Batch normalization counts its batches; a variance of 70,000 would be infinite."""
    stage = {
        "_target_": "monai.networks.blocks.Convolution",
        "spatial_dims": 3,
        "in_channels": 4,
        "out_channels": 3,
        "norm": "batch",
    }
    for number, variance in enumerate((2.0, 70_000.0)):
        coarse, fine = (Convolution(3, 4, 3, norm="batch") for _ in range(2))
        network = CoarseToFine(coarse, fine)
        for name, value in network.state_dict().items():
            for part, filled in {"conv.weight": 0, "conv.bias": 3, "var": variance, "tracked": 2501}.items():
                if name.endswith(part):
                    value.fill_(filled)  # finds all regions everywhere
        torch.save(network.state_dict(), tmp_path / "trained.pt")
        bundle = write_bundle(tmp_path / f"bundle{number}", stage)
        assert ("half precision" in release(bundle, [str(tmp_path / "trained.pt")], [block(6.0)])) == (number == 0)
        stored = torch.load(bundle / "models" / "model.pt", weights_only=True)
        assert stored["fine.adn.N.num_batches_tracked"] == 2501
        assert stored["fine.adn.N.running_var"][0] == variance


def test_of_joined_files_the_mean_is_stored(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", STAGE)
    once, again = write_pair(tmp_path, 1.0), write_pair(tmp_path, 2.0)
    release(bundle, [f"coarse={once}", f"fine={once}+{again}"], [])
    stored = torch.load(bundle / "models" / "model.pt", weights_only=True)
    assert stored["coarse.bias"].tolist() == [-1.0] * 3
    assert stored["fine.bias"].tolist() == [-1.5] * 3


@pytest.mark.parametrize(("intensity", "precision"), [(3.0, "half"), (1.0, "single")])
def test_half_precision_where_it_changes_next_to_no_label(tmp_path: Path, intensity: float, precision: str) -> None:
    """0.9999 is 1 in half precision: then 1 is no longer above it."""
    bundle = write_bundle(tmp_path / "bundle", STAGE)
    case = block(intensity)
    said = release(bundle, [write_pair(tmp_path, 0.9999)], [case])
    assert f"{precision} precision" in said
    dtypes = {value.dtype for value in torch.load(bundle / "models" / "model.pt", weights_only=True).values()}
    assert dtypes == {torch.float16 if precision == "half" else torch.float32}
    bias = load_bundle(tmp_path, "bundle").network.state_dict()["fine.bias"]
    assert bias.dtype == torch.float32
    assert (bias[0] == torch.tensor(-0.9999).half().float()) == (precision == "half")


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (["fine={pair}"], "Weights of coarse are given 0 times"),
        (["{pair}", "coarse={pair}"], "Weights of coarse are given 2 times"),
        (["{pair}", "fine.networks.0={pair}"], "Weights of fine.networks.0 are given 1 times"),
        (["{pair}+{other}"], "other.pt does not hold weights of the part coarse"),
        (["{other}"], "other.pt does not hold weights of the part coarse"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_written(tmp_path: Path, weights: list[str], said: str) -> None:
    bundle = write_bundle(tmp_path / "bundle", STAGE)
    other = tmp_path / "other.pt"
    other.write_bytes(b"nothing of the kind")
    files = {"pair": write_pair(tmp_path, 1.0), "other": other}
    with pytest.raises(DataError, match=said):
        release(bundle, [item.format(**files) for item in weights], [])
    assert not (bundle / "models").exists()


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_bundle(tmp_path / "bundle", STAGE)
    code = main(["--weights", "a.pt", "--bundle", str(bundle), "--data", str(tmp_path / "nowhere")])
    assert code == DataError.exit_code and "nowhere" in capsys.readouterr().err
