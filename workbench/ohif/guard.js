// No stroke is lost unasked: "save, drop, cancel" before anything replaces a segmentation, and before leaving.
import { ask } from "./question.js";

const QUESTION = "The segmentation has strokes that are not saved.";
const CHOICES = [
  ["save", "Save"],
  ["drop", "Drop"],
  ["cancel", "Cancel"],
];
const BACK = '[data-cy="return-to-work-list"]';
const OVERLAYS = ["SEG", "RTSTRUCT"];

export class Guard {
  /**
   * @param {Viewer} viewer
   * @param {(text: string) => void} tell what went wrong with saving
   * @param {typeof ask} question
   */
  constructor(viewer, tell, question = ask) {
    this.viewer = viewer;
    this.strokes = viewer.strokes;
    this.tell = tell;
    this.question = question;
    this.asking = null; // the question that is open: there is one at a time
    this.free = false; // whether the page may be left without a question
    this.returning = false; // whether the browser is on its way back to this page
  }

  /**
   * Ask where there are unsaved strokes, and save them if that is the answer. A save that fails is an error.
   * @param {Map<string, number>} given states that were given up before, see Strokes
   * @returns {Promise<Map<string, number>|null>} the states that were given up; null where nothing may be replaced
   */
  mayReplace(given = new Map(), ids = this.strokes.unsaved(given)) {
    this.asking ??= this.decide(given, ids).finally(() => (this.asking = null));
    return this.asking;
  }

  async decide(given, ids) {
    const answer = ids.length ? await this.question(QUESTION, CHOICES) : "nothing is lost";
    if (answer === "cancel") {
      return null;
    }
    if (answer === "drop") {
      return new Map([...given, ...this.strokes.states(ids)]);
    }
    for (const id of ids) {
      await this.viewer.save(id);
    }
    return given;
  }

  /** Do something that replaces these segmentations, once that is allowed. */
  async replace(ids, act) {
    try {
      const given = await this.mayReplace(new Map(), ids);
      return given && (await act([...given.keys()]));
    } catch (error) {
      console.error("Acuity:", error);
      this.tell(error.message);
    }
  }

  /** Watch the commands of OHIF and the ways out of the page, until `end`. */
  begin() {
    const { commands } = this.viewer;
    this.run = commands.runCommand;
    commands.runCommand = (name, options = {}, context) => this.command(name, options, context);
    this.place = [history.state?.idx, location.href];
    this.listeners = [
      ["beforeunload", (event) => this.unload(event)],
      ["click", (event) => this.click(event)],
    ];
    this.listeners.forEach(([name, listener]) => window.addEventListener(name, listener, true));
  }

  end() {
    this.viewer.commands.runCommand = this.run;
    this.listeners.forEach(([name, listener]) => window.removeEventListener(name, listener, true));
    this.strokes.end();
  }

  /** Run a command of OHIF; ask before it if it replaces a segmentation. */
  command(name, options, context) {
    const run = () => this.run.call(this.viewer.commands, name, options, context);
    const replaced = this.replaces(name, options) ? this.strokes.unsaved() : [];
    const ids = name === "deleteSegmentation" ? replaced.filter((id) => id === options.segmentationId) : replaced;
    if (!ids.length) {
      return run();
    }
    return this.replace(ids, (dropped) => {
      dropped.forEach((id) => this.viewer.drop(id));
      return name === "deleteSegmentation" && dropped.length ? undefined : run();
    });
  }

  replaces(name, options) {
    if (name === "hydrateSecondaryDisplaySet") {
      return OVERLAYS.includes(options.displaySet?.Modality);
    }
    if (name === "setDisplaySetsForViewports") {
      return this.opensOther(options.viewportsToUpdate ?? []);
    }
    return name === "deleteSegmentation";
  }

  /** Whether viewports are to show a stored segmentation, or another study. */
  opensOther(viewports) {
    const sets = viewports.flatMap(({ displaySetInstanceUIDs }) => displaySetInstanceUIDs ?? []);
    const shown = this.viewer.studies();
    return sets
      .map((id) => this.viewer.displaySet(id))
      .some((set) => set && (OVERLAYS.includes(set.Modality) || !shown.has(set.StudyInstanceUID)));
  }

  /** The page is closed, reloaded or left for another one: the browser asks, in words of its own. */
  unload(event) {
    if (!this.free && this.strokes.unsaved().length) {
      event.preventDefault();
      event.returnValue = true; // for browsers that do not go by preventDefault yet
    }
  }

  /** OHIF's arrow to the list of studies. */
  click(event) {
    const arrow = event.target.closest?.(BACK);
    if (!arrow || this.free || !this.strokes.unsaved().length) {
      return;
    }
    event.preventDefault();
    event.stopImmediatePropagation();
    this.leave(() => arrow.click());
  }

  /**
   * The browser's arrows: the address has changed already, but OHIF does not know it yet, and must not. It listens from
   * when it starts, so that whoever calls this has to listen before.
   */
  turn(event) {
    const [index, address] = this.place;
    if (this.returning) {
      this.returning = false;
      event.stopImmediatePropagation();
      return;
    }
    if (this.free || location.href === address || !this.strokes.unsaved().length) {
      return;
    }
    event.stopImmediatePropagation();
    const steps = (event.state?.idx ?? index - 1) - index || -1;
    this.returning = true;
    history.go(-steps);
    this.leave(() => history.go(steps));
  }

  leave(go) {
    return this.replace(this.strokes.unsaved(), () => {
      this.free = true;
      go();
    });
  }
}
