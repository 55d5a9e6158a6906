// Strokes that no archive holds: which segmentations differ from what was loaded or saved.

const [OFFSET, PRIME] = [0x811c9dc5, 0x01000193]; // of the hash FNV-1a

/** A number that tells labels from others; slices that hold nothing count nothing. */
export function hashOf(slices) {
  let hash = OFFSET;
  slices.forEach((labels, slice) => {
    for (let index = 0; index < labels.length; index++) {
      if (labels[index]) {
        // The place goes in with the label, so that empty voxels, which are most, cost nothing.
        hash = Math.imul(hash ^ labels[index], PRIME);
        hash = Math.imul(hash ^ index, PRIME);
        hash = Math.imul(hash ^ slice, PRIME);
      }
    }
  });
  return hash >>> 0;
}

export class Strokes {
  /**
   * @param {object} segmentationService of OHIF
   * @param {(id: string) => ArrayLike<number>[]} labelsOf the labels of a segmentation, slice by slice
   */
  constructor(segmentationService, labelsOf = labelsInViewer(segmentationService)) {
    this.service = segmentationService;
    this.labelsOf = labelsOf;
    this.archived = new Map(); // the hash of what the archive holds, by the segmentation's id
    const { SEGMENTATION_ADDED, SEGMENTATION_REMOVED } = segmentationService.EVENTS;
    const added = ({ segmentationId }) => this.keep(segmentationId);
    const removed = ({ segmentationId }) => this.archived.delete(segmentationId);
    this.subscriptions = [
      segmentationService.subscribe(SEGMENTATION_ADDED, added),
      segmentationService.subscribe(SEGMENTATION_REMOVED, removed),
    ];
  }

  end() {
    this.subscriptions.forEach(({ unsubscribe }) => unsubscribe());
  }

  /** The state of a segmentation, to compare a later one with. */
  state(id) {
    return hashOf(this.labelsOf(id));
  }

  /** Take a state, the present one unless given, as what the archive holds. */
  keep(id, state = this.state(id)) {
    this.archived.set(id, state);
  }

  /**
   * @param {Map<string, number>} given states by id that do not count: strokes that were given up
   * @returns {string[]} the ids of the segmentations with strokes that would be lost
   */
  unsaved(given = new Map()) {
    const ids = this.service.getSegmentations().map(({ segmentationId }) => segmentationId);
    return ids.filter((id) => ![this.archived.get(id) ?? hashOf([]), given.get(id)].includes(this.state(id)));
  }

  /** The present states of segmentations, by id. */
  states(ids) {
    return new Map(ids.map((id) => [id, this.state(id)]));
  }
}

/** Reads the labels where OHIF's own tools draw them. */
function labelsInViewer(segmentationService) {
  return (id) => {
    const ids = segmentationService.getSegmentation(id)?.representationData?.Labelmap?.imageIds ?? [];
    return ids.map((imageId) => window.cornerstone.cache.getImage(imageId)?.voxelManager.getScalarData() ?? []);
  };
}
