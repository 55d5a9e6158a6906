"""2D networks on volumes."""

import torch

from acuity.networks.slicewise import AT_ONCE, AxialSlices
from acuity.networks.unet2d import UNet2d


@torch.inference_mode()
def test_each_axial_slice_is_seen_for_itself():
    torch.manual_seed(0)
    network = UNet2d(width=4).eval()
    volume = torch.randn(2, 4, 32, 64, AT_ONCE - 3)  # more slices in all than are in memory at once
    logits = AxialSlices(network)(volume)
    assert logits.shape == (2, 3, 32, 64, AT_ONCE - 3)
    for n, k in ((0, 0), (0, 5), (1, AT_ONCE - 4)):
        torch.testing.assert_close(logits[n, ..., k], network(volume[n : n + 1, ..., k])[0], atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_any_size_is_taken_and_padded_at_the_far_end():
    sizes = []

    class First(torch.nn.Module):
        def forward(self, image):
            sizes.append(tuple(image.shape[2:]))
            return image[:, 1:]

    volume = torch.randn(1, 4, 19, 33, 7)
    torch.testing.assert_close(AxialSlices(First())(volume), volume[:, 1:])
    assert set(sizes) == {(32, 64)}
