// The panel: ask the models, save a correction, train on what was corrected.
import { sequenceOf } from "/acuity/sequences.js";
import * as server from "/acuity/server.js";

const SEGMENT = "tumour_segmentation";
const SHARPEN_AND_SEGMENT = "super_resolve_and_segment";
const SHARPEN = "super_resolution";
const [LOOK_MS, SELDOM_MS] = [3000, 30000]; // between two looks at a training, and where there is none

export class Panel {
  /** @param {Viewer} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    this.root = document.createElement("section");
    this.root.id = "acuity-panel";
    this.root.setAttribute("aria-label", "Acuity");
    this.status = document.createElement("output");
    this.status.setAttribute("role", "status");
    this.bar = document.createElement("progress");
    this.bar.style.width = "100%";
    this.buttons = [
      this.button("segment", "Find tumor", () => this.segment(SEGMENT)),
      this.button("sharpen-and-segment", "Sharpen, then find tumor", () => this.segment(SHARPEN_AND_SEGMENT)),
      this.button("sharpen", "Sharpen", () => this.sharpen()),
      this.button("save", "Save correction", () => this.save()),
      this.button("train", "Train", () => this.train()),
    ];
    this.cancel = this.button("cancel", "Stop", () => server.stopInference().catch(() => {}));
    const note = document.createElement("small");
    note.textContent = "Research only. Not for primary diagnosis.";
    const style = document.createElement("style");
    style.textContent =
      "#acuity-panel button{padding:5px 10px;border-radius:5px;background:#0944b3;color:#fff}" +
      "#acuity-panel button:disabled{opacity:.4;cursor:default} #acuity-panel [hidden]{display:none}";
    this.root.append(style, ...this.buttons, this.bar, this.cancel, this.status, note);
    // In the corner below OHIF's own list of segmentations: over the images it would hide what is annotated.
    this.root.style.cssText =
      "position:fixed;right:0;bottom:0;z-index:40;display:grid;gap:5px;width:17.5rem;padding:10px;" +
      "background:#050615;border-top:1px solid #3a4a8a;color:#e6e9f5;font:13px/1.3 system-ui,sans-serif";
    this.rest("Ready");
  }

  button(name, text, act) {
    const button = document.createElement("button");
    button.id = `acuity-${name}`;
    button.textContent = text;
    button.addEventListener("click", act);
    return button;
  }

  show() {
    document.body.append(this.root);
    this.watchTraining();
  }

  hide() {
    clearTimeout(this.timer);
    this.root.remove();
  }

  say(text, state) {
    this.status.textContent = text;
    this.root.dataset.state = state; // working, done, failed: for tests and style
    this.status.style.color = state === "failed" ? "#ff9c9c" : "#e6e9f5";
  }

  rest(text, state = "done") {
    this.say(text, state);
    this.bar.hidden = this.cancel.hidden = true;
    this.buttons.forEach((button) => (button.disabled = false));
  }

  /** Fill the bar to this part, 0 to 1; without one it only says that something goes on. */
  advance(done) {
    if (done === undefined) {
      this.bar.removeAttribute("value");
    } else {
      this.bar.value = done;
    }
  }

  /** Do something that takes a while: how long and how far is shown, and what went wrong. */
  async work(text, act) {
    const began = performance.now();
    const seconds = () => Math.round((performance.now() - began) / 1000);
    this.buttons.forEach((button) => (button.disabled = true));
    this.bar.hidden = this.cancel.hidden = false;
    this.advance(undefined);
    this.say(`${text} ...`, "working");
    const clock = setInterval(async () => {
      this.say(`${text} ... ${seconds()} s`, "working");
      const done = await server.inferenceDone().catch(() => undefined);
      if (this.root.dataset.state === "working") {
        this.advance(done);
      }
    }, 1000);
    try {
      const outcome = await act();
      clearInterval(clock);
      this.rest(`${outcome} (${seconds()} s)`);
    } catch (error) {
      clearInterval(clock);
      console.error("Acuity:", error);
      this.rest(error.message, "failed");
    }
  }

  segment(model) {
    return this.work("Looking for tumor", async () => {
      const opened = this.viewer.opened();
      const known = this.viewer.known();
      await server.infer(model, opened.SeriesInstanceUID);
      const fits = (set) => set.Modality === "SEG";
      await this.viewer.overlay(await this.viewer.newDisplaySet(opened.StudyInstanceUID, known, fits));
      return "Tumor outlined; correct it with the brush, then save";
    });
  }

  sharpen() {
    return this.work("Sharpening", async () => {
      const opened = this.viewer.opened();
      const known = this.viewer.known();
      const { series } = await server.infer(SHARPEN, opened.SeriesInstanceUID);
      const made = series[sequenceOf(opened)] ?? Object.values(series)[0];
      const fits = (set) => set.SeriesInstanceUID === made;
      this.viewer.beside(opened, await this.viewer.newDisplaySet(opened.StudyInstanceUID, known, fits));
      return "The sharpened series is on the right";
    });
  }

  save() {
    return this.work("Saving", async () => {
      await this.viewer.save();
      return "Saved: models learn from it";
    });
  }

  async train() {
    await this.work("Starting the training", async () => {
      await server.startTraining(SEGMENT);
      return "Training";
    });
    this.watchTraining();
  }

  /** Show how a training goes, from when the page opens until it ends. */
  async watchTraining() {
    clearTimeout(this.timer);
    const task = await server.training().catch(() => null);
    const running = task && ["RUNNING", "PENDING", "SCHEDULED"].includes(String(task.status).toUpperCase());
    const button = this.buttons[4];
    button.textContent = running ? "Training ..." : "Train";
    button.disabled = Boolean(running);
    if (running) {
      this.trained = true;
      const { done, text } = progressOf(task);
      if (this.root.dataset.state !== "working") {
        this.bar.hidden = false;
        this.advance(done);
        this.status.textContent = text;
      }
    } else if (this.trained) {
      this.trained = false;
      const failed = String(task?.status).toUpperCase() !== "DONE";
      this.rest(failed ? "The training failed; its log says why." : outcomeOf(task), failed ? "failed" : "done");
    }
    if (this.root.isConnected) {
      this.timer = setTimeout(() => this.watchTraining(), running ? LOOK_MS : SELDOM_MS);
    }
  }
}

/** How far a training is: MONAI Label gives the last lines of its log. */
function progressOf(task) {
  const lines = (task.details ?? []).filter(Boolean);
  const epochs = lines.map((line) => /epoch[^0-9]*([0-9]+)\s*\/\s*([0-9]+)/i.exec(line)).filter(Boolean);
  if (!epochs.length) {
    return { text: "Training ..." };
  }
  const [, at, of] = epochs[epochs.length - 1].map(Number);
  return { done: at / of, text: `Training: epoch ${at} of ${of}` };
}

function outcomeOf(task) {
  const lines = (task.details ?? []).filter((line) => /candidate|served|rejected|kept/i.test(line));
  const last = lines[lines.length - 1];
  return last ? last.replace(/^.*\) - /, "") : "The training is done.";
}
