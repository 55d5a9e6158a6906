"""A study of one's own is brought in from the worklist, in a real browser."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, expect

from tests.dicom_builder import axial_affine, phantom, truncate, uid, write_mr_series
from tests.e2e.conftest import Running
from tests.e2e.viewer import PATIENCE_MS, logged_in

pytestmark = pytest.mark.slow


def test_a_folder_is_added_from_the_worklist(
    workbench: Running, browser: Browser, tmp_path: Path, pictures: Path
) -> None:
    study = uid("worklist")
    for number, name in enumerate(("AX T1", "AX T2"), start=1):
        write_mr_series(
            tmp_path / "study" / name,
            phantom((24, 20, 6)),
            axial_affine(),
            name=name,
            study_uid=study,
            series_number=number,
            PatientID="OWN-1",
            PatientName="Own^Study",
            StudyDescription="A study of my own",
        )
    truncate(min((tmp_path / "study" / "AX T2").iterdir()), 0.5)
    (tmp_path / "study" / "notes.txt").write_text("no image")
    page = logged_in(browser, workbench.url, workbench.token)
    page.locator("#acuity-add").click(timeout=PATIENCE_MS)
    page.locator("#acuity-upload input[webkitdirectory]").set_input_files(tmp_path / "study")
    expect(page.locator("#acuity-upload [role=status]")).to_contain_text("Some files were refused")
    page.screenshot(path=pictures / "added.png")
    rows = [row.inner_text().split("\t") for row in page.locator("#acuity-upload tr").all()]
    assert [row[:2] for row in rows] == [["6", "new"], ["5", "new"], ["1", "refused"], ["1", "passed over"]]
    assert [row[2] for row in rows[:2]] == ["MR 1 AX T1", "MR 2 AX T2"]
    page.locator("#acuity-upload button").click()
    expect(page.get_by_text("Own").first).to_be_visible(timeout=PATIENCE_MS)
    page.screenshot(path=pictures / "worklist-with-own.png")
    found = httpx2.get(f"{workbench.dicomweb}/instances", params={"StudyInstanceUID": study}, timeout=60).json()
    assert len(found) == 11
    page.context.close()
