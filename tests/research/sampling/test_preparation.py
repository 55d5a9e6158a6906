"""Cases ready for training."""

import pytest
import torch

from acuity.research.sampling.patches import PreparedCase
from acuity.research.sampling.preparation import grade_weights


def cases(names: str) -> list[PreparedCase]:
    return [PreparedCase(name, torch.zeros((4, 1, 1, 1)), torch.zeros((3, 1, 1, 1))) for name in names]


def test_cases_of_low_grade_get_their_share_and_are_alike() -> None:
    weights = grade_weights(cases("abcde"), {"b", "e", "another"}, 0.3)
    assert weights == pytest.approx([0.7 / 3, 0.15, 0.7 / 3, 0.7 / 3, 0.15])


@pytest.mark.parametrize("low_grade", ["", "ab"])
def test_cases_of_one_grade_are_all_alike(low_grade: str) -> None:
    assert grade_weights(cases("ab"), low_grade, 0.3) is None
