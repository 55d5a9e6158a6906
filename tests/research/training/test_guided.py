"""Super-resolution guided by a frozen segmenter: the clinical chain's patches, whom gradients reach, and resuming."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

from acuity.anatomy import Sequence
from acuity.errors import BundleError, DataError
from acuity.imaging.forward_model import SliceProfile
from acuity.imaging.intensity import zscore
from acuity.models import super_resolution
from acuity.models.bundle import Bundle
from acuity.networks.srrescycgan import SRResCycGAN
from acuity.networks.srresnet import SRResNet
from acuity.research.datasets.brats import brain_box
from acuity.research.losses.segmentation import dice_cross_entropy_loss
from acuity.research.training.guided import Guidance, gains, guided_losses, read_segmenter, refined, total_loss, train
from acuity.research.training.guided_patches import (
    MARGIN,
    GuidedPatch,
    ScaledCase,
    VolumeDegradation,
    draw_degradation,
    draw_patch,
    scaled,
)
from acuity.research.training.loop import CHECKPOINT
from acuity.research.training.super_resolution import SETTINGS
from acuity.volume import Volume

X2 = VolumeDegradation((2.0, 2.0, 2.0), "cubic")
BOTH = Guidance(segmentation=0.5, agreement=0.5)
SHAPE = (36, 34, 32)


def texture(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Smooth, positive and with detail that a halved resolution loses."""
    rough = np.random.default_rng(seed).normal(size=shape)
    smooth = ndimage.gaussian_filter(rough, 1.0)
    return (100 + 20 * smooth / smooth.std()).clip(10, None).astype(np.float32)


@pytest.fixture(scope="module")
def images() -> dict[Sequence, Volume]:
    """A brain in a frame of zeros, with a vessel far brighter than all else."""
    volumes = {}
    for seed, sequence in enumerate(Sequence):
        array = texture(seed)
        array[20, 20, 10:14] = 2000
        for axis, side in itertools.product(range(3), (slice(None, 2), slice(-3, None))):
            np.moveaxis(array, axis, 0)[side] = 0
        volumes[sequence] = Volume(array, np.eye(4))
    return volumes


@pytest.fixture(scope="module")
def labels() -> Volume:
    array = np.zeros(SHAPE, dtype=np.uint8)
    array[8:16, 10:18, 12:20] = 2
    array[10:14, 12:16, 14:18] = 4
    array[11:13, 13:15, 15:17] = 1
    return Volume(array, np.eye(4))


@pytest.fixture(scope="module")
def case(images: dict[Sequence, Volume], labels: Volume) -> ScaledCase:
    return scaled("tiny", images, labels)


def patch_of(case: ScaledCase, degradation: VolumeDegradation = X2, size: int = 8) -> GuidedPatch:
    return draw_patch(case, (size, size, size), 1.0, degradation, np.random.default_rng(0))


def generator() -> SRResCycGAN:
    torch.manual_seed(0)
    return SRResCycGAN(features=4, blocks=1)


def segmenter() -> nn.Module:
    torch.manual_seed(1)
    return nn.Conv3d(4, 3, 3, padding=1).requires_grad_(False)


def test_zscores_are_the_whole_brain_s_cut_to_the_patch(
    images: dict[Sequence, Volume], labels: Volume, case: ScaledCase
) -> None:
    box = brain_box([image.array for image in images.values()])
    brain = labels.with_array((images[Sequence.T1].array > 0).astype(np.uint8))
    expected = np.stack([zscore(image, brain).array[box] for image in images.values()])
    assert expected.max() == 5  # the vessel is clipped
    patch = patch_of(case)
    windows = sliding_window_view(case.image[0].float().numpy(), patch.size)
    (corner,) = np.argwhere((windows == patch.hr[0].numpy()).all(axis=(3, 4, 5)))
    i, j, k = (slice(c, c + n) for c, n in zip(corner, patch.size, strict=True))
    # float16 holds three digits of an intensity that is several standard deviations.
    np.testing.assert_allclose(patch.scored(patch.hr).numpy(), expected[:, i, j, k], atol=0.01)
    whole = draw_patch(case, SHAPE, 1.0, X2, np.random.default_rng(0))  # larger than the brain: all of it
    np.testing.assert_allclose(whole.scored(whole.hr).numpy(), expected, atol=0.01)


def test_zscores_are_linear_in_the_voxels(case: ScaledCase) -> None:
    patch = patch_of(case)
    step = patch.scored(patch.hr + 0.01) - patch.scored(patch.hr)
    free = (patch.scored(patch.hr).abs() < 4) & (patch.hr > 0)
    torch.testing.assert_close(step[free], (0.01 / case.deviation).expand_as(step)[free], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("factors", "profile"),
    [((2.0, 2.0, 2.0), "cubic"), ((4.0, 1.0, 1.0), "box"), ((1.0, 4.0, 1.0), "box"), ((1.0, 1.0, 4.0), "box")],
)
def test_it_restores_as_the_clinical_chain_does(
    factors: tuple[float, float, float], profile: SliceProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the projection, which has no gradient."""
    monkeypatch.setattr(super_resolution, "make_consistent", lambda result, *_: (result, 0.0, 0.0))
    size = (24, 20, 16)
    low = VolumeDegradation(factors, profile)(torch.from_numpy(texture(0, size))[None])
    volume = Volume(low[0].numpy(), np.diag([*factors, 1.0]))
    bundle = Bundle("any", "0", generator(), "", {})
    mask = volume.with_array(np.ones(volume.shape, dtype=np.uint8))
    expected = super_resolution.super_resolve(volume, bundle.network, mask=mask).volume.array
    assert expected.shape == size
    end = float(np.percentile(volume.array, 99.9))
    with torch.no_grad():
        found = refined(low / end, size, bundle.network)[0].numpy() * end
        plain = refined(low / end, size, nn.Identity())[0].numpy() * end
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert np.abs(found - plain).max() > 1  # the network did something


def test_thick_slices_are_means_and_halves_keep_the_field_of_view() -> None:
    volume = torch.from_numpy(texture(0, (12, 12, 12)))[None]
    thick = VolumeDegradation((1.0, 4.0, 1.0), "box")(volume)
    torch.testing.assert_close(thick, volume.reshape(1, 12, 3, 4, 12).mean(dim=3))
    assert VolumeDegradation((1.0, 1.0, 5.0), "box")(volume).shape == (1, 12, 12, 2)
    half = X2(volume)
    assert half.shape == (1, 6, 6, 6)
    torch.testing.assert_close(half.mean(), volume.mean(), rtol=0.01, atol=0)


def test_draws_cover_halves_and_thick_slices_of_every_axis() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_degradation(rng) for _ in range(200)]
    thick = np.array([d.factors for d in drawn if d.profile == "box"])
    assert 70 < len(thick) < 130
    assert all(d == X2 for d in drawn if d.profile == "cubic")
    assert ((thick > 1).sum(axis=0) > 15).all() and ((thick > 1).sum(axis=1) == 1).all()
    assert 2.5 <= thick.max(axis=1).min() < 2.8 and 5.7 < thick.max() <= 6


def test_patches_lie_on_the_tumor_as_often_as_asked(case: ScaledCase) -> None:
    rng = np.random.default_rng(0)

    def share(tumor_share: float) -> float:
        patches = [draw_patch(case, (4, 4, 4), tumor_share, X2, rng) for _ in range(40)]
        return float(np.mean([patch.regions[2].any() for patch in patches]))

    assert share(1.0) > share(0.5) > share(0.0)
    patch = patch_of(case, size=10)
    assert patch.size == (10 + 2 * MARGIN,) * 3 and patch.regions.shape == (3, *patch.size)
    assert patch.lr.shape == (4, 9, 9, 9)
    torch.testing.assert_close(patch.hr, patch_of(case, size=10).hr)


@pytest.mark.parametrize("degradation", [X2, VolumeDegradation((1.0, 3.0, 1.0), "box")])
def test_a_network_that_returns_its_input_has_the_loss_of_interpolation(
    case: ScaledCase, degradation: VolumeDegradation
) -> None:
    patch = patch_of(case, degradation)
    found = guided_losses(refined(patch.lr, patch.size, nn.Identity()), patch, segmenter(), BOTH)
    inner = (slice(None), *[slice(MARGIN, -MARGIN)] * 3)
    interpolated = patch.interpolated()
    torch.testing.assert_close(found["pixel"], F.l1_loss(interpolated[inner], patch.hr[inner]))
    logits = segmenter()(torch.stack([patch.scored(image) for image in (interpolated, patch.hr)]))
    expected = dice_cross_entropy_loss(logits[:1][:, *inner], patch.regions[inner][None])
    torch.testing.assert_close(found["segmentation"], expected)
    first, second = logits.sigmoid()[:, *inner]
    torch.testing.assert_close(found["agreement"], (first - second).square().mean())
    nothing = gains(nn.Identity(), segmenter(), {"x2": [patch]})
    assert set(nothing) == {"psnr_gain_x2", "segmentation_gain_x2", "segmentation_gain"}
    assert list(nothing.values()) == pytest.approx([0, 0, 0], abs=1e-4)


def test_half_the_error_gains_six_decibels(case: ScaledCase) -> None:
    patch = patch_of(case, VolumeDegradation((1.0, 1.0, 4.0), "box"))

    class HalfAsWrong(nn.Module):
        def forward(self, slices: Tensor) -> Tensor:
            return (slices + patch.hr.reshape(slices.shape)) / 2  # slices across i follow one another

    found = gains(HalfAsWrong(), segmenter(), {"thick": [patch]})
    assert found["psnr_gain_thick"] == pytest.approx(20 * np.log10(2), abs=1e-3)


@pytest.mark.parametrize("loss", ["pixel", "segmentation", "agreement"])
def test_gradients_of_each_loss_reach_the_network_alone(case: ScaledCase, loss: str) -> None:
    network, frozen, patch = generator(), segmenter(), patch_of(case)
    guided_losses(refined(patch.lr, patch.size, network), patch, frozen, BOTH)[loss].backward()
    for name, parameter in network.named_parameters():
        if name != "alpha":  # of the projection that the clinical chain leaves out
            assert parameter.grad is not None and parameter.grad.any(), name
    assert all(parameter.grad is None for parameter in frozen.parameters())


def test_what_has_no_weight_is_not_computed(case: ScaledCase) -> None:
    patch = patch_of(case)
    assert set(guided_losses(patch.interpolated(), patch, nn.Module(), Guidance())) == {"pixel"}
    assert set(guided_losses(patch.interpolated(), patch, segmenter(), Guidance(agreement=1.0))) == {
        "pixel",
        "agreement",
    }
    losses = {"pixel": torch.tensor(1.0), "segmentation": torch.tensor(2.0), "agreement": torch.tensor(3.0)}
    assert total_loss(losses, Guidance(segmentation=0.1, agreement=0.01)).item() == pytest.approx(1.23)


class Sharpener(nn.Module):
    """Adds one convolution to its input; none at first."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
        nn.init.zeros_(self.conv.weight)

    def forward(self, slices: Tensor) -> Tensor:
        return slices + self.conv(slices)


@pytest.mark.parametrize("guidance", [Guidance(), Guidance(segmentation=10.0), Guidance(agreement=1000.0)])
def test_steps_lower_the_losses_on_a_patch(case: ScaledCase, guidance: Guidance) -> None:
    """The pixel loss alone; and by heavy weights each of the segmenter's."""
    network, frozen, patch = Sharpener(), segmenter(), patch_of(case)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-4)
    totals = []
    for _ in range(30):
        losses = guided_losses(refined(patch.lr, patch.size, network), patch, frozen, guidance)
        total = total_loss(losses, guidance)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.995 * totals[0]


def run(folder: Path, case: ScaledCase, iterations: int, **options: object) -> Path:
    return train(
        generator(),
        segmenter(),
        [case],
        [case],
        guidance=BOTH,
        folder=folder,
        iterations=iterations,
        patch=(8, 8, 8),
        device="cpu",
        **options,
    )  # type: ignore[arg-type]


def test_a_resumed_run_equals_an_uninterrupted_one(case: ScaledCase, tmp_path: Path) -> None:
    run(tmp_path / "whole", case, 4)
    run(tmp_path / "cut", case, 2)
    best = torch.load(run(tmp_path / "cut", case, 4), weights_only=True)
    assert set(best) == set(generator().state_dict())
    # Within the warm-up, so that the length of the run does not change the rates.
    states = [torch.load(tmp_path / name / CHECKPOINT, weights_only=True)["state"] for name in ("whole", "cut")]
    for part in ("network", "average"):
        for key, value in states[0][part].items():
            torch.testing.assert_close(states[1][part][key], value, atol=1e-7, rtol=1e-6)
    start = generator().state_dict()
    assert any(not torch.equal(start[key], value) for key, value in states[0]["network"].items())
    settings = json.loads((tmp_path / "cut" / SETTINGS).read_text())
    assert settings["guidance"] == {"segmentation": 0.5, "agreement": 0.5}
    assert settings["segmenter"] == {"network": "Conv3d", "parameters": 4 * 3 * 27 + 3}
    assert settings["cases"] == ["tiny"]


def test_training_leaves_the_segmenter_as_it_is(case: ScaledCase, tmp_path: Path) -> None:
    frozen = segmenter().train().requires_grad_(True)
    before = {key: value.clone() for key, value in frozen.state_dict().items()}
    train(
        generator(), frozen, [case], [case], guidance=BOTH, folder=tmp_path, iterations=1, patch=(8, 8, 8), device="cpu"
    )
    assert all(torch.equal(before[key], value) for key, value in frozen.state_dict().items())
    assert not frozen.training and not any(parameter.requires_grad for parameter in frozen.parameters())


def test_weights_of_another_network_are_refused(case: ScaledCase, tmp_path: Path) -> None:
    torch.save(SRResNet(features=8, blocks=2).state_dict(), tmp_path / "other.pt")
    with pytest.raises(DataError, match="other.pt holds SRResNet with 8 features and 2 blocks"):
        run(tmp_path / "run", case, 1, initial_weights=tmp_path / "other.pt")


def test_a_bundle_without_a_fine_network_cannot_guide(repository: Path) -> None:
    with pytest.raises(BundleError, match="The network of the bundle .* is SRResCycGAN.*brain_tumor_segmentation"):
        read_segmenter(repository / "bundles" / "brain_mri_super_resolution")
