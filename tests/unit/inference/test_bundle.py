"""Loading bundles: what is checked, and that weights cannot run code."""

import hashlib
import json
import os
import pickle

import pytest
import torch

from acuity.errors import BundleError, BundleNotFoundError
from acuity.inference.bundle import load_bundle
from acuity.networks.srrescycgan import SRResCycGAN


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "small"
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "metadata.json").write_text(json.dumps({"version": "1.2.3"}))
    (folder / "configs" / "inference.json").write_text(json.dumps({
        "network_def": {"_target_": "acuity.networks.srrescycgan.SRResCycGAN", "features": 8, "blocks": 2}
    }))
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
