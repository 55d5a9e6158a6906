// Which of the four sequences a series shows, for its place on the screen only: the server chooses by rules of its own.

export const SEQUENCES = ["T1", "T1c", "T2", "FLAIR"];
export const SHARPENED = "sharpened"; // a series that Acuity computed

/**
 * @param {object} displaySet of OHIF, with the headers of its images
 * @returns {string|undefined} a name of SEQUENCES, SHARPENED, or nothing for another series
 */
export function sequenceOf(displaySet) {
  const header = displaySet.instances?.[0] ?? displaySet.images?.[0];
  if (displaySet.Modality !== "MR" || !header) {
    return undefined;
  }
  const types = [header.ImageType ?? []].flat().flatMap((text) => String(text).split("\\"));
  if (types[0] === "DERIVED" && /acuity/i.test(String(header.Manufacturer))) {
    return SHARPENED;
  }
  const text = String(header.SeriesDescription ?? "").toLowerCase();
  const [echo, repetition, inversion] = [header.EchoTime, header.RepetitionTime, header.InversionTime].map(Number);
  if (/flair|dark.?fluid/.test(text) || (inversion > 1500 && echo > 60)) {
    return "FLAIR";
  }
  if (/t2/.test(text) || (echo > 60 && repetition > 2000)) {
    return "T2";
  }
  if (/t1|mprage|spgr/.test(text) || (echo < 40 && repetition < 3500)) {
    const enhanced = header.ContrastBolusAgent || /post|gad|\bgd\b|\+c|t1c|ce\b|contrast/.test(text);
    return enhanced ? "T1c" : "T1";
  }
  return undefined;
}
