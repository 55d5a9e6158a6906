"""Loading bundles: what is checked, and that weights cannot run code."""

import hashlib
import json
import os
import pickle
from dataclasses import asdict

import pytest
import torch

from acuity.errors import BundleError, BundleNotFoundError
from acuity.imaging.regions import Postprocessing
from acuity.models.bundle import load_bundle
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


def add_choices(models, choices):
    path = models / "small" / "configs" / "inference.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"choices": choices}))


def test_the_postprocessing_is_the_bundle_s_own(models):
    assert load_bundle(models, "small").postprocessing == Postprocessing()
    wanted = Postprocessing(
        temperatures=(1, 2, 1.5),
        thresholds=(0.4, 0.5, 0.5),
        smallest_part=0.2,
        smallest_part_ml=0.1,
        least_peak=0.8,
        least_enhancing_ml=0.05,
        enclosed_core=False,
    )
    add_choices(models, {"_target_": "acuity.imaging.regions.Postprocessing", **asdict(wanted)})
    assert load_bundle(models, "small").postprocessing == wanted


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"_target_": "acuity.imaging.regions.Postprocessing", "thresholds": [0.5, 2, 0.5]}, "thresholds"),
        ({"_target_": "acuity.imaging.regions.Postprocessing", "least_size": 1}, "least_size"),
        ({"thresholds": [0.5, 0.5, 0.5]}, "choices of configs/inference.json is no Postprocessing"),
    ],
)
def test_choices_that_make_no_sense_are_refused(models, choices, message):
    add_choices(models, choices)
    with pytest.raises(BundleError, match=message):
        load_bundle(models, "small")
