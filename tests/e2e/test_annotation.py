"""An annotator's way through the workbench, in a real browser: find, see, correct, save, train."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect
from pydicom import dcmread
from scipy import ndimage

from acuity.anatomy import SEGMENTS, Sequence
from acuity.dicom.reading.read_seg import read_segmentation
from tests.e2e.conftest import Running, bounding_box
from tests.e2e.label_standin import REFUSED, TRAINING
from tests.e2e.viewer import (
    PATIENCE_MS,
    as_in_viewer,
    dice,
    in_viewer,
    logged_in,
    on_grid,
    open_study,
    paint,
    pane,
    pixels,
    press,
    segmentations,
    settled,
)
from tests.judges import dciodvfy_errors

pytestmark = pytest.mark.slow

EDEMA = SEGMENTS[1]


@pytest.fixture(scope="module")
def page(workbench: Running, browser: Browser) -> Iterator[Page]:
    page = logged_in(browser, workbench.url, workbench.token)
    yield page
    page.close()


def on_screen(values: np.ndarray, head: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """A slice as it must appear: scaled and moved as the head in that slice is to the head that is drawn.

    Parameters
    ----------
    values, head : (I, J) of the slice, i to the right and j down, as an axial slice is shown
    drawn : (rows, columns), where the screen shows the head
    """
    top, bottom, left, right = bounding_box(head.T)
    y0, y1, x0, x1 = bounding_box(drawn)
    rows, columns = np.indices(drawn.shape)
    j = np.floor(top + (rows - y0 + 0.5) / (y1 - y0 + 1) * (bottom - top + 1)).astype(int)
    i = np.floor(left + (columns - x0 + 0.5) / (x1 - x0 + 1) * (right - left + 1)).astype(int)
    inside = (i >= 0) & (i < values.shape[0]) & (j >= 0) & (j < values.shape[1])
    return np.where(inside, values[i.clip(0, values.shape[0] - 1), j.clip(0, values.shape[1] - 1)], 0)


def shown_slice(picture: np.ndarray, flair: np.ndarray, drawn: np.ndarray, plain: np.ndarray) -> int:
    """The slice k whose image looks most like the picture: told from what is drawn, not from what the viewer says.

    Parameters
    ----------
    drawn, plain : where the screen shows the head, and where it shows it without color
    """
    likeness = {}
    for k in range(flair.shape[2] // 4, flair.shape[2] * 3 // 4):
        image = on_screen(flair[:, :, k], flair[:, :, k] > 0.02 * flair.max(), drawn)
        likeness[k] = np.corrcoef(image[plain], picture[plain])[0, 1]
    return max(likeness, key=lambda k: likeness[k])


def outlined(page: Page, workbench: Running) -> tuple[int, float]:
    """The slice that the FLAIR viewport shows, and the Dice of its color with the true tumor of that slice."""
    picture = pixels(page, "AX FLAIR")
    colored = picture.max(axis=2) - picture.min(axis=2) > 40
    drawn = largest(picture.max(axis=2) > 12)  # the head, not the icons and the bar at the border
    flair = workbench.images[Sequence.FLAIR].array
    k = shown_slice(picture.mean(axis=2), flair, drawn, drawn & ~colored)
    head = flair[:, :, k] > 0.02 * flair.max()
    expected = on_screen(workbench.truth.array[:, :, k] > 0, head, drawn).astype(bool)
    assert expected.sum() > 2000, "the slice holds hardly any tumor: nothing is tested"
    return k, dice(colored & drawn, expected)


def largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask."""
    parts, _ = ndimage.label(mask)
    return parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1


def test_the_worklist_shows_the_study(page: Page, workbench: Running, pictures: Path) -> None:
    expect(page.get_by_text("PHANTOM").first).to_be_visible(timeout=PATIENCE_MS)
    page.screenshot(path=pictures / "worklist.png")


def test_an_error_of_the_server_is_shown(page: Page, workbench: Running) -> None:
    open_study(page, workbench.url, workbench.study)
    workbench.label.refuses = True
    try:
        assert press(page, "segment") == "The study has no FLAIR. Send one."
        assert page.locator("#acuity-panel").get_attribute("data-state") == "failed"
    finally:
        workbench.label.refuses = False


def test_the_tumor_is_outlined_where_it_is(page: Page, workbench: Running, pictures: Path) -> None:
    open_study(page, workbench.url, workbench.study)
    pane(page, "AX FLAIR").click()
    assert press(page, "segment").startswith("Tumor outlined")
    assert workbench.label.asked[-1][0] == "tumor_segmentation"
    settled(page)
    page.screenshot(path=pictures / "workbench.png")
    first, overlap = outlined(page, workbench)
    assert overlap > 0.93
    pane(page, "AX FLAIR").hover()
    for _ in range(4):  # and on a slice away from the middle, where up and down are told apart
        page.mouse.wheel(0, 100)
        page.wait_for_timeout(500)
    settled(page)
    other, overlap = outlined(page, workbench)
    assert abs(other - first) >= 3 and overlap > 0.93


def test_a_painted_correction_becomes_a_training_label(
    page: Page, workbench: Running, pictures: Path, tmp_path: Path
) -> None:
    """Painted, saved, reloaded: the archive's segmentation has the viewer's voxels, each of them."""
    open_study(page, workbench.url, workbench.study)
    pane(page, "AX FLAIR").click()
    press(page, "segment")
    settled(page)
    found = in_viewer(page)
    paint(page, "AX FLAIR", EDEMA.name)
    painted = in_viewer(page)
    new = painted != found
    assert new.sum() > 5 and set(np.unique(painted[new])) == {EDEMA.number}
    page.screenshot(path=pictures / "painted.png")
    assert press(page, "save").startswith("Saved")

    path = segmentations(workbench.dicomweb, workbench.study, tmp_path)[-1]
    saved = dcmread(path)
    assert str(saved.ContentCreatorName).rstrip("^") == "Test Annotator"
    assert [item.SegmentLabel for item in saved.SegmentSequence] == [spec.name for spec in SEGMENTS]
    assert [item.SegmentedPropertyTypeCodeSequence[0].CodeValue for item in saved.SegmentSequence] == [
        spec.type.value for spec in SEGMENTS
    ]
    assert dciodvfy_errors(path) == []
    label = on_grid(read_segmentation(path), workbench.truth)
    np.testing.assert_array_equal(as_in_viewer(label), painted)

    open_study(page, workbench.url, workbench.study)
    page.get_by_text("Tumor, corrected").last.dblclick()
    page.get_by_role("button", name="Yes").or_(page.get_by_text("Load", exact=True)).first.click()
    settled(page)
    np.testing.assert_array_equal(in_viewer(page), painted)
    page.screenshot(path=pictures / "reloaded.png")


def test_training_is_followed_to_its_end(page: Page, workbench: Running) -> None:
    open_study(page, workbench.url, workbench.study)
    train, status = page.locator("#acuity-train"), page.locator("#acuity-panel output")
    train.click()
    expect(train).to_have_text("Training ...", timeout=PATIENCE_MS)
    expect(train).to_be_disabled()
    expect(status).to_have_text("Training the fine network: step 200 of 300", timeout=PATIENCE_MS)
    assert page.locator("#acuity-panel progress").evaluate("bar => bar.value") == pytest.approx(2 / 3)
    expect(status).to_have_text(
        "Served: mean Dice 0.9000 on 1 validation cases, 0.8000 of the model that is served.", timeout=PATIENCE_MS
    )
    expect(train).to_be_enabled()


def test_a_training_that_is_refused_says_why(page: Page, workbench: Running) -> None:
    open_study(page, workbench.url, workbench.study)
    workbench.label.training = REFUSED
    try:
        page.locator("#acuity-train").click()
        expect(page.locator("#acuity-panel output")).to_have_text(
            "The training failed. 1 corrected cases are there to train on and 0 to validate on. Correct cases of more "
            "patients.",
            timeout=PATIENCE_MS,
        )
    finally:
        workbench.label.training = TRAINING
    assert page.locator("#acuity-panel").get_attribute("data-state") == "failed"
