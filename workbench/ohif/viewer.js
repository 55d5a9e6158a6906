// What the panel does with OHIF: which series is open, new series shown, segmentations laid over, saved.
import { LOGIN_ENDED } from "./server.js";
import { Strokes } from "./strokes.js";

const WAIT_MS = 30000;
const LOOK_MS = 200;
const EMPTY = "The segmentation holds nothing to save. Draw something first.";

export class Viewer {
  /** @param {object} managers of OHIF, as an extension gets them */
  constructor({ servicesManager, commandsManager, extensionManager }) {
    this.services = servicesManager.services;
    this.commands = commandsManager;
    this.extensions = extensionManager;
    this.strokes = new Strokes(this.services.segmentationService);
  }

  displaySet(id) {
    return this.services.displaySetService.getDisplaySetByUID(id);
  }

  /** The UIDs of the studies that the viewports show. */
  studies() {
    const viewports = [...this.services.viewportGridService.getState().viewports.values()];
    const sets = viewports.flatMap(({ displaySetInstanceUIDs }) => displaySetInstanceUIDs ?? []);
    return new Set(sets.map((id) => this.displaySet(id)?.StudyInstanceUID));
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
    const { segmentationService, viewportGridService } = this.services;
    const segmentationId = set.displaySetInstanceUID;
    await set.load({ headers: {} }); // what cannot be loaded replaces nothing
    for (const old of segmentationService.getSegmentations()) {
      if (old.segmentationId !== segmentationId) {
        this.drop(old.segmentationId);
      }
    }
    const { viewports } = viewportGridService.getState();
    for (const [viewportId, { displaySetInstanceUIDs }] of viewports) {
      if (this.displaySet(displaySetInstanceUIDs?.[0])?.FrameOfReferenceUID === set.FrameOfReferenceUID) {
        await segmentationService.addSegmentationRepresentation(viewportId, { segmentationId, type: "Labelmap" });
      }
    }
  }

  /** Take a segmentation away; opened again it is as the archive has it, not as it was edited. */
  drop(id) {
    this.services.segmentationService.remove(id);
    const set = this.displaySet(id);
    if (set) {
      Object.assign(set, { segments: {}, isLoaded: false, isHydrated: false });
    }
  }

  /** Take away the segmentations that the archive does not list any more: a newer result has replaced them. */
  async forgetReplaced(studyUid) {
    const { displaySetService } = this.services;
    const [source] = this.extensions.getActiveDataSource();
    const listed = new Set((await source.query.series.search(studyUid)).map((series) => series.seriesInstanceUid));
    for (const set of displaySetService.getActiveDisplaySets()) {
      if (set.Modality === "SEG" && set.StudyInstanceUID === studyUid && !listed.has(set.SeriesInstanceUID)) {
        displaySetService.deleteDisplaySet(set.displaySetInstanceUID);
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

  /** The segmentation that is drawn on in the active viewport. */
  active() {
    const { segmentationService, viewportGridService } = this.services;
    const active = segmentationService.getActiveSegmentation(viewportGridService.getActiveViewportId());
    if (!active) {
      throw new Error("There is no segmentation in the active viewport. Click on the image that you drew on.");
    }
    return active.segmentationId;
  }

  /** Store a segmentation in the archive as a new BINARY SEG; returns its series' UID. */
  async save(segmentationId) {
    const state = this.strokes.state(segmentationId); // strokes that are drawn meanwhile are not in it
    const options = { dataSource: "archive", SeriesDescription: "Tumor, corrected" };
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
    this.strokes.keep(segmentationId, state);
    return dataset.SeriesInstanceUID;
  }
}

/** The gateway's refusal of a STOW-RS request, as a text for people. */
export function refusalOf(error) {
  if (error.request?.status === 401) {
    return LOGIN_ENDED;
  }
  try {
    const { found, rule, remedy } = JSON.parse(error.request.response ?? error.request.responseText);
    return [found, rule, remedy].filter(Boolean).join(" ");
  } catch {
    return `Not saved: ${error.message}`;
  }
}
