"""RankSRGAN's training data: outputs of several networks for the same patches, ordered by a score.

Zhang, Liu, Dong, Qiao, "RankSRGAN: Generative Adversarial Networks with Ranker for Image Super-Resolution",
ICCV 2019 (arXiv:1908.06382), section 3.2: outputs of SRResNet, SRGAN and ESRGAN, scored by NIQE.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from acuity.errors import DataError, any_as_data_error
from acuity.research.datasets.slice_sets import ImageSlice, draw_hr_patches

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RankingSet(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Pairs of images with a known order.

    Parameters
    ----------
    names : the M networks
    images : float16 (P, M, 1, S, S), 0 to 1; the outputs of each network for P patches
    scores : float32 (P, M); higher is worse
    """

    names: list[str]
    images: Tensor
    scores: Tensor

    @cached_property
    def pairs(self) -> list[tuple[int, int, int]]:
        """(patch, network, network) of each pair; outputs of equal scores make no pair."""
        return [
            (patch, a, b)
            for patch, row in enumerate(self.scores.tolist())
            for a, b in combinations(range(len(row)), 2)
            if row[a] != row[b]
        ]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Two outputs for one patch, float32 (1, S, S) each, and 1 if the first is worse, -1 if the second is.

        The number is the ``target`` of ``torch.nn.functional.margin_ranking_loss`` on the ranker's scores.
        """
        patch, a, b = self.pairs[n]
        worse = torch.sign(self.scores[patch, a] - self.scores[patch, b])
        return self.images[patch, a].float(), self.images[patch, b].float(), worse


@torch.no_grad()
def make_ranking_set(
    networks: Mapping[str, Callable[[Tensor], Tensor]],
    slices: Seq[ImageSlice],
    score: Callable[[NDArray[np.float32]], float],
    path: Path,
    *,
    degrade: Callable[[Tensor], Tensor],
    count: int,
    size: int = 128,
    seed: int = 0,
) -> Path:
    """Run every network on the same patches, score the outputs, and write both for ``read_ranking_set``.

    A patch is left out if one of its scores is not finite or raises DataError (NIQE of mostly background).

    Parameters
    ----------
    networks : two or more; each maps (1, 1, h, w), which ``degrade`` gives, to (1, 1, size, size), 0 to 1
    score : of (size, size), 0 to 1; higher is worse (NIQE in the paper)
    path : of the .pt file to write: a dict of names, images and scores
    degrade : maps (1, 1, size, size) to its low resolution
    count : number of patches drawn from ``slices``
    size : 128 in the paper

    Raises
    ------
    ValueError : fewer than two networks, or an output of another size
    DataError : no patch has finite scores
    """
    if len(networks) < 2:
        raise ValueError(f"networks has {len(networks)} entry; a ranking needs two or more")
    rng = np.random.default_rng(seed)
    images: list[Tensor] = []
    scores: list[list[float]] = []
    for _ in tqdm(range(count), desc="ranking patches", mininterval=5):
        lr = degrade(draw_hr_patches(slices, 1, size, rng))
        # Halved before scoring, so that the scores are of the images that are kept.
        outputs = [network(lr).clamp(0, 1).half().cpu() for network in networks.values()]
        for name, sr in zip(networks, outputs, strict=True):
            if sr.shape != (1, 1, size, size):
                raise ValueError(f"{name} gives {tuple(sr.shape)}; it must give (1, 1, {size}, {size})")
        row = [_scored(score, sr[0, 0].float().numpy()) for sr in outputs]
        if np.isfinite(row).all():
            images.append(torch.cat(outputs))
            scores.append(row)
    if not images:
        raise DataError(
            f"None of {count} patches has finite scores.",
            rule="A ranking needs scores.",
            remedy="Use larger patches, or slices with more signal.",
        )
    logger.info("%d of %d patches are ranked", len(images), count)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    torch.save({"names": list(networks), "images": torch.stack(images), "scores": torch.tensor(scores)}, partial)
    os.replace(partial, path)
    return path


def _scored(score: Callable[[NDArray[np.float32]], float], image: NDArray[np.float32]) -> float:
    """The score; NaN if ``score`` refuses the image."""
    try:
        return float(score(image))
    except DataError:
        return float("nan")


def read_ranking_set(path: Path) -> RankingSet:
    """Read a file of ``make_ranking_set``.

    Raises
    ------
    DataError : the file is absent or something else
    """
    with any_as_data_error(
        f"{path.name} is no ranking set",
        rule="A ranking set holds names, images (P, M, 1, S, S) and scores (P, M).",
        remedy="Make it again with `acuity train ranker`.",
    ):
        content = torch.load(path, map_location="cpu", weights_only=True)
        ranking = RankingSet(list(content["names"]), content["images"], content["scores"])
        expected = (ranking.scores.shape[0], len(ranking.names))
        if ranking.images.ndim != 5 or not expected == ranking.scores.shape == ranking.images.shape[:2]:
            raise ValueError("shapes disagree")
    return ranking
