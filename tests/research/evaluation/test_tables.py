"""Tables."""

import csv

from acuity.research.evaluation.tables import mean_table, write_csv

ROWS: list[dict[str, str | float]] = [
    {"case": "a", "region": "ET", "dice": 0.5},
    {"case": "b", "region": "ET", "dice": 0.7},
    {"case": "a", "region": "WT", "dice": 0.9},
]


def test_means_by_group():
    assert mean_table(ROWS, by=["region"], values=["dice"]).splitlines() == [
        "| region | n | dice |",
        "|---|---|---|",
        "| ET | 2 | 0.600 |",
        "| WT | 1 | 0.900 |",
    ]


def test_csv_round_trip(tmp_path):
    write_csv(ROWS, tmp_path / "out" / "rows.csv")
    with (tmp_path / "out" / "rows.csv").open() as file:
        assert list(csv.DictReader(file))[1] == {"case": "b", "region": "ET", "dice": "0.7"}
