"""Splits: by patient, balanced by grade, always the same; and files of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acuity.errors import DataError
from acuity.research.datasets.brats import folds, read_split
from acuity.research.datasets.layouts import patient_of
from acuity.research.datasets.splits import PARTS, load_split, seeded_split, split_of, trained_cases


@given(st.integers(2, 60), st.integers(1, 3), st.data())
def test_each_case_is_in_one_part_by_patient(patients: int, examinations: int, data: st.DataObject) -> None:
    cases = [f"BraTS-GLI-{p:05d}-{e:03d}" for p in range(patients) for e in range(examinations)]
    grades = {case: data.draw(st.sampled_from(["high", "low", None])) for case in cases}
    split = seeded_split(grades)
    assert sorted(case for part in PARTS for case in split[part]) == cases
    assert split == seeded_split(dict(reversed(grades.items())))
    held = [{patient_of(case) for case in split[part]} for part in PARTS]
    assert sum(map(len, held)) == len(set().union(*held)) == patients
    assert len(held[1]) == max(1, round(0.1 * patients)) and len(held[2]) == (len(held[1]) if patients > 2 else 0)
    assert held[0]


def test_grades_are_balanced() -> None:
    grades = {f"case_{n}": "low" if n < 76 else "high" for n in range(335)}
    split = seeded_split(grades)
    for part, size in (("train", 267), ("validation", 34), ("test", 34)):
        low = sum(grades[case] == "low" for case in split[part])
        assert len(split[part]) == size and low / size == pytest.approx(76 / 335, abs=0.03)
    assert len(split["low_grade"]) == 76


def test_folds_keep_the_examinations_of_a_patient_together() -> None:
    names = [f"BraTS-GLI-{p:05d}-{e:03d}" for p in range(9) for e in range(2)]
    parts = folds({"train": names[:10], "validation": names[10:], "low_grade": names[:1], "coarse": []})
    assert sorted(name for fold in parts for name in fold) == names
    assert sum(len({patient_of(name) for name in fold}) for fold in parts) == 9


def test_the_released_split_is_taken_by_name_alone(tmp_path: Path) -> None:
    assert load_split("released") == read_split()
    ours = dict.fromkeys([*read_split()["train"][:5], *read_split()["validation"], "own"], None)
    assert "own" in {case for part in PARTS for case in split_of(ours, None, tmp_path / "a")[part]}
    split = split_of(ours, "released", tmp_path / "b")
    assert split["validation"] == read_split()["validation"] and len(split["train"]) == 5
    assert trained_cases([tmp_path / "b", tmp_path / "no run"]) == {*split["train"], *split["validation"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "cannot be read as a split"),
        ("[1, 2]", "cannot be read as a split"),
        ('{"train": ["a"]}', "lacks train or validation"),
        ('{"train": ["a"], "validation": ["a"]}', "has a, or another case of its patient, in train and in validation"),
        ('{"train": ["sub-1/a"], "validation": ["b"], "test": ["sub-1/b"]}', "in train and in test"),
    ],
)
def test_what_is_no_split_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(DataError, match=message):
        load_split(tmp_path / "split.json")
    with pytest.raises(DataError, match="cannot be read as a split"):
        load_split(tmp_path / "absent.json")


def test_a_split_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps({"train": ["a"], "validation": ["b"]}))
    for grades, source in (({"a": None}, None), ({"a": None, "c": None}, tmp_path / "mine.json")):
        with pytest.raises(DataError, match="Cases to train on: 1; to validate on: 0"):
            split_of(grades, source, tmp_path / "run")
