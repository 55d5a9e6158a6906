"""Rule files: what they change, and the errors of wrong ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from acuity.anatomy import Sequence
from acuity.dicom.reading.scan import Scan
from acuity.dicom.selection.classify import classify
from acuity.dicom.selection.rules import default_rules, load_rules
from acuity.errors import RulesError
from acuity.resources import config_file


def write(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


def test_the_default_file_is_a_valid_rule_file() -> None:
    path = config_file("sequences.yaml")
    assert load_rules(path) == default_rules()
    assert {r.sequence for r in default_rules().physics} == {Sequence.T1, Sequence.T2, Sequence.FLAIR, None}


def test_a_part_replaces_the_default_and_the_rest_stays(tmp_path: Path) -> None:
    path = write(tmp_path, {"exclude": [{"name": "mine", "reason": "not wanted", "any": [{"words": ["bad"]}]}]})
    rules = load_rules(path)
    assert [r.name for r in rules.exclude] == ["mine"]
    assert rules.physics == default_rules().physics
    assert classify(Scan(description="a bad_T1"), rules).reason == "mine: not wanted"
    assert classify(Scan(description="a badger T1"), rules).sequence is Sequence.T1


def test_json_is_a_rule_file_too(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"series": {"T1c": "1.2.3"}}), encoding="utf-8")
    assert load_rules(path).series[Sequence.T1C].uid == "1.2.3"


def test_series_by_description_and_number(tmp_path: Path) -> None:
    rules = load_rules(write(tmp_path, {"series": {"T1": {"description": "ax t1.*", "number": 4}}}))
    pin = rules.series[Sequence.T1]
    assert pin.matches("any", "Ax_T1 fs", 4)
    assert not pin.matches("any", "Ax_T1 fs", 5)
    assert not pin.matches("any", "Sag T1", 4)


def test_number_conditions(tmp_path: Path) -> None:
    rules = load_rules(
        write(
            tmp_path,
            {
                "physics": [
                    {
                        "name": "a",
                        "sequence": "T2",
                        "any": [{"echo_time": {"min": 50, "max": 60}, "inversion_time": "absent"}],
                    },
                    {
                        "name": "b",
                        "sequence": "T1",
                        "any": [{"flip_angle": {"max": 20, "absent": True}, "echo_time": {"max": 5}}],
                    },
                ],
                "names": [],
            },
        )
    )
    assert classify(Scan(echo_time=50), rules).sequence is Sequence.T2
    assert classify(Scan(echo_time=60.1), rules).sequence is None
    assert classify(Scan(echo_time=55, inversion_time=100), rules).sequence is None
    assert classify(Scan(echo_time=4), rules).sequence is Sequence.T1
    assert classify(Scan(echo_time=4, flip_angle=30), rules).sequence is None


def test_value_conditions(tmp_path: Path) -> None:
    rules = load_rules(
        write(
            tmp_path,
            {
                "exclude": [],
                "physics": [
                    {"name": "a", "sequence": "T2", "any": [{"scanning_sequence": {"any": ["se"], "lacks": ["IR"]}}]},
                    {
                        "name": "b",
                        "sequence": "T1",
                        "any": [{"scanning_sequence": "absent", "body_part": {"any": ["HEAD"], "absent": True}}],
                    },
                ],
                "names": [],
            },
        )
    )

    def sequence(*kinds: str, body_part: str = "") -> Sequence | None:
        return classify(Scan(scanning_sequence=frozenset(kinds), body_part=body_part), rules).sequence

    assert sequence("SE", "EP") is Sequence.T2
    assert sequence("SE", "IR") is None
    assert sequence("GR") is None
    assert sequence() is Sequence.T1
    assert sequence(body_part="HEAD") is Sequence.T1
    assert sequence(body_part="FOOT") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "is not YAML"),
        ("- 1", "it is a mapping of exclude, physics, names, contrast, series"),
        ({"excludes": []}, "the file has excludes"),
        ({"physics": {}}, "physics is {}"),
        ({"physics": [{"sequence": "T1", "any": []}]}, "a rule of physics has no name"),
        ({"physics": [{"name": "a", "sequence": "T3", "any": []}]}, "'T3' is no sequence"),
        ({"physics": [{"name": "a", "any": [{"echo": {"max": 3}}]}]}, "physics: a: echo is no condition"),
        ({"physics": [{"name": "a", "any": [{"echo_time": {"max": "x"}}]}]}, "both are numbers"),
        ({"physics": [{"name": "a", "any": [{"echo_time": {"min": 5, "max": 3}}]}]}, "min 5 and max 3"),
        ({"physics": [{"name": "a", "any": [{"echo_time": {"maximum": 3}}]}]}, "has maximum"),
        ({"physics": [{"name": "a", "any": [{}]}]}, "an item without conditions"),
        ({"exclude": [{"name": "a", "sequence": "T1", "any": []}]}, "an exclusion has none"),
        ({"names": [{"name": "a", "any": [{"words": ["("]}]}]}, "no regular expression"),
        ({"contrast": {"maybe": []}}, "contrast has maybe"),
        ({"series": {"T1": {}}}, "series.T1 is empty"),
        ({"series": {"T1": 5}}, "series.T1 is 5"),
        ({"series": {"T1": {"number": "four"}}}, "it is a whole number"),
        ({"series": {"T4": "1.2"}}, "'T4' is no sequence"),
    ],
)
def test_wrong_files_are_refused_with_the_place_and_the_rule(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(RulesError) as caught:
        load_rules(write(tmp_path, content))
    assert message in str(caught.value)
    assert "mine.yaml" in caught.value.found
    assert str(tmp_path) not in str(caught.value)


def test_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match=r"nowhere\.yaml cannot be read: No such file"):
        load_rules(tmp_path / "nowhere.yaml")
