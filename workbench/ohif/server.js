// MONAI Label's REST API, through the gateway.

const ROOT = "/monai";

/** What the server or the gateway said, as a text for people. */
async function problemOf(answer) {
  const refusal = await answer.json().catch(() => null);
  const said = refusal?.remedy !== undefined ? `${refusal.found} ${refusal.remedy}` : refusal?.detail;
  if (answer.status === 401) {
    return "Your login has ended. Log in again in another tab (/login), then repeat this: nothing is lost here.";
  }
  return typeof said === "string" ? said : `The server answered ${answer.status}.`;
}

async function call(method, path, options = {}) {
  const answer = await fetch(`${ROOT}/${path}`, { method, ...options });
  if (!answer.ok) {
    throw new Error(await problemOf(answer));
  }
  return answer.json().catch(() => ({}));
}

/** @returns {Promise<object>} models, trainers and how training went */
export const info = () => call("GET", "info/");

/**
 * Run a model on the study of a series; what it finds is stored in the archive.
 * @returns {Promise<object>} what the model says of it; super-resolution names the stored `series` by sequence
 */
export function infer(model, seriesUid) {
  const form = new FormData();
  form.append("params", JSON.stringify({ save_label: true, label_tag: "original", result_dtype: "uint8" }));
  return call("POST", `infer/${model}?image=${seriesUid}&output=json`, { body: form });
}

/** Stop the model that works now, at its next step; what waits for it gets an error. */
export const stopInference = () => call("DELETE", "infer/");

/** @returns {Promise<number|undefined>} which part of the inference is done, 0 to 1; nothing where none runs */
export async function inferenceDone() {
  const answer = await fetch(`${ROOT}/infer/`);
  return answer.ok ? (await answer.json()).done : undefined;
}

export const startTraining = (model) =>
  call("POST", `train/${model}`, { body: "{}", headers: { "content-type": "application/json" } });

export const stopTraining = () => call("DELETE", "train/");

/** @returns {Promise<object|null>} the last training: status and the lines of its log; null where there was none */
export async function training() {
  const answer = await fetch(`${ROOT}/train/`);
  if (answer.status === 404) {
    return null;
  }
  if (!answer.ok) {
    throw new Error(await problemOf(answer));
  }
  return answer.json();
}
