"""No stroke is lost unasked: in a real browser, over every button and every way out of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Dialog, Page, Route, expect

from acuity.anatomy import SEGMENTS
from acuity.dicom.reading.read_seg import read_segmentation
from tests.e2e.conftest import Running
from tests.e2e.viewer import (
    PATIENCE_MS,
    as_in_viewer,
    in_viewer,
    logged_in,
    on_grid,
    paint,
    pane,
    press,
    segmentations,
    series_of,
    settled,
)

pytestmark = pytest.mark.slow

QUESTION = "#acuity-question"
BACK = '[data-cy="return-to-work-list"]'


class Annotator:
    """A person with the study open, who has drawn a stroke over a tumor that was found.

    Each test goes on with the page as the one before left it, for to open a study takes most of a minute.
    """

    def __init__(self, page: Page, workbench: Running) -> None:
        self.page, self._workbench = page, workbench

    def draw(self) -> NDArray[Any]:
        """Draw, so that there are strokes that are not saved; all labels that the viewer then holds."""
        page = self.page
        if page.locator("#acuity-panel").count() == 0 or not pane(page, "AX FLAIR").count():
            page.goto(self._workbench.url)
            page.get_by_text("PHANTOM").first.click()
            page.get_by_role("button", name="Annotate").or_(page.get_by_text("Annotate", exact=True)).first.click()
            pane(page, "AX FLAIR").wait_for()
        pane(page, "AX FLAIR").click()
        if page.evaluate("services.segmentationService.getSegmentations().length") != 1:
            assert press(page, "segment").startswith("Tumor outlined")
            settled(page)
        before = in_viewer(page)
        for spec in SEGMENTS:  # over strokes of one segment, those of another are new
            paint(page, "AX FLAIR", spec.name)
            painted = in_viewer(page)
            if not np.array_equal(painted, before):
                break
        assert not np.array_equal(painted, before), "the brush drew nothing new: nothing is tested"
        return painted


@pytest.fixture(scope="module")
def annotator(workbench: Running, browser: Browser) -> Iterator[Annotator]:
    page = logged_in(browser, workbench.url, workbench.token)
    yield Annotator(page, workbench)
    page.context.close()


@pytest.fixture
def painted(annotator: Annotator) -> NDArray[Any]:
    """The labels that the viewer holds; some of the strokes are not saved."""
    return annotator.draw()


@pytest.fixture
def page(annotator: Annotator, painted: NDArray[Any]) -> Page:
    """The page with these strokes."""
    return annotator.page


def answer(page: Page, choice: str) -> None:
    """Wait for the question, and answer it."""
    page.locator(f"{QUESTION} button[value={choice}]").click(timeout=PATIENCE_MS)
    expect(page.locator(QUESTION)).to_have_count(0)


def listed(page: Page, description: str) -> Any:
    """A segmentation in the list of series."""
    return page.locator('[data-cy="study-browser-thumbnail-no-image"]').filter(has_text=description)


def keeps(page: Page, painted: NDArray[Any]) -> None:
    """The strokes are where they were, and all four viewports are."""
    np.testing.assert_array_equal(in_viewer(page), painted)
    for name in ("AX T1", "AX T1 POST", "AX T2", "AX FLAIR"):
        expect(pane(page, name)).to_be_visible()


def reload(page: Page) -> None:
    page.evaluate("setTimeout(() => location.reload())")


def open_elsewhere(page: Page) -> None:
    page.evaluate("setTimeout(() => location.assign('/health'))")


def close(page: Page) -> None:
    page.close(run_before_unload=True)


def test_the_browser_asks_before_strokes_are_left(page: Page, painted: NDArray[Any]) -> None:
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    for count, leave in enumerate((reload, open_elsewhere, close), start=1):
        leave(page)
        page.wait_for_timeout(2000)
        assert asked == ["beforeunload"] * count
    page.remove_listener("dialog", stay)
    keeps(page, painted)


def test_nobody_asks_when_all_is_saved(page: Page) -> None:
    asked: list[str] = []
    assert press(page, "save").startswith("Saved")
    page.once("dialog", lambda dialog: asked.append(dialog.type))
    page.reload()
    page.locator("#acuity-panel").wait_for()
    assert asked == []


def press_find(page: Page) -> None:
    page.locator("#acuity-segment").click()


def press_sharpen_and_find(page: Page) -> None:
    page.locator("#acuity-sharpen-and-segment").click()


def open_other(page: Page) -> None:
    listed(page, "Tumor by AI").first.dblclick()


def press_back(page: Page) -> None:
    page.locator(BACK).click()


def turn_back(page: Page) -> None:
    page.evaluate("history.back()")


def delete(page: Page) -> None:
    page.evaluate("""() => { commandsManager.run("deleteSegmentation", {
        segmentationId: services.segmentationService.getSegmentations()[0].segmentationId }); }""")


WAYS = [press_find, press_sharpen_and_find, open_other, press_back, turn_back, delete]


def test_strokes_stay_for_who_cancels(page: Page, painted: NDArray[Any], workbench: Running, pictures: Path) -> None:
    asked = list(workbench.label.asked)
    for replace in WAYS:
        replace(page)
        expect(page.locator(QUESTION)).to_contain_text("strokes that are not saved", timeout=PATIENCE_MS)
        page.screenshot(path=pictures / f"asked-{replace.__name__}.png")
        answer(page, "cancel")
        page.wait_for_timeout(1000)
        keeps(page, painted)
    assert workbench.study in page.url and workbench.label.asked == asked
    press_find(page)  # asked again, and Escape cancels, too
    expect(page.locator(QUESTION)).to_be_visible(timeout=PATIENCE_MS)
    page.keyboard.press("Escape")
    expect(page.locator(QUESTION)).to_have_count(0)
    keeps(page, painted)


@pytest.mark.parametrize("replace", [press_find, open_other, turn_back])
def test_strokes_are_in_the_archive_for_who_saves(
    page: Page, painted: NDArray[Any], workbench: Running, tmp_path: Path, replace: Callable[[Page], None]
) -> None:
    replace(page)
    with page.expect_response(lambda answer: answer.request.method == "POST" and "/dicom-web/" in answer.url):
        answer(page, "save")
    if replace is turn_back:
        expect(page.locator("#acuity-panel")).to_have_count(0, timeout=PATIENCE_MS)
    else:
        page.locator("#acuity-panel:not([data-state=working])").wait_for()
    found = [read_segmentation(path) for path in segmentations(workbench.dicomweb, workbench.study, tmp_path)]
    assert any(np.array_equal(as_in_viewer(on_grid(labels, workbench.truth)), painted) for labels in found)


def test_dropped_strokes_are_gone(page: Page, painted: NDArray[Any], workbench: Running) -> None:
    press_find(page)
    answer(page, "drop")
    page.locator("#acuity-panel:not([data-state=working])").wait_for()
    settled(page)
    found = in_viewer(page)
    np.testing.assert_array_equal(found, as_in_viewer(workbench.truth.array))
    assert not np.array_equal(found, painted)
    press_back(page)
    expect(page.locator("#acuity-panel")).to_have_count(0, timeout=PATIENCE_MS)


def test_dropped_strokes_are_not_in_what_is_opened_again(page: Page, workbench: Running) -> None:
    open_other(page)
    answer(page, "drop")
    page.get_by_role("button", name="Yes").or_(page.get_by_text("Load", exact=True)).first.click()
    settled(page)
    np.testing.assert_array_equal(in_viewer(page), as_in_viewer(workbench.truth.array))


def test_strokes_survive_the_other_buttons(page: Page, painted: NDArray[Any]) -> None:
    assert press(page, "sharpen").startswith("The sharpened series is on the right")
    np.testing.assert_array_equal(in_viewer(page), painted)
    press(page, "train")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+y")
    np.testing.assert_array_equal(in_viewer(page), painted)
    pane(page, "AX FLAIR").click()
    assert press(page, "save").startswith("Saved")


def test_a_save_that_fails_loses_nothing(page: Page, painted: NDArray[Any], workbench: Running) -> None:
    asked = list(workbench.label.asked)
    body = '{"found": "Orthanc cannot be reached.", "rule": "It must run.", "remedy": "Start it."}'
    answers = {401: "Your login has ended", 502: "Orthanc cannot be reached", 0: "Not saved"}
    now = {"status": 0}

    def refuse(route: Route) -> None:
        if route.request.method != "POST":
            route.continue_()
        elif now["status"]:
            route.fulfill(status=now["status"], body=body, content_type="application/json")
        else:
            route.abort()

    page.route("**/dicom-web/studies*", refuse)
    for now["status"], said in answers.items():
        assert press(page, "save").startswith(said)
        assert page.locator("#acuity-panel").get_attribute("data-state") == "failed"
        for replace in (press_find, press_back):
            replace(page)
            answer(page, "save")
            expect(page.locator("#acuity-panel output")).to_contain_text(said)
    keeps(page, painted)
    assert workbench.study in page.url and workbench.label.asked == asked
    page.unroute("**/dicom-web/studies*")
    assert press(page, "save").startswith("Saved")


def test_a_search_that_fails_takes_nothing_away(page: Page, painted: NDArray[Any], workbench: Running) -> None:
    workbench.label.refuses = True
    try:
        press_find(page)
        answer(page, "drop")
        expect(page.locator("#acuity-panel output")).to_contain_text("The study has no FLAIR", timeout=PATIENCE_MS)
    finally:
        workbench.label.refuses = False
    keeps(page, painted)
    press_find(page)  # and they are still unsaved
    expect(page.locator(QUESTION)).to_be_visible(timeout=PATIENCE_MS)
    answer(page, "cancel")


def test_strokes_drawn_during_a_search_are_asked_about(page: Page, workbench: Running) -> None:
    """A model works for a minute and more, and people do not wait."""
    assert press(page, "save").startswith("Saved")

    def slowly(route: Route) -> None:
        route.continue_()
        paint(page, "AX FLAIR", SEGMENTS[2].name)

    page.route("**/monai/infer/tumor_segmentation*", slowly, times=1)
    press_find(page)
    expect(page.locator(QUESTION)).to_be_visible(timeout=PATIENCE_MS)
    painted = in_viewer(page)
    answer(page, "cancel")
    expect(page.locator("#acuity-panel output")).to_contain_text("open it from the list", timeout=PATIENCE_MS)
    keeps(page, painted)


def test_finding_again_replaces_the_earlier_result(page: Page, workbench: Running) -> None:
    """And never what a person has drawn."""
    assert press(page, "save").startswith("Saved")
    before = set(series_of(workbench.dicomweb, workbench.study, "SEG"))
    assert press(page, "segment").startswith("Tumor outlined")
    assert press(page, "segment").startswith("Tumor outlined")
    after = set(series_of(workbench.dicomweb, workbench.study, "SEG"))
    assert len(after) == len(before) and len(after - before) == 1
    expect(listed(page, "Tumor by AI")).to_have_count(1)
    page.reload()
    expect(listed(page, "Tumor by AI")).to_have_count(1, timeout=PATIENCE_MS)
    expect(listed(page, "Tumor, corrected")).to_have_count(len(before) - 1)
