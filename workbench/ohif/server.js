// MONAI Label's REST API, through the gateway.

const ROOT = "/monai";

export const LOGIN_ENDED =
  "Your login has ended. Log in again in another tab (/login), then repeat this: nothing is lost here.";

/** "FLAIR is missing ..." where the server lists all series and why it chose none of them; else nothing. */
function missingIn({ code, found }) {
  const [, names, verb] = (code === "missing-sequence" && /^(.*?) (was|were) not found among/.exec(found)) || [];
  const need = "The models need T1, T1c, T2 and FLAIR of the brain: add the series to the study.";
  return names && `${names} ${verb === "was" ? "is" : "are"} missing in this study. ${need}`;
}

/** The refusal of the server or the gateway, as a text for people. */
async function problemOf(answer) {
  const refusal = await answer.json().catch(() => null);
  const missing = refusal && missingIn(refusal);
  if (missing) {
    console.error("Acuity:", refusal.detail); // for who wants to know why each series is none of them
    return missing;
  }
  const said = refusal?.remedy !== undefined ? `${refusal.found} ${refusal.remedy}` : refusal?.detail;
  if (answer.status === 401) {
    return LOGIN_ENDED;
  }
  return typeof said === "string" ? said : `The server answered ${answer.status}.`;
}

async function call(method, path, options = {}) {
  const answer = await fetch(`${ROOT}/${path}`, { method, ...options });
  if (!answer.ok) {
    const error = new Error(await problemOf(answer));
    error.status = answer.status;
    throw error;
  }
  return answer.json().catch(() => ({}));
}

/** The answer to a question after a task, null where there is none. */
async function ask(path) {
  try {
    return await call("GET", path);
  } catch (error) {
    if (error.status === 404) {
      return null;
    }
    throw error;
  }
}

/**
 * Run a model on the study of a series; its result is stored in the archive.
 * @returns {Promise<object>} the model's description of it; super-resolution names the stored `series` by sequence
 */
export function infer(model, seriesUid) {
  const form = new FormData();
  form.append("params", JSON.stringify({ save_label: true, label_tag: "original", result_dtype: "uint8" }));
  return call("POST", `infer/${model}?image=${seriesUid}&output=json`, { body: form });
}

/** Stop the model that works now, at its next step; what waits for it gets an error. */
export const stopInference = () => call("DELETE", "infer/");

/** @returns {Promise<object|null>} the status of the inference that goes on, see status.js */
export const inference = () => ask("infer/");

export const startTraining = (model) =>
  call("POST", `train/${model}`, { body: "{}", headers: { "content-type": "application/json" } });

/** @returns {Promise<object|null>} the status of the last training, see status.js; null where there was none */
export const training = async () => (await ask("train/"))?.progress ?? null;
