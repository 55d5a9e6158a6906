from __future__ import annotations

import json
from pathlib import Path

import pytest

from acuity.errors import DataError
from label.learning.patients import VALIDATION_SHARE, Patients, read_patients, write_patients

SALT = "00" * 16


def keys(count: int, first: int = 0) -> list[str]:
    lists = Patients(SALT)
    return [lists.key(f"patient {number}") for number in range(first, first + count)]


def test_patients_never_change_over() -> None:
    lists = Patients(SALT)
    for count in (1, 2, 3, 10, 40):
        grown = lists.assigned(keys(count))
        assert lists.train <= grown.train
        assert lists.validation <= grown.validation
        assert grown.train | grown.validation == set(keys(count))
        lists = grown


@pytest.mark.parametrize("first", range(12))
def test_two_patients_are_enough_for_both_lists_however_they_come(first: int) -> None:
    pair = keys(2, first)
    together = Patients(SALT).assigned(pair)
    assert together.train and together.validation
    one_by_one = Patients(SALT).assigned(pair[:1]).assigned(pair)
    assert one_by_one.train and one_by_one.validation


def test_a_patient_s_list_does_not_depend_on_who_else_comes_later() -> None:
    alone = Patients(SALT).assigned(keys(30))
    together = Patients(SALT).assigned(keys(30)).assigned(keys(100))
    assert alone.train <= together.train
    share = len(together.validation) / 100
    assert abs(share - VALIDATION_SHARE) < 0.13  # three standard deviations of a binomial


def test_the_file_keeps_the_lists_and_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "models" / "patients.json"
    lists = read_patients(path)
    lists = lists.assigned([lists.key("Doe^Jane"), lists.key("other")])
    write_patients(lists, path)
    assert read_patients(path) == lists
    assert "Doe" not in path.read_text()
    assert read_patients(tmp_path / "another.json").key("Doe^Jane") != lists.key("Doe^Jane")


def test_damage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "patients.json"
    path.write_text("{")
    with pytest.raises(DataError, match="Restore patients.json from a backup"):
        read_patients(path)
    path.write_text(json.dumps({"salt": SALT, "train": ["a"], "validation": ["a"]}))
    with pytest.raises(DataError, match="1 patients are both"):
        read_patients(path)
