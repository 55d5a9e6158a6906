// The panel: ask the models, save a correction, train on the corrections.
import { Guard } from "./guard.js";
import { sequenceOf } from "./sequences.js";
import * as server from "./server.js";
import { goesOn, outcomeOf, progressOf } from "./status.js";

const SEGMENT = "tumor_segmentation";
const SHARPEN_AND_SEGMENT = "super_resolve_and_segment";
const SHARPEN = "super_resolution";
const [LOOK_MS, SELDOM_MS] = [3000, 30000]; // between two looks at a training, and where there is none

export class Panel {
  /** @param {Viewer} viewer */
  constructor(viewer) {
    this.viewer = viewer;
    this.guard = new Guard(viewer, (text) => this.say(text, "failed"));
    this.root = document.createElement("section");
    this.root.id = "acuity-panel";
    this.root.setAttribute("aria-label", "Acuity");
    this.status = document.createElement("output");
    this.status.setAttribute("role", "status");
    this.bar = document.createElement("progress");
    this.bar.style.width = "100%";
    this.training = false; // whether one goes on
    this.awaited = false; // whether the end of one is still to be told
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
      "#acuity-panel button:disabled{opacity:.4;cursor:default} #acuity-panel [hidden]{display:none}" +
      // OHIF's tools that need a network of another server, which our policy does not let in: they would do nothing.
      '[data-cy="LabelmapSlicePropagation"],[data-cy="MarkerLabelmap"],[data-cy="ClickSegment"]{display:none}';
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
    this.guard.begin();
    this.watchTraining();
  }

  hide() {
    clearTimeout(this.timer);
    this.guard.end();
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
    this.enable();
  }

  enable() {
    const working = this.root.dataset.state === "working";
    this.buttons.forEach((button) => (button.disabled = working || (this.training && button.id === "acuity-train")));
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
    this.say(`${text} ...`, "working");
    this.enable();
    this.bar.hidden = this.cancel.hidden = false;
    this.advance(undefined);
    const clock = setInterval(async () => {
      this.say(`${text} ... ${seconds()} s`, "working");
      const status = await server.inference().catch(() => null);
      if (this.root.dataset.state === "working") {
        this.advance(status ? progressOf(status).done : undefined);
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

  async segment(model) {
    const given = await this.guard.mayReplace().catch((error) => this.rest(error.message, "failed"));
    if (!given) {
      return;
    }
    await this.work("Looking for tumor", async () => {
      const opened = this.viewer.opened();
      const known = this.viewer.known();
      await server.infer(model, opened.SeriesInstanceUID);
      const fits = (set) => set.Modality === "SEG";
      const found = await this.viewer.newDisplaySet(opened.StudyInstanceUID, known, fits);
      // People draw while they wait: these strokes are asked about, too.
      const replaced = await this.guard.mayReplace(given);
      if (replaced === null) {
        return "The tumor is found: open it from the list when your strokes are saved";
      }
      await this.viewer.overlay(found);
      await this.viewer.forgetReplaced(opened.StudyInstanceUID);
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
      await this.viewer.save(this.viewer.active());
      return "Saved: models learn from it";
    });
  }

  async train() {
    await this.work("Starting the training", async () => {
      await server.startTraining(SEGMENT);
      this.awaited = true;
      return "Training";
    });
    await this.watchTraining();
  }

  /** Show how a training goes, from when the page opens until it ends. */
  async watchTraining() {
    clearTimeout(this.timer);
    try {
      this.follow(await server.training());
    } catch (error) {
      console.error("Acuity:", error); // the server may answer at the next look
    }
    clearTimeout(this.timer);
    if (this.root.isConnected) {
      this.timer = setTimeout(() => this.watchTraining(), this.awaited ? LOOK_MS : SELDOM_MS);
    }
  }

  /** @param {object|null} status of the last training, see status.js */
  follow(status) {
    this.training = goesOn(status);
    this.awaited ||= this.training;
    this.buttons.find((button) => button.id === "acuity-train").textContent = this.training ? "Training ..." : "Train";
    this.enable();
    if (!this.awaited || this.root.dataset.state === "working") {
      return; // nothing to tell, or not before the work that is shown is done
    }
    if (this.training) {
      const { done, text } = progressOf(status);
      this.bar.hidden = false;
      this.advance(done);
      this.status.textContent = text;
    } else {
      this.awaited = false;
      const { text, state } = outcomeOf(status);
      this.rest(text, state);
    }
  }
}
