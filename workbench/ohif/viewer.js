// What the panel does with OHIF: which series is open, new series shown, segmentations laid over, saved.

const WAIT_MS = 30000;
const LOOK_MS = 200;
const EMPTY = "The segmentation holds nothing to save. Draw something first.";

export class Viewer {
  /** @param {object} managers of OHIF, as an extension gets them */
  constructor({ servicesManager, commandsManager, extensionManager }) {
    this.services = servicesManager.services;
    this.commands = commandsManager;
    this.extensions = extensionManager;
  }

  /** The display set of images in the active viewport. */
  opened() {
    const { viewportGridService, displaySetService } = this.services;
    const { viewports, activeViewportId } = viewportGridService.getState();
    const ids = viewports.get(activeViewportId)?.displaySetInstanceUIDs ?? [];
    const found = ids.map((id) => displaySetService.getDisplaySetByUID(id)).find((set) => set?.Modality === "MR");
    if (!found) {
      throw new Error("Click on an image first: its series is what the model is asked about.");
    }
    return found;
  }

  known() {
    return new Set(this.services.displaySetService.getActiveDisplaySets().map((set) => set.SeriesInstanceUID));
  }

  /** Read the study's list of series again and wait for one that is not among `known` and fits. */
  async newDisplaySet(studyUid, known, fits) {
    const [source] = this.extensions.getActiveDataSource();
    const name = source.getConfig?.().name ?? "archive";
    // OHIF keeps a study's series under "<data source>:<study>", and forgets them by either name only.
    source.deleteStudyMetadataPromise(`${name}:${studyUid}`);
    source.deleteStudyMetadataPromise(studyUid);
    await source.retrieve.series.metadata({ StudyInstanceUID: studyUid });
    for (let waited = 0; waited < WAIT_MS; waited += LOOK_MS) {
      const sets = this.services.displaySetService.getActiveDisplaySets();
      const found = sets.filter((set) => !known.has(set.SeriesInstanceUID) && fits(set));
      if (found.length) {
        return found[found.length - 1];
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    throw new Error("The server finished, but the archive shows nothing new. Reload the page.");
  }

  /** Lay a stored segmentation over the images, editable, in all viewports of its frame of reference. */
  async overlay(set) {
    const { segmentationService, viewportGridService, displaySetService } = this.services;
    for (const old of segmentationService.getSegmentations()) {
      segmentationService.remove(old.segmentationId);
    }
    await set.load({ headers: {} });
    const { viewports } = viewportGridService.getState();
    for (const [viewportId, { displaySetInstanceUIDs }] of viewports) {
      const shown = displaySetService.getDisplaySetByUID(displaySetInstanceUIDs?.[0]);
      if (shown?.FrameOfReferenceUID === set.FrameOfReferenceUID) {
        const segmentationId = set.displaySetInstanceUID;
        await segmentationService.addSegmentationRepresentation(viewportId, { segmentationId, type: "Labelmap" });
      }
    }
  }

  /** Show the sharpened series beside the one that it was made of. */
  beside(original, sharpened) {
    this.commands.run("setViewportGridLayout", { numRows: 1, numCols: 2 });
    const viewportIds = [...this.services.viewportGridService.getState().viewports.keys()];
    const sets = [original, sharpened];
    const viewportsToUpdate = viewportIds.slice(0, 2).map((viewportId, index) => ({
      viewportId,
      displaySetInstanceUIDs: [sets[index].displaySetInstanceUID],
      viewportOptions: { viewportType: "volume", orientation: "acquisition", toolGroupId: "default" },
    }));
    this.commands.run("setDisplaySetsForViewports", { viewportsToUpdate });
  }

  /** Store the active segmentation in the archive as a new BINARY SEG; returns its series' UID. */
  async save() {
    const { segmentationService, viewportGridService } = this.services;
    const active = segmentationService.getActiveSegmentation(viewportGridService.getActiveViewportId());
    if (!active) {
      throw new Error("There is no segmentation in the active viewport. Click on the image that you drew on.");
    }
    const options = { dataSource: "archive", SeriesDescription: "Tumor, corrected" };
    const { segmentationId } = active;
    const generated = await this.commands.run("generateSegmentation", { segmentationId, options });
    const dataset = generated?.dataset;
    if (!dataset) {
      throw new Error(EMPTY);
    }
    const [source] = this.extensions.getActiveDataSource();
    try {
      await source.store.dicom(dataset);
    } catch (error) {
      throw new Error(refusalOf(error));
    }
    return dataset.SeriesInstanceUID;
  }
}

/** The gateway's refusal of a STOW-RS request, as a text for people. */
export function refusalOf(error) {
  try {
    const { found, rule, remedy } = JSON.parse(error.request.response ?? error.request.responseText);
    return [found, rule, remedy].filter(Boolean).join(" ");
  } catch {
    return `Not saved: ${error.message}`;
  }
}
