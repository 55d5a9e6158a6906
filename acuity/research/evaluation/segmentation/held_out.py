"""What the released networks give for brains that they were not trained on, each member of the ensemble for itself."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from acuity.anatomy import Region
from acuity.errors import BundleError, DataError
from acuity.models.bundle import Bundle
from acuity.models.segmentation import ALL_VIEWS, ONE_VIEW, mean_of_views, suspicious_boxes
from acuity.networks.cascade import CoarseToFine, Ensemble
from acuity.research.sampling.patches import PreparedCase
from acuity.research.sampling.preparation import prepare_cases
from acuity.research.store import file_mark, read_arrays, save_arrays
from acuity.research.synthetic.tumor_free import mirrored_half, tumor_free_phantom

FIRST_PHANTOM = 500  # seed: those for training have higher ones, those for testing lower ones


@dataclass(frozen=True)
class Brain:
    """What networks that did not see a brain in training give for it.

    Parameters
    ----------
    brain : bool (I, J, K)
    target : bool (3, I, J, K), ET, TC, WT; nothing in a brain without a tumor
    fine : logits (3, I, J, K), float16 as they are stored; 0 where the fine network does not look
    coarse : logits (3, I, J, K); None where the coarse network saw the brain: then the fine one looks everywhere
    looked : bool (I, J, K), where the fine network looks
    """

    name: str
    brain: NDArray[np.bool_]
    target: NDArray[np.bool_]
    fine: NDArray[np.float16]
    coarse: NDArray[np.float16] | None
    looked: NDArray[np.bool_]

    def logits(self, weight: float) -> NDArray[np.float32]:
        """(3, I, J, K), of both networks: ``acuity.models.segmentation.coarse_to_fine``'s."""
        if self.coarse is None:
            return self.fine.astype(np.float32)
        logits = self.coarse.astype(np.float32)
        if weight == 0:
            return logits
        fine = self.fine[:, self.looked].astype(np.float32)
        logits[:, self.looked] = fine + np.float32(1 - weight) * np.maximum(logits[:, self.looked] - fine, 0)
        return logits


def held_out_brains(
    model: Bundle, held_out: Seq[Seq[str]], unseen: Seq[str], *, data: Path, phantoms: int, folder: Path
) -> list[Brain]:
    """The cases, their free halves mirrored, which hold no tumor, and phantoms without one, as the networks see them.

    Parameters
    ----------
    model : a coarse-to-fine pair
    held_out : for each member of the fine ensemble the cases that it was not trained on, which are seen by it alone
    unseen : of these, the cases that the coarse network was not trained on; elsewhere it does not count
    data : folder of BraTS cases
    phantoms : how many; neither network saw them
    folder : what was seen is stored there, so that a run that was cut goes on

    Raises
    ------
    BundleError : the fine network has not as many members as ``held_out``
    DataError : no case of ``unseen`` is held out
    """
    if not set(unseen) & {name for names in held_out for name in names}:
        raise DataError(
            f"None of the {len(unseen)} cases that the coarse network has not seen is held out from a fine one.",
            rule="By these the weight of the two networks is chosen.",
            remedy="Name cases of `held_out` that the coarse network was not trained on.",
        )
    members = _members(model, len(held_out))
    seen = []
    for number, (member, names) in enumerate(zip(members, held_out, strict=True)):
        brains: list[tuple[PreparedCase, bool]] = []
        for case in prepare_cases(data, names):
            both = [case, mirrored_half(case)]
            brains += [(one, case.name in unseen) for one in both if one is not None]
        seeds = range(FIRST_PHANTOM, FIRST_PHANTOM + phantoms)[number :: len(members)]
        brains += [(tumor_free_phantom(seed), True) for seed in seeds]
        for case, clean in tqdm(brains, desc=f"brains held out from member {number}"):
            path = folder / "logits" / f"{number}, {case.name}, {'both networks' if clean else 'fine network'}.npz"
            look = partial(see, case, member, model.device, unseen=clean)
            seen.append(stored(path, model.weights_sha256, case, look))
    return seen


def _members(model: Bundle, count: int) -> list[CoarseToFine]:
    """The released network once for each member of its fine ensemble, with that member alone."""
    network: CoarseToFine = model.network  # type: ignore[assignment]
    members = list(network.fine.networks) if isinstance(network.fine, Ensemble) else [network.fine]
    if len(members) != count:
        raise BundleError(
            f"The fine network of {model.name} has {len(members)} members, and {count} lists of cases are given.",
            rule="Each member is judged by the cases that it was not trained on.",
            remedy="Give a list for each, see `held_out` of configs/evaluate.json.",
        )
    return [CoarseToFine(network.coarse, member).eval() for member in members]


@torch.inference_mode()
def see(case: PreparedCase, network: CoarseToFine, device: torch.device, *, unseen: bool) -> Brain:
    """Run both networks, or where the coarse one saw the case in training the fine one alone on all of it."""
    image = case.image.float().to(device)
    boxes: list[tuple[slice, ...]] = [(slice(None),) * 4]
    coarse: NDArray[np.float16] | None = None
    if unseen:
        logits = mean_of_views(network.coarse_logits, image, ALL_VIEWS)
        coarse, boxes = _halved(logits), suspicious_boxes(logits, network.search_logits(image[None]))
    fine = np.zeros((len(Region), *image.shape[1:]), np.float16)
    looked = np.zeros(image.shape[1:], bool)
    for box in boxes:
        fine[box] = _halved(mean_of_views(network.fine_logits, image[box], ONE_VIEW))
        looked[box[1:]] = True
    return _brain(case, fine, coarse, looked)


def stored(path: Path, mark: str, case: PreparedCase, look: Callable[[], Brain]) -> Brain:
    """What an earlier run that was cut has seen, or what is seen now."""
    if file_mark(path) == mark:
        arrays = read_arrays(path)
        return _brain(case, arrays["fine"], arrays.get("coarse"), arrays["looked"])
    brain = look()
    arrays = {"fine": brain.fine, "looked": brain.looked}
    if brain.coarse is not None:
        arrays["coarse"] = brain.coarse
    save_arrays(arrays, path, mark)
    return brain


def _brain(
    case: PreparedCase, fine: NDArray[np.float16], coarse: NDArray[np.float16] | None, looked: NDArray[np.bool_]
) -> Brain:
    inside = (case.image != 0).any(dim=0).numpy()
    return Brain(case.name, inside, case.regions.numpy().astype(bool), fine, coarse, looked)


def _halved(logits: Tensor) -> NDArray[np.float16]:
    return logits.half().cpu().numpy()
