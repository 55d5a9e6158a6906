"""Cases ready for training."""

import torch

from acuity.research.datasets.brats import read_split
from acuity.research.sampling.patches import PreparedCase
from acuity.research.sampling.preparation import low_grade_twice


def case(name: str) -> PreparedCase:
    return PreparedCase(name, torch.zeros((4, 1, 1, 1)), torch.zeros((3, 1, 1, 1)))


def test_cases_of_low_grade_and_no_others_are_there_twice() -> None:
    split = read_split()
    names = [*split["train"], "another hospital's"]
    twice = [one.name for one in low_grade_twice([case(name) for name in names])]
    assert sorted(twice) == sorted([*names, *(set(split["low_grade"]) & set(names))])
    assert set(split["low_grade"]) & set(names)
