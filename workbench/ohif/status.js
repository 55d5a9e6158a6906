// The panel's words for a task, from the status that the server tells: label/status.py says what it holds.

const DOING = { find: "Looking for tumor", sharpen: "Sharpening", correct: "Correcting", train: "Training" };

/** Whether a task goes on; `status` is null where there was none. */
export const goesOn = (status) => status !== null && status.outcome === null;

/** @returns {{text: string, done: number|undefined}} for people, and the part that is done, 0 to 1, if it is known */
export function progressOf({ task, step, of, part }) {
  const text = part === null ? DOING[task] : `${DOING[task]} the ${part} network`;
  return of ? { text: `${text}: step ${step} of ${of}`, done: step / of } : { text: `${text} ...`, done: undefined };
}

/** @returns {{text: string, state: string}} the end of a task, for people and for the panel's style */
export function outcomeOf(status) {
  if (status === null) {
    return { text: "The server was restarted and does not know the task any more.", state: "failed" };
  }
  return { text: status.outcome, state: status.failed ? "failed" : "done" };
}
