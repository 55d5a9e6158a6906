"""Tumors set into other brains."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from acuity.research.sampling.patches import PreparedCase
from acuity.research.sampling.preparation import rescaled
from acuity.research.synthetic import transplant
from acuity.research.synthetic.transplant import Graft, OtherBrains, carve, grafts_of, shrunk, transplanted


def brain(size: tuple[int, int, int], value: float) -> PreparedCase:
    image = torch.full((4, *size), value, dtype=torch.float16)
    return PreparedCase(f"brain {value:g}", image, torch.zeros((3, *size), dtype=torch.uint8))


@pytest.fixture
def as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves values unscaled, so that each can be told."""
    monkeypatch.setattr(transplant, "rescaled", lambda image, reference: image)


@pytest.fixture
def donor() -> PreparedCase:
    case = brain((32, 40, 24), 1.0)
    case.regions[2, 8:16, 10:20, 6:12] = 1
    case.regions[0, 10:12, 12:14, 8:10] = 1
    case.image[:, 8:16, 10:20, 6:12] = 3.0
    return case


@pytest.fixture
def host() -> PreparedCase:
    return brain((32, 40, 24), -1.0)


def graft_of(donor: PreparedCase, margin: int = 3) -> Graft:
    graft = carve(donor, margin)
    assert graft is not None
    return graft


def transplant_into(host: PreparedCase, donor: PreparedCase) -> PreparedCase:
    result = transplanted(graft_of(donor), host)
    assert result is not None
    return result


@pytest.mark.usefixtures("as_they_are")
def test_a_tumor_keeps_its_place_relative_to_the_middle_and_its_values(donor: PreparedCase) -> None:
    result = transplant_into(brain((36, 40, 24), -1.0), donor)
    # Two voxels further along i, as the host is four longer.
    assert torch.nonzero(result.regions[2]).amin(dim=0).tolist() == [10, 10, 6]
    assert torch.equal(result.regions[:, 10:18, 10:20, 6:12], donor.regions[:, 8:16, 10:20, 6:12])
    assert (result.image[:, 10:18, 10:20, 6:12] == 3).all()
    assert result.regions.sum() == donor.regions.sum()


@pytest.mark.usefixtures("as_they_are")
def test_it_fades_into_the_host_which_is_left_as_it_is(donor: PreparedCase, host: PreparedCase) -> None:
    result = transplant_into(host, donor)
    # One voxel off the tumor three quarters are the donor's tissue (1), one is the host's (-1), and so on.
    assert result.image[0, 16:20, 14, 8].tolist() == [0.5, 0.0, -0.5, -1.0]
    assert (host.image == -1).all() and not host.regions.any()


def test_nothing_is_set_outside_the_hosts_brain(donor: PreparedCase, host: PreparedCase) -> None:
    host.image[:, :, :, 11:] = 0  # outside the brain; the tumor's last slice is there
    assert transplanted(graft_of(donor), host) is None
    host.image[:, :, :, 11:] = -1
    host.image[:, :, 19, 11] = 0  # a row of it alone
    result = transplant_into(host, donor)
    assert not result.image[:, :, 19, 11].any()
    assert not result.regions[:, :, 19, 11].any()


def test_brains_are_drawn_with_and_without_a_tumor(donor: PreparedCase, host: PreparedCase) -> None:
    assert carve(host, 3) is None
    others = OtherBrains([host], grafts_of([donor, host], spacing=2.0), graft_share=0.6)
    drawn = [bool(others.draw(np.random.default_rng(n)).regions.any()) for n in range(200)]
    assert np.mean(drawn) == pytest.approx(0.6, abs=0.1)
    assert not OtherBrains([host]).draw(np.random.default_rng(0)).regions.any()


def test_a_tumor_that_does_not_fit_leaves_the_host_free(donor: PreparedCase, host: PreparedCase) -> None:
    host.image[:, :, :, 8:] = 0
    assert OtherBrains([host], grafts_of([donor], spacing=1.0), 1.0).draw(np.random.default_rng(0)) is host


def test_mean_and_deviation_stay_the_hosts(donor: PreparedCase, host: PreparedCase) -> None:
    host.image[:] = torch.randn(host.image.shape, generator=torch.Generator().manual_seed(0)).half()
    result = transplant_into(host, donor)
    before, after = host.image.float().flatten(1), result.image.float().flatten(1)
    torch.testing.assert_close(after.mean(dim=1), before.mean(dim=1), atol=2e-3, rtol=0)
    torch.testing.assert_close(after.std(dim=1), before.std(dim=1), atol=2e-3, rtol=0)
    assert result.image[0, 8:16, 10:20, 6:12].min() > 1.5  # still far brighter than the rest


def test_a_shrunk_tumor_keeps_its_middle_and_its_values(donor: PreparedCase) -> None:
    graft = graft_of(donor, 4)
    small = shrunk(graft, 0.5)
    assert small.regions[2].sum() == graft.regions[2].sum() / 8
    before = torch.nonzero(graft.regions[2]).float().mean(dim=0) + torch.tensor(graft.offset)
    after = torch.nonzero(small.regions[2]).float().mean(dim=0) + torch.tensor(small.offset)
    torch.testing.assert_close(after, before, atol=1.0, rtol=0)
    assert (small.image[0][small.regions[2] > 0] == 3).all()


def test_a_brain_may_get_several_tumors(donor: PreparedCase, host: PreparedCase) -> None:
    other = brain((32, 40, 24), 1.0)
    other.regions[2, 22:26, 26:32, 14:20] = 1
    grafts = grafts_of([donor, other], spacing=2.0)
    others = OtherBrains([host], grafts, graft_share=1.0, shrunk_share=0.0, further_share=0.8)
    parts = [ndimage.label(others.draw(np.random.default_rng(n)).regions[2].numpy())[1] for n in range(20)]
    assert set(parts) == {1, 2}


def test_what_is_outside_the_brain_stays_zero_and_does_not_count() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn((4, 16, 18, 20), generator=generator).half()
    image[:, :, :, 12:] = 0
    reference = (torch.randn((4, 10, 12, 14), generator=generator) * 0.5 + 0.3).half()
    reference[:, :3] = 0
    result = rescaled(image, reference)
    assert not result[:, :, :, 12:].any()
    for found, wanted in zip(result[:, :, :, :12].float().flatten(1), reference[:, 3:].float().flatten(1), strict=True):
        torch.testing.assert_close(found.mean(), wanted.mean(), atol=2e-3, rtol=0)
        torch.testing.assert_close(found.std(), wanted.std(), atol=2e-3, rtol=0)
