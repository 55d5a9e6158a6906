"""The viewer in a real browser, and the archive behind it: what tests press, see and read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page
from pydicom import dcmread
from requests_toolbelt.multipart.decoder import MultipartDecoder

from acuity.anatomy import SEGMENTS
from acuity.imaging.resampling import resample
from acuity.volume import Volume

PATIENCE_MS = 300_000  # a busy computer without a GPU renders slowly


def logged_in(browser: Browser, url: str, token: str) -> Page:
    """A page, with cookies of its own, that is logged in."""
    page = browser.new_context(viewport={"width": 1600, "height": 900}).new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"{url}/login#token={token}")
    page.wait_for_url(f"{url}/")
    return page


def open_study(page: Page, url: str, study: str) -> None:
    """Open the study and wait until all four sequences are drawn."""
    page.goto(f"{url}/segmentation?StudyInstanceUIDs={study}")
    page.locator("#acuity-panel").wait_for()
    for name in ("AX T1", "AX T1 POST", "AX T2", "AX FLAIR"):
        pane(page, name).wait_for()
    settled(page)


def pane(page: Page, description: str) -> Any:
    """The viewport that shows a series."""
    overlay = page.locator('[data-cy="viewport-overlay-top-left"]').get_by_text(description, exact=True)
    return page.locator('[data-cy="viewport-pane"]').filter(has=overlay)


def pixels(page: Page, description: str) -> NDArray[np.int16]:
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


def press(page: Page, button: str, patience_ms: int = PATIENCE_MS) -> str:
    """Press a button of the panel and wait until its work is over; what the panel then says."""
    page.locator(f"#acuity-{button}").click()
    page.locator("#acuity-panel:not([data-state=working])").wait_for(timeout=patience_ms)
    return str(page.locator("#acuity-panel output").inner_text())


def paint(page: Page, description: str, segment: str) -> None:
    """Draw a stroke of the brush over a series, near the middle of the slice that it shows."""
    page.get_by_text(segment).last.click()
    page.locator('[data-cy="Brush-btn"]').first.click()
    box = pane(page, description).locator("canvas").first.bounding_box()
    x, y = box["x"] + 0.4 * box["width"], box["y"] + 0.55 * box["height"]
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(12):
        page.mouse.move(x + 4 * step, y + 2 * step)
    page.mouse.up()
    settled(page)


def in_viewer(page: Page) -> NDArray[Any]:
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


def as_in_viewer(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels (I, J, K) of an axial series, left, back and head, as ``in_viewer`` gives them."""
    numbers = np.zeros_like(labels)
    for spec in SEGMENTS:
        numbers[labels == spec.label] = spec.number
    return numbers.transpose(2, 1, 0)


def series_of(dicomweb: str, study: str, modality: str) -> list[str]:
    """The UIDs of a study's series of one modality, as the archive lists them."""
    found = httpx2.get(f"{dicomweb}/studies/{study}/series", params={"Modality": modality}, timeout=60).json()
    return [str(series["0020000E"]["Value"][0]) for series in found]


def instances(dicomweb: str, study: str, series: str, folder: Path) -> list[Path]:
    """The files of a series, as the archive has them."""
    answer = httpx2.get(
        f"{dicomweb}/studies/{study}/series/{series}",
        timeout=60,
        headers={"accept": 'multipart/related; type="application/dicom"'},
    )
    found = []
    for number, part in enumerate(MultipartDecoder(answer.content, answer.headers["content-type"]).parts):
        found.append(folder / f"{series}-{number}.dcm")
        found[-1].write_bytes(part.content)
    return found


def segmentations(dicomweb: str, study: str, folder: Path) -> list[Path]:
    """The segmentations of a study in the archive, oldest first."""
    found = [file for uid in series_of(dicomweb, study, "SEG") for file in instances(dicomweb, study, uid, folder)]
    return sorted(found, key=_created)


def _created(path: Path) -> tuple[str, str]:
    header = dcmread(path, stop_before_pixels=True)
    return str(header.InstanceCreationDate), str(header.InstanceCreationTime)


def on_grid(labels: Volume, like: Volume) -> NDArray[Any]:
    """Labels on the voxels of another grid; both have the same voxels, one only fewer slices."""
    return resample(labels, like.grid, interpolation="nearest").array


def dice(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other)))
