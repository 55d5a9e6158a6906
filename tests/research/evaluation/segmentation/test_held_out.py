"""What is chosen by: both networks' logits as they are released, but for what either saw in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from acuity.errors import BundleError, DataError
from acuity.models.bundle import Bundle
from acuity.models.segmentation import ONE_VIEW, coarse_to_fine, mean_of_views
from acuity.networks.cascade import CoarseToFine, Ensemble
from acuity.research.evaluation.segmentation import held_out as segmentation_held_out
from acuity.research.evaluation.segmentation.held_out import Brain, _members, held_out_brains, see, stored
from acuity.research.sampling.patches import PreparedCase


def random_network(members: int = 1) -> CoarseToFine:
    torch.manual_seed(0)
    fine = Ensemble([torch.nn.Conv3d(4, 3, 3, padding=1) for _ in range(members)])
    return CoarseToFine(torch.nn.Conv3d(4, 3, 3, padding=1), fine).eval()


def random_case() -> PreparedCase:
    return PreparedCase("case", torch.randn(4, 17, 14, 12).half(), torch.zeros(3, 17, 14, 12, dtype=torch.uint8))


@torch.inference_mode()
def test_what_is_chosen_by_is_what_is_released(tmp_path: Path) -> None:
    network, case = random_network(), random_case()
    seen = see(case, network, torch.device("cpu"), unseen=True)
    path = tmp_path / "0.npz"
    again = [
        stored(path, "mark", case, lambda: seen),
        stored(path, "mark", case, lambda: pytest.fail("it was seen already")),
    ]
    for weight in (0.0, 0.3, 1.0):
        network.fine_weight = weight
        expected = coarse_to_fine(case.image.float(), network).numpy()
        for brain in (seen, *again):
            np.testing.assert_allclose(brain.logits(weight), expected, atol=5e-3)


@torch.inference_mode()
def test_where_the_coarse_network_saw_the_case_it_neither_finds_nor_counts(tmp_path: Path) -> None:
    network, case = random_network(), random_case()
    torch.nn.init.constant_(network.coarse.bias, -50)  # type: ignore[arg-type]
    expected = mean_of_views(network.fine_logits, case.image.float(), ONE_VIEW).numpy()
    seen = see(case, network, torch.device("cpu"), unseen=False)
    for brain in (
        seen,
        stored(tmp_path / "0.npz", "mark", case, lambda: seen),
        stored(tmp_path / "0.npz", "mark", case, pytest.fail),
    ):
        np.testing.assert_allclose(brain.logits(0.3), expected, atol=5e-3)
    nothing = see(case, network, torch.device("cpu"), unseen=True)
    assert not nothing.looked.any() and (nothing.logits(1.0) < -20).all()


class Reader:
    """Cases of one brain each, and the networks that saw them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        monkeypatch.setattr(segmentation_held_out, "prepare_cases", lambda _, names: list(map(self.case, names)))
        monkeypatch.setattr(segmentation_held_out, "mirrored_half", lambda case: None)
        monkeypatch.setattr(segmentation_held_out, "tumor_free_phantom", lambda seed: self.case(f"phantom {seed}"))
        monkeypatch.setattr(segmentation_held_out, "see", self.see)

    def case(self, name: str) -> PreparedCase:
        return PreparedCase(name, torch.ones(4, 2, 2, 2).half(), torch.zeros(3, 2, 2, 2, dtype=torch.uint8))

    def see(self, case: PreparedCase, network: CoarseToFine, device: torch.device, *, unseen: bool) -> Brain:
        self.seen.append(f"{case.name}{'' if unseen else ', fine alone'}")
        fine = np.full((3, 2, 2, 2), len(self.seen), np.float16)
        return Brain(
            case.name, np.ones((2, 2, 2), bool), np.zeros((3, 2, 2, 2), bool), fine, None, np.ones((2, 2, 2), bool)
        )


def test_a_run_that_was_cut_or_is_asked_for_more_sees_what_is_new_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, bundle = Reader(monkeypatch), Bundle("pair", "1.0.0", random_network(2), "0" * 64, {})
    common = {"data": tmp_path, "folder": tmp_path}
    first = held_out_brains(bundle, [["a"], ["b"]], ["a"], phantoms=1, **common)
    assert reader.seen == ["a", "phantom 500", "b, fine alone"]
    again = held_out_brains(bundle, [["a", "c"], ["b"]], ["a", "b"], phantoms=2, **common)
    assert reader.seen[3:] == ["c, fine alone", "b", "phantom 501"]
    values = {brain.name: float(brain.fine.max()) for brain in [*first, *again]}
    assert values == {"a": 1, "phantom 500": 2, "c": 4, "b": 5, "phantom 501": 6}


def test_without_a_case_that_the_coarse_network_has_not_seen_it_says_so(tmp_path: Path) -> None:
    bundle = Bundle("pair", "1.0.0", random_network(2), "0" * 64, {})
    with pytest.raises(DataError, match="None of the 1 cases that the coarse network has not seen is held out"):
        held_out_brains(bundle, [["a"], ["b"]], ["c"], data=tmp_path, phantoms=0, folder=tmp_path)


def test_each_member_is_judged_alone_and_by_a_list_of_its_own() -> None:
    network = random_network(members=2)
    bundle = Bundle("pair", "1.0.0", network, "", {})
    assert [member.fine for member in _members(bundle, 2)] == list(network.fine.networks)  # type: ignore[arg-type]
    with pytest.raises(BundleError, match="has 2 members, and 4 lists of cases are given"):
        _members(bundle, 4)
