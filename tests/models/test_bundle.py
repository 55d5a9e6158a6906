"""Loading bundles: what is checked, and that weights cannot run code."""

import hashlib
import json
import os
import pickle
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser

from acuity.errors import BundleError, BundleNotFoundError
from acuity.imaging.regions import DEFAULT, Postprocessing
from acuity.models.bundle import load_bundle
from acuity.models.inferers import CoarseToFineInferer, SuperResolutionInferer
from acuity.models.transforms import BrainZScored
from acuity.networks.srrescycgan import SRResCycGAN


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "small"
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "metadata.json").write_text(json.dumps({"version": "1.2.3"}))
    (folder / "configs" / "inference.json").write_text(
        json.dumps({"network_def": {"_target_": "acuity.networks.srrescycgan.SRResCycGAN", "features": 8, "blocks": 2}})
    )
    torch.manual_seed(0)
    torch.save(SRResCycGAN(features=8, blocks=2).state_dict(), folder / "models" / "model.pt")
    return tmp_path


def test_a_bundle_is_ready_to_run(models):
    bundle = load_bundle(models, "small")
    weights = (models / "small" / "models" / "model.pt").read_bytes()
    assert (bundle.version, bundle.weights_sha256) == ("1.2.3", hashlib.sha256(weights).hexdigest())
    assert not bundle.network.training
    assert bundle.network(torch.rand(1, 1, 8, 8)).shape == (1, 1, 8, 8)


def test_a_bundle_that_others_can_change_comes_with_a_warning(models):
    """Its configuration is code: what MONAI evaluates there runs as this account."""
    config = models / "small" / "configs" / "inference.json"
    bundle = load_bundle(models, "small")
    assert bundle.warnings == ()
    assert bundle.config_sha256 == hashlib.sha256(config.read_bytes()).hexdigest()
    config.parent.chmod(0o777)
    (warning,) = load_bundle(models, "small").warnings
    assert "other accounts" in warning and "configs" in warning and str(models) not in warning


def test_absent_weights_are_named(models):
    (models / "small" / "models" / "model.pt").unlink()
    with pytest.raises(BundleNotFoundError, match="model.pt was not found") as error:
        load_bundle(models, "small")
    assert error.value.exit_code == 50


def test_weights_that_do_not_fit_are_refused(models):
    torch.save(SRResCycGAN(features=16).state_dict(), models / "small" / "models" / "model.pt")
    with pytest.raises(BundleError, match="size mismatch|Unexpected key"):
        load_bundle(models, "small")


class Malice:
    """Unpickling this would run a command."""

    def __reduce__(self):
        return os.system, ("touch pwned",)


@pytest.mark.parametrize("save", [torch.save, lambda obj, path: path.write_bytes(pickle.dumps(obj, protocol=2))])
def test_weights_cannot_run_code(models, save, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save({"weight": Malice()}, models / "small" / "models" / "model.pt")
    with pytest.raises(BundleError):
        load_bundle(models, "small")
    assert not (tmp_path / "pwned").exists()


def test_half_precision_is_for_storage_alone(models):
    weights = models / "small" / "models" / "model.pt"
    state = {name: value.half() for name, value in torch.load(weights, weights_only=True).items()}
    torch.save(state, weights)
    network = load_bundle(models, "small").network
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, state[name].float())


CHOICES = {"_target_": "acuity.imaging.regions.Postprocessing"}
OFF = {"least_peak": 0.0, "enclosed_core": False}


def edit_config(models, **sections):
    path = models / "small" / "configs" / "inference.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | sections))


def test_the_postprocessing_is_the_bundle_s_own(models):
    assert load_bundle(models, "small").postprocessing == Postprocessing()
    wanted = Postprocessing(
        temperatures=(1, 2, 1.5), thresholds=(0.4, 0.5, 0.5), smallest_part=0.2, smallest_part_ml=0.1
    )
    edit_config(models, choices=CHOICES | asdict(wanted) | OFF)  # steps that are gone, as released bundles name them
    assert load_bundle(models, "small").postprocessing == wanted


def test_the_default_removes_the_parts_that_the_release_removes(repository):
    """Temperatures and thresholds are the released network's own."""
    parser = ConfigParser()
    parser.read_config(repository / "bundles" / "brain_tumor_segmentation" / "configs" / "inference.json")
    released = parser.get_parsed_content("choices")
    assert replace(released, temperatures=DEFAULT.temperatures, thresholds=DEFAULT.thresholds) == DEFAULT


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (CHOICES | {"thresholds": [0.5, 2, 0.5]}, "thresholds is .* within 0 to 1"),
        (CHOICES | {"least_size": 1}, "unexpected keyword argument 'least_size'"),
        ({"thresholds": [0.5, 0.5, 0.5]}, "choices of configs/inference.json is no Postprocessing"),
        *[
            (CHOICES | OFF | {name: value}, f"{name} is {value}; that step is gone: remove it, or take a bundle of 0.8")
            for name, value in {"least_peak": 0.98, "enclosed_core": True}.items()
        ],
    ],
)
def test_choices_that_make_no_sense_are_refused(models, choices, message):
    edit_config(models, choices=choices)
    with pytest.raises(BundleError, match=message) as error:
        load_bundle(models, "small")
    assert error.value.code == "invalid-bundle"


def test_a_network_that_is_gone_is_named(models):
    edit_config(models, network_def={"_target_": "acuity.networks.equiunet.CoarseToFine"})
    with pytest.raises(BundleError, match=r"Cannot locate .* 'acuity.networks.equiunet.CoarseToFine'"):
        load_bundle(models, "small")


SLICES = {
    "_target_": "acuity.networks.slicewise.Slices",
    "planes": ["axial", "coronal", "sagittal"],
    "neighbors": 1,
    "network": {"_target_": "acuity.networks.unet2d.UNet2d", "in_channels": 12, "out_channels": 3, "width": 4},
}
# A configuration as it was released: classes where they were before they moved, each network written out.
OLD_CONFIG: dict[str, Any] = {
    "network_def": {
        "_target_": "acuity.networks.cascade.CoarseToFine",
        "coarse": {"_target_": "acuity.networks.equiunet.EquiUnet", "width": 16},
        "fine": {"_target_": "acuity.networks.cascade.Ensemble", "networks": [SLICES, SLICES]},
        "fine_weight": 0.7,
    },
    "choices": CHOICES | OFF,
    "inferer": {"_target_": "acuity.inference.inferers.CoarseToFineInferer"},
    "super_resolver": {"_target_": "acuity.inference.inferers.SuperResolutionInferer", "fusion": True},
    "scored": {"_target_": "acuity.data.transforms.BrainZScored", "keys": "image"},
    "labels": {"_target_": "acuity.data.transforms.RegionsToLabelsd", "keys": "pred", "postprocessing": "@choices"},
}


def test_a_bundle_of_before_the_classes_moved_still_runs(models):
    parser = ConfigParser(OLD_CONFIG)
    assert isinstance(parser.get_parsed_content("inferer"), CoarseToFineInferer)
    assert isinstance(parser.get_parsed_content("super_resolver"), SuperResolutionInferer)
    assert isinstance(parser.get_parsed_content("scored"), BrainZScored)
    assert parser.get_parsed_content("labels").postprocessing == Postprocessing()
    network = parser.get_parsed_content("network_def")
    # One definition of all members makes the same network.
    members = {"_target_": "acuity.networks.cascade.Ensemble", "networks": SLICES, "members": 2}
    one = ConfigParser({"network_def": OLD_CONFIG["network_def"] | {"fine": members}}).get_parsed_content("network_def")
    one.load_state_dict(network.state_dict())
    torch.save(one.state_dict(), models / "small" / "models" / "model.pt")
    (models / "small" / "configs" / "inference.json").write_text(json.dumps(OLD_CONFIG))
    loaded = load_bundle(models, "small").network.state_dict()
    assert list(loaded) == list(one.state_dict())
    torch.testing.assert_close(loaded, network.state_dict())
