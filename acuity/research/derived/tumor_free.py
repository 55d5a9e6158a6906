"""Cases without a tumor, laid out as BraTS's: healthy halves of BraTS cases, mirrored, and phantoms."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from acuity.errors import DataError
from acuity.pipeline.result import software
from acuity.research.derived.sets import Case, Original, complete_set
from acuity.research.synthetic.phantom import make_phantom
from acuity.research.synthetic.tumor_free import CLEARANCE, FIRST_SEED, mirrored_volumes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mirrored:
    """The half without the tumor and its mirror image; a case whose tumor is in both halves is left out."""

    @property
    def description(self) -> dict[str, object]:
        """As ``Derivation`` says."""
        return {
            "kind": "mirrored",
            "images": "the half that the tumor leaves free and its mirror image, on the case's own grid; without "
            f"cases whose tumor comes within {CLEARANCE:g} mm of the plane between the halves",
            "labels": "0",
        }

    def __call__(self, case: Case) -> Case | None:
        """See the class; what is left out is said in the log.

        Raises
        ------
        DataError : the case has no labels
        """
        if case.labels is None:
            raise DataError(
                f"{case.name} has no labels.",
                rule="The half without the tumor is known from the labels.",
                remedy="Leave the case out.",
            )
        images = mirrored_volumes(case.images, case.labels)
        if images is None:
            logger.warning("%s is left out: its tumor reaches into both halves, or near to the other", case.name)
            return None
        return Case(case.name, images, case.labels.with_array(np.zeros_like(case.labels.array)))


@dataclass(frozen=True)
class _Phantoms:
    """Phantoms as they are."""

    tumor: bool

    @property
    def description(self) -> dict[str, object]:
        """As ``Derivation`` says."""
        return {
            "kind": "phantoms",
            "tumor": self.tumor,
            "images": "stripped ICBM152 brains painted as the four sequences, 1 mm; the case's number is the seed",
            "labels": "of the tumor that was grown" if self.tumor else "0",
        }

    def __call__(self, case: Case) -> Case:
        """Nothing is changed."""
        return case


def make_phantoms(output: Path, count: int, *, tumor: bool, command: str) -> Path:
    """Make the phantoms phantom_000 and on that are not there yet.

    Parameters
    ----------
    tumor : whether one is grown in each
    output, command, and what is returned and raised : as ``acuity.research.derived.sets.make_set`` has them

    Raises
    ------
    DataError : so many that those to train on would be among them
    """
    if count > FIRST_SEED:
        raise DataError(
            f"{count} phantoms are asked for.",
            rule=f"Networks are trained on phantoms from number {FIRST_SEED} on.",
            remedy=f"Make {FIRST_SEED} at most.",
        )
    derivation = _Phantoms(tumor)
    originals = [
        Original(f"phantom_{seed:03d}", True, partial(str, seed), partial(_phantom_case, seed, tumor))
        for seed in range(count)
    ]
    recipe = derivation.description | {"acuity": software()["acuity"]}
    return complete_set(output, recipe, originals, derivation, command=command)


def _phantom_case(seed: int, tumor: bool) -> Case:
    phantom = make_phantom(seed=seed, tumor=tumor)
    return Case(f"phantom_{seed:03d}", phantom.volumes, phantom.labels)
