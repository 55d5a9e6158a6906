"""An annotator's way through the workbench, in a real browser: find, see, correct, save, train."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright
from pydicom import dcmread
from requests_toolbelt.multipart.decoder import MultipartDecoder
from scipy import ndimage

from acuity.anatomy import SEGMENTS, Sequence
from acuity.dicom.read_seg import read_segmentation
from acuity.imaging.resampling import resample
from acuity.volume import Volume
from tests.e2e.conftest import TOKEN, Running, bounding_box
from tests.judges import dciodvfy_errors

pytestmark = pytest.mark.slow

_PATIENCE_MS = 300_000  # a busy computer without a GPU renders slowly
EDEMA = SEGMENTS[1]


@pytest.fixture(scope="session")
def page(workbench: Running, chromium: str) -> Iterator[Page]:
    """A page that is logged in; console errors of scripts fail the test that they come up in."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        page.set_default_timeout(_PATIENCE_MS)
        page.goto(f"{workbench.url}/login#token={TOKEN}")
        page.wait_for_url(f"{workbench.url}/")
        yield page
        browser.close()


def open_study(page: Page, workbench: Running) -> None:
    """Open the study and wait until all four sequences are drawn."""
    page.goto(f"{workbench.url}/segmentation?StudyInstanceUIDs={workbench.study}")
    page.locator("#acuity-panel").wait_for()
    for name in ("AX T1", "AX T1 POST", "AX T2", "AX FLAIR"):
        pane(page, name).wait_for()
    settled(page)


def pane(page: Page, description: str) -> Any:
    """The viewport that shows a series."""
    overlay = page.locator('[data-cy="viewport-overlay-top-left"]').get_by_text(description, exact=True)
    return page.locator('[data-cy="viewport-pane"]').filter(has=overlay)


def pixels(page: Page, description: str) -> np.ndarray:
    """What a viewport shows, without the texts over it: (rows, columns, 3)."""
    canvas = pane(page, description).locator("canvas").first
    texts = '[data-cy^="viewport-overlay"], [class*="ViewportOrientationMarkers"]'
    hidden = page.add_style_tag(content=f"{texts} {{ visibility: hidden }}")
    shot = canvas.screenshot()
    hidden.evaluate("style => style.remove()")
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(np.int16)


def settled(page: Page) -> None:
    """Wait until two pictures in a row are the same."""
    before = b""
    for _ in range(120):
        page.wait_for_timeout(1500)
        now = page.locator('[data-cy="viewport-grid"]').screenshot()
        if now == before:
            return
        before = now
    raise AssertionError("the images do not come to rest")


def press(page: Page, button: str) -> str:
    """Press a button of the panel and wait until its work is over; what the panel then says."""
    page.locator(f"#acuity-{button}").click()
    page.locator("#acuity-panel:not([data-state=working])").wait_for()
    return str(page.locator("#acuity-panel output").inner_text())


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other)))


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
    drawn, plain : where the screen shows the head, and where it shows it without colour
    """
    likeness = {}
    for k in range(flair.shape[2] // 4, flair.shape[2] * 3 // 4):
        image = on_screen(flair[:, :, k], flair[:, :, k] > 0.02 * flair.max(), drawn)
        likeness[k] = np.corrcoef(image[plain], picture[plain])[0, 1]
    return max(likeness, key=lambda k: likeness[k])


def outlined(page: Page, workbench: Running) -> tuple[int, float]:
    """The slice that the FLAIR viewport shows, and the Dice of its colour with the true tumor of that slice."""
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


def segmentations(workbench: Running, folder: Path) -> list[Path]:
    """The segmentations in the archive, oldest first."""
    base = f"{workbench.dicomweb}/studies/{workbench.study}"
    found = []
    for series in httpx.get(f"{base}/series", params={"Modality": "SEG"}).json():
        uid = series["0020000E"]["Value"][0]
        answer = httpx.get(f"{base}/series/{uid}", headers={"accept": 'multipart/related; type="application/dicom"'})
        (part,) = MultipartDecoder(answer.content, answer.headers["content-type"]).parts
        found.append(folder / f"{uid}.dcm")
        found[-1].write_bytes(part.content)
    return sorted(found, key=lambda path: dcmread(path, stop_before_pixels=True).InstanceCreationTime)


def in_viewer(page: Page) -> np.ndarray:
    """The labels as the viewer holds them: (K, rows, columns), numbers of segments, slices from the feet up."""
    slices = page.evaluate("""() => {
        const { segmentationId } = services.segmentationService.getSegmentations()[0];
        const { imageIds } = cornerstoneTools.segmentation.state
            .getSegmentation(segmentationId).representationData.Labelmap;
        return imageIds.map((id) => {
            const image = cornerstone.cache.getImage(id);
            const plane = cornerstone.metaData.get("imagePlaneModule", image.referencedImageId);
            const pixels = [...image.voxelManager.getScalarData()];
            return [plane.imagePositionPatient[2], image.rows, image.columns, pixels];
        });
    }""")
    return np.stack([np.reshape(pixels, (rows, columns)) for _, rows, columns, pixels in sorted(slices)])


def test_the_worklist_shows_the_study(page: Page, workbench: Running, pictures: Path) -> None:
    expect(page.get_by_text("PHANTOM").first).to_be_visible(timeout=_PATIENCE_MS)
    page.screenshot(path=pictures / "worklist.png")


def test_an_error_of_the_server_is_shown(page: Page, workbench: Running) -> None:
    open_study(page, workbench)
    workbench.label.refuses = True
    try:
        assert press(page, "segment") == "The study has no FLAIR. Send one."
        assert page.locator("#acuity-panel").get_attribute("data-state") == "failed"
    finally:
        workbench.label.refuses = False


def test_the_tumor_is_outlined_where_it_is(page: Page, workbench: Running, pictures: Path) -> None:
    open_study(page, workbench)
    pane(page, "AX FLAIR").click()
    assert press(page, "segment").startswith("Tumor outlined")
    assert workbench.label.asked[-1][0] == "tumour_segmentation"
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
    open_study(page, workbench)
    pane(page, "AX FLAIR").click()
    press(page, "segment")
    settled(page)
    found = in_viewer(page)
    page.get_by_text(EDEMA.name).last.click()
    page.locator('[data-cy="Brush-btn"]').first.click()
    box = pane(page, "AX FLAIR").locator("canvas").first.bounding_box()
    x, y = box["x"] + 0.4 * box["width"], box["y"] + 0.55 * box["height"]
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(12):
        page.mouse.move(x + 4 * step, y + 2 * step)
    page.mouse.up()
    settled(page)
    painted = in_viewer(page)
    new = painted != found
    assert new.sum() > 5 and set(np.unique(painted[new])) == {EDEMA.number}
    page.screenshot(path=pictures / "painted.png")
    assert press(page, "save").startswith("Saved")

    path = segmentations(workbench, tmp_path)[-1]
    saved = dcmread(path)
    assert str(saved.ContentCreatorName).rstrip("^") == "Test Annotator"
    assert [item.SegmentLabel for item in saved.SegmentSequence] == [spec.name for spec in SEGMENTS]
    assert [item.SegmentedPropertyTypeCodeSequence[0].CodeValue for item in saved.SegmentSequence] == [
        spec.type.value for spec in SEGMENTS
    ]
    assert dciodvfy_errors(path) == []
    label = on_grid(read_segmentation(path), workbench.truth)
    numbers = np.zeros_like(label)
    for spec in SEGMENTS:
        numbers[label == spec.label] = spec.number
    np.testing.assert_array_equal(numbers.transpose(2, 1, 0), painted)

    open_study(page, workbench)
    page.get_by_text("Tumor, corrected").last.dblclick()
    page.get_by_role("button", name="Yes").or_(page.get_by_text("Load", exact=True)).first.click()
    settled(page)
    np.testing.assert_array_equal(in_viewer(page), painted)
    page.screenshot(path=pictures / "reloaded.png")


def on_grid(labels: Volume, like: Volume) -> np.ndarray:
    """Labels on the voxels of another grid; both have the same voxels, one only fewer slices."""
    return resample(labels, like.grid, interpolation="nearest").array


def test_training_is_followed_to_its_end(page: Page, workbench: Running) -> None:
    open_study(page, workbench)
    page.locator("#acuity-train").click()
    status = page.locator("#acuity-panel output")
    expect(status).to_have_text("Training: epoch 1 of 2", timeout=_PATIENCE_MS)
    expect(status).to_have_text("The candidate is served.", timeout=_PATIENCE_MS)
