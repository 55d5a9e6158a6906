"""Segmenters: every family behind one call, by networks whose answer is known."""

import numpy as np
import pytest
import torch
from scipy.ndimage import center_of_mass

from acuity.anatomy import Label, Sequence
from acuity.errors import DataError
from acuity.models.segmentation import ALL_VIEWS, LEFT_RIGHT, ONE_VIEW, segment
from acuity.research.segmenters import bundle_segmenter, load_segmenter, network_segmenter, whole_brain_logits
from acuity.resources import config_file
from acuity.volume import Volume
from tests.models.test_segmentation import AFFINES, images, threshold_bundle


class Threshold(torch.nn.Module):
    """Finds what is bright in T1c (ET), T2 (TC) and FLAIR (WT); takes multiples of 16 alone."""

    def __init__(self):
        super().__init__()
        self.dummy = torch.nn.Parameter(torch.zeros(1))

    def forward(self, image):
        assert all(size % 16 == 0 for size in image.shape[2:])
        return (image[:, 1:] - 2) * 8


@pytest.mark.parametrize("name", AFFINES)
def test_the_lesion_is_found_where_it_is(name):
    volumes, brain, truth = images(AFFINES[name])
    result = network_segmenter(Threshold())(volumes, brain)
    np.testing.assert_array_equal(result.labels.array == Label.ENHANCING, truth)
    np.testing.assert_allclose(result.labels.affine, AFFINES[name])


def test_the_lesion_keeps_its_place_on_an_oblique_anisotropic_grid():
    angle = np.deg2rad(25)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.8, -1.2, 3.0])
    affine[:3, 3] = [12, -40, 7]
    volumes, brain, truth = images(affine, lesion=(slice(8, 20), slice(10, 24), slice(5, 12)))
    found = network_segmenter(Threshold())(volumes, brain).labels.array > 0
    center, wanted = ((affine @ [*center_of_mass(mask), 1])[:3] for mask in (found, truth))
    np.testing.assert_allclose(center, wanted, atol=0.6)


def test_a_bundle_is_segmented_as_before():
    volumes, brain, _ = images(np.eye(4))
    found, wanted = bundle_segmenter(threshold_bundle())(volumes, brain), segment(volumes, brain, threshold_bundle())
    np.testing.assert_array_equal(found.labels.array, wanted.labels.array)
    np.testing.assert_array_equal(found.probabilities, wanted.probabilities)


@torch.inference_mode()
def test_views_are_turned_back_before_their_mean():
    """A network that looks to one side alone: the mean over both views looks to both."""
    network = torch.nn.Conv3d(4, 3, 3, padding=1, bias=False)
    image = torch.randn(4, 17, 12, 10)
    one = whole_brain_logits(network, image, ONE_VIEW)
    both = whole_brain_logits(network, image, LEFT_RIGHT)
    torch.testing.assert_close(one, torch.nn.functional.conv3d(image[None], network.weight, padding=1)[0])
    assert not torch.allclose(one, whole_brain_logits(network, image.flip(1), ONE_VIEW).flip(1))
    torch.testing.assert_close(both, whole_brain_logits(network, image.flip(1), LEFT_RIGHT).flip(1))
    every = whole_brain_logits(network, image, ALL_VIEWS)
    torch.testing.assert_close(every, whole_brain_logits(network, image.flip(1, 2, 3), ALL_VIEWS).flip(1, 2, 3))


def test_a_sequence_may_be_missing():
    volumes, brain, truth = images(np.eye(4))
    del volumes[Sequence.T1C]
    result = network_segmenter(Threshold())(volumes, brain)
    np.testing.assert_array_equal(result.labels.array == Label.NECROSIS, truth)


class TestLoading:
    RECIPE = config_file("seg") / "segresnet.yaml"

    def test_weights_of_another_network_are_refused(self, tmp_path):
        torch.save(torch.nn.Conv3d(4, 3, 1).state_dict(), tmp_path / "other.pt")
        with pytest.raises(DataError, match="other.pt does not fit the network of the recipe segresnet"):
            load_segmenter(self.RECIPE, tmp_path / "other.pt")

    def test_what_holds_no_weights_is_refused(self, tmp_path):
        (tmp_path / "other.pt").write_bytes(b"nothing of the kind")
        torch.save([1, 2], tmp_path / "list.pt")
        for name, message in (
            ("other.pt", "cannot be read as weights"),
            ("absent.pt", "cannot be read as weights"),
            ("list.pt", "does not fit"),
        ):
            with pytest.raises(DataError, match=message):
                load_segmenter(self.RECIPE, tmp_path / name)

    def test_an_unknown_recipe_is_refused(self, tmp_path):
        torch.save({}, tmp_path / "empty.pt")
        with pytest.raises(DataError, match="There is no recipe resnet"):
            load_segmenter(self.RECIPE.with_name("resnet.yaml"), tmp_path / "empty.pt")


def test_the_shape_of_the_weights_tells_the_size(tmp_path):
    """Compact or as published: a recipe of its own, small in both."""
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(
        "recipe:\n  network: {_target_: torch.nn.Conv3d, in_channels: 4, out_channels: 3, padding: same,"
        ' kernel_size: "$1 if @compact else 3"}\n'
    )
    volumes, brain, _ = images(np.eye(4))
    volumes = {sequence: Volume(volume.array, volume.affine) for sequence, volume in volumes.items()}
    for kernel in (1, 3):
        network = torch.nn.Conv3d(4, 3, kernel, padding="same")
        torch.save(network.state_dict(), tmp_path / "best.pt")
        found = load_segmenter(recipe, tmp_path / "best.pt", device="cpu")(volumes, brain)
        np.testing.assert_allclose(found.probabilities, network_segmenter(network)(volumes, brain).probabilities)
