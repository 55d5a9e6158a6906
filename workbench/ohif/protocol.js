// The hanging protocol: the four sequences side by side, on one slice, the segmentation over each of them.
import { SEQUENCES, SHARPENED, sequenceOf } from "./sequences.js";

const ATTRIBUTE = "acuitySequence";
const MODALITY_IS_MR = { attribute: "ModalitiesInStudy", constraint: { contains: ["MR"] } };

function selector(sequence) {
  return {
    allowUnmatchedView: true,
    seriesMatchingRules: [{ attribute: ATTRIBUTE, constraint: { equals: sequence }, required: true, weight: 10 }],
  };
}

function viewport(id) {
  return {
    viewportOptions: {
      viewportType: "volume",
      orientation: "acquisition", // as it was scanned: what is painted falls on the voxels of the series
      toolGroupId: "default",
      allowUnmatchedView: true,
      initialImageOptions: { preset: "middle" },
      syncGroups: [
        { type: "imageSlice", id: "acuitySlice", source: true, target: true },
        { type: "hydrateseg", id: "sameFORId", source: true, target: true, options: { matchingRules: ["sameFOR"] } },
      ],
    },
    displaySets: [{ id }],
  };
}

function stage(name, rows, columns, ids) {
  return {
    name,
    stageActivation: { enabled: { minViewportsMatched: ids.length } },
    viewportStructure: { layoutType: "grid", properties: { rows, columns } },
    viewports: ids.map(viewport),
  };
}

/** What to show, the most sequences first: of a study that lacks one, the others are side by side. */
function stages() {
  const all = Array.from({ length: 2 ** SEQUENCES.length }, (_, bits) => SEQUENCES.filter((_, n) => bits & (1 << n)));
  const shown = all.filter((names) => names.length).sort((one, other) => other.length - one.length);
  return shown.map((names) => stage(names.join(", "), ...(names.length > 3 ? [2, 2] : [1, names.length]), names));
}

/** @returns {object[]} for an extension's getHangingProtocolModule */
export function protocols({ servicesManager }) {
  servicesManager.services.hangingProtocolService.addCustomAttribute(ATTRIBUTE, "MR sequence", sequenceOf);
  const names = [...SEQUENCES, SHARPENED];
  const protocol = {
    id: "acuity.sequences",
    name: "Four sequences",
    description: "T1, T1c, T2 and FLAIR side by side",
    protocolMatchingRules: [{ ...MODALITY_IS_MR, weight: 100 }],
    toolGroupIds: ["default"],
    displaySetSelectors: Object.fromEntries(names.map((name) => [name, selector(name)])),
    defaultViewport: viewport("T1c"),
    stages: stages(),
  };
  return [{ name: protocol.id, protocol }];
}
