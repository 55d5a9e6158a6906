// Strokes that are not saved: how they are told, and that nothing replaces them unasked.
import assert from "node:assert/strict";
import test from "node:test";

import { Guard } from "../../../workbench/ohif/guard.js";
import { Strokes, hashOf } from "../../../workbench/ohif/strokes.js";
import { Viewer } from "../../../workbench/ohif/viewer.js";

/** OHIF's segmentation service, as far as it counts here; `labels` are the slices by id. */
function serviceOf(labels) {
  const listeners = {};
  return {
    EVENTS: { SEGMENTATION_ADDED: "added", SEGMENTATION_REMOVED: "removed" },
    subscribe: (event, listener) => {
      listeners[event] = listener;
      return { unsubscribe: () => delete listeners[event] };
    },
    getSegmentations: () => Object.keys(labels).map((segmentationId) => ({ segmentationId })),
    remove(segmentationId) {
      delete labels[segmentationId];
      listeners.removed?.({ segmentationId });
    },
    add(segmentationId, slices) {
      labels[segmentationId] = slices;
      listeners.added?.({ segmentationId });
    },
    listeners,
  };
}

function strokesOver(labels) {
  const service = serviceOf(labels);
  return { service, strokes: new Strokes(service, (id) => labels[id]) };
}

test("each voxel counts, by its place and its label", () => {
  const empty = [Uint8Array.of(0, 0), Uint8Array.of(0, 0)];
  const drawn = [0, 1, 2, 3].map((at) => empty.map((slice, k) => slice.map((_, i) => Number(2 * k + i === at))));
  const other = drawn[0].map((slice) => slice.map((label) => 2 * label));
  assert.equal(new Set([empty, ...drawn, other].map(hashOf)).size, 6);
  assert.equal(hashOf(empty), hashOf([]));
});

test("what was loaded is saved, until something is drawn, and again when that is undone", () => {
  const { service, strokes } = strokesOver({});
  service.add("a", [Uint8Array.of(0, 1)]);
  assert.deepEqual(strokes.unsaved(), []);
  service.add("b", [Uint8Array.of(0, 0)]);
  const drawn = strokes.labelsOf("b")[0];
  drawn[1] = 3;
  assert.deepEqual(strokes.unsaved(), ["b"]);
  drawn[1] = 0;
  assert.deepEqual(strokes.unsaved(), []);
});

test("what was drawn before anybody listened is not saved", () => {
  assert.deepEqual(strokesOver({ a: [Uint8Array.of(1)], b: [Uint8Array.of(0)] }).strokes.unsaved(), ["a"]);
});

test("strokes that are given up count again with the next one", () => {
  const { service, strokes } = strokesOver({});
  service.add("a", [Uint8Array.of(0, 0)]);
  const drawn = strokes.labelsOf("a")[0];
  drawn[0] = 1;
  const given = strokes.states(["a"]);
  assert.deepEqual(strokes.unsaved(given), []);
  drawn[1] = 1;
  assert.deepEqual(strokes.unsaved(given), ["a"]);
});

test("what is kept is the state that was saved, not what was drawn meanwhile", () => {
  const { service, strokes } = strokesOver({});
  service.add("a", [Uint8Array.of(0, 0)]);
  const [drawn, saved] = [strokes.labelsOf("a")[0], strokes.state("a")];
  drawn[0] = 1;
  strokes.keep("a", saved);
  assert.deepEqual(strokes.unsaved(), ["a"]);
  strokes.keep("a");
  assert.deepEqual(strokes.unsaved(), []);
});

/** A guard over one segmentation "a" with an unsaved stroke; `answers` are given to its questions one by one. */
function guarded(answers, save = () => {}) {
  const labels = { a: [Uint8Array.of(1)] };
  const { service, strokes } = strokesOver(labels);
  const [ran, said, asked] = [[], [], []];
  const sets = {
    other: { Modality: "SEG", StudyInstanceUID: "1" },
    image: { Modality: "MR", StudyInstanceUID: "1" },
    elsewhere: { Modality: "MR", StudyInstanceUID: "2" },
  };
  const viewer = {
    strokes,
    commands: { runCommand: (name) => ran.push(name) },
    displaySet: (id) => sets[id],
    studies: () => new Set(["1"]),
    drop: (id) => service.remove(id),
    save: async (id) => {
      await save(id);
      strokes.keep(id);
    },
  };
  const question = async (text, choices) => {
    asked.push(choices.map(([value]) => value));
    return answers.shift();
  };
  const guard = new Guard(viewer, (text) => said.push(text), question);
  Object.assign(globalThis, { history: { state: { idx: 1 } }, location: { href: "/viewer" } });
  globalThis.window = { addEventListener() {}, removeEventListener() {} };
  guard.begin();
  return { guard, viewer, labels, strokes, ran, said, asked };
}

const opening = (id) => ["setDisplaySetsForViewports", { viewportsToUpdate: [{ displaySetInstanceUIDs: [id] }] }];
const REPLACING = [
  ["hydrateSecondaryDisplaySet", { displaySet: { Modality: "SEG" } }],
  opening("other"),
  opening("elsewhere"),
  ["deleteSegmentation", { segmentationId: "a" }],
];

for (const [name, options] of REPLACING) {
  const how = `${name} ${JSON.stringify(options)}`;

  test(`${how} waits for an answer`, async () => {
    const { viewer, labels, ran, asked } = guarded(["cancel"]);
    await viewer.commands.runCommand(name, options);
    assert.deepEqual([ran, labels.a, asked], [[], [Uint8Array.of(1)], [["save", "drop", "cancel"]]]);
  });

  test(`${how} runs when the strokes are saved`, async () => {
    const { viewer, labels, strokes, ran } = guarded(["save"]);
    await viewer.commands.runCommand(name, options);
    assert.deepEqual([ran, strokes.unsaved(), labels.a], [[name], [], [Uint8Array.of(1)]]);
  });

  test(`${how} drops what may go`, async () => {
    const { viewer, labels, said } = guarded(["drop"]);
    await viewer.commands.runCommand(name, options);
    assert.deepEqual([labels.a, said], [undefined, []]);
  });

  test(`${how} does not run after a save that failed`, async (t) => {
    t.mock.method(console, "error", () => {});
    const { viewer, labels, strokes, ran, said } = guarded(["save"], () => Promise.reject(new Error("Full.")));
    await viewer.commands.runCommand(name, options);
    assert.deepEqual([ran, said, labels.a, strokes.unsaved()], [[], ["Full."], [Uint8Array.of(1)], ["a"]]);
  });
}

for (const [name, options] of [
  opening("image"),
  ["setBrushSize", { value: 4 }],
  ["deleteSegmentation", { segmentationId: "b" }],
  ["hydrateSecondaryDisplaySet", { displaySet: { Modality: "SR" } }],
]) {
  test(`${name} ${JSON.stringify(options)} replaces nothing: nobody is asked`, async () => {
    const { viewer, ran, asked } = guarded([]);
    await viewer.commands.runCommand(name, options);
    assert.deepEqual([ran, asked], [[name], []]);
  });
}

test("two who ask at once share one question", async () => {
  const { guard, asked } = guarded(["cancel"]);
  assert.deepEqual(await Promise.all([guard.mayReplace(), guard.mayReplace()]), [null, null]);
  assert.equal(asked.length, 1);
});

test("after the page is left the commands are OHIF's own again", () => {
  const { guard, viewer, ran } = guarded([]);
  guard.end();
  viewer.commands.runCommand(...opening("other"));
  assert.deepEqual(ran, ["setDisplaySetsForViewports"]);
});

const event = (changes = {}) => {
  const said = { stopped: false, prevented: false };
  const stopImmediatePropagation = () => (said.stopped = true);
  return { said, stopImmediatePropagation, preventDefault: () => (said.prevented = true), ...changes };
};

test("the browser asks before a page with strokes is closed, and not without", () => {
  const { guard, strokes } = guarded([]);
  const [left, kept] = [event(), event()];
  guard.unload(left);
  strokes.keep("a");
  guard.unload(kept);
  assert.deepEqual([left.said.prevented, kept.said.prevented], [true, false]);
});

for (const [answer, moves] of [
  ["cancel", [1]],
  ["drop", [1, -1]],
]) {
  test(`the browser's back arrow comes back, and after "${answer}" it has gone ${moves}`, async () => {
    const { guard } = guarded([answer]);
    const gone = [];
    history.go = (steps) => gone.push(steps);
    location.href = "/";
    const back = event({ state: { idx: 0 } });
    guard.turn(back);
    const returned = event({ state: { idx: 1 } });
    guard.turn(returned);
    assert.ok(returned.said.stopped, "OHIF would open the study again");
    await guard.asking;
    await new Promise((resolve) => setTimeout(resolve));
    assert.deepEqual([back.said.stopped, gone], [true, moves]);
    location.href = "/viewer";
  });
}

test("a correction that cannot be loaded replaces nothing", async () => {
  const removed = [];
  const services = {
    segmentationService: {
      ...serviceOf({ a: [] }),
      remove: (id) => removed.push(id),
    },
    displaySetService: { getDisplaySetByUID: () => undefined },
  };
  const viewer = new Viewer({ servicesManager: { services } });
  const broken = { displaySetInstanceUID: "b", load: () => Promise.reject(new Error("gone")) };
  await assert.rejects(viewer.overlay(broken), { message: "gone" });
  assert.deepEqual(removed, []);
});

test("a segmentation that is dropped is read from the archive when it is opened again", () => {
  const set = { segments: { 1: {} }, isLoaded: true, isHydrated: true };
  const services = {
    segmentationService: serviceOf({ a: [] }),
    displaySetService: { getDisplaySetByUID: () => set },
  };
  new Viewer({ servicesManager: { services } }).drop("a");
  assert.deepEqual(set, { segments: {}, isLoaded: false, isHydrated: false });
  assert.deepEqual(services.segmentationService.getSegmentations(), []);
});
