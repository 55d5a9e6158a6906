"""The ranker learns an order that it can be told."""

import torch

from acuity.research.datasets.ranking import RankingSet
from acuity.research.training.ranker import accuracy, train


class Mean(torch.nn.Module):
    """Scores by a learned multiple of the mean gray."""

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(-0.01))  # the wrong way round

    def forward(self, image):
        return self.gain * image.mean(dim=(1, 2, 3))[:, None]


def brighter_is_worse(seed):
    images = torch.rand(12, 2, 1, 8, 8, generator=torch.Generator().manual_seed(seed)).half()
    images[:, 1] *= 0.5
    return RankingSet(["a", "b"], images, images.float().mean(dim=(2, 3, 4)))


def test_it_learns_to_order_pairs_and_resumes(tmp_path):
    ranker, held_out = Mean(), brighter_is_worse(1)
    assert accuracy(ranker, held_out, torch.device("cpu")) == 0.0
    for iterations in (20, 60):
        path = train(
            ranker,
            brighter_is_worse(0),
            held_out,
            folder=tmp_path,
            iterations=iterations,
            batch=4,
            learning_rate=0.02,
            validate_every=10,
            device="cpu",
        )
    assert torch.load(path, weights_only=True)["gain"] > 0
    assert accuracy(ranker, held_out, torch.device("cpu")) == 1.0
