// The panel follows a training to its end; a few lines stand in for the browser's document.
import assert from "node:assert/strict";
import test from "node:test";

class Element {
  constructor() {
    Object.assign(this, { dataset: {}, style: {}, isConnected: false });
  }
  append() {}
  addEventListener() {}
  setAttribute() {}
  removeAttribute(name) {
    delete this[name];
  }
}

globalThis.document = { createElement: () => new Element() };
const { Panel } = await import("../../../workbench/ohif/panel.js");

const status = (changes) => ({ task: "train", step: 0, of: 0, part: null, outcome: null, failed: false, ...changes });

test("a training is followed to its end", () => {
  const panel = new Panel({});
  const train = panel.buttons.find((button) => button.id === "acuity-train");
  panel.follow(null);
  assert.deepEqual([panel.status.textContent, train.textContent, train.disabled], ["Ready", "Train", false]);
  panel.follow(status());
  assert.deepEqual([panel.status.textContent, train.textContent, train.disabled], [
    "Training ...",
    "Training ...",
    true,
  ]);
  panel.follow(status({ step: 200, of: 300, part: "fine" }));
  assert.equal(panel.status.textContent, "Training the fine network: step 200 of 300");
  assert.equal(panel.bar.value, 2 / 3);
  panel.follow(status({ step: 300, of: 300, outcome: "Kept aside." }));
  assert.deepEqual([panel.status.textContent, panel.root.dataset.state], ["Kept aside.", "done"]);
  assert.deepEqual([train.textContent, train.disabled, panel.bar.hidden], ["Train", false, true]);
  panel.rest("Saved");
  panel.follow(status({ outcome: "Kept aside." }));
  assert.equal(panel.status.textContent, "Saved", "an end is told once");
});

test("other work goes on being shown", () => {
  const panel = new Panel({});
  panel.say("Saving ...", "working");
  panel.follow(status({ step: 1, of: 2 }));
  assert.equal(panel.status.textContent, "Saving ...");
  assert.ok(panel.buttons.every((button) => button.disabled));
});

test("a failed training is marked", () => {
  const panel = new Panel({});
  panel.follow(status());
  panel.follow(status({ outcome: "The training failed. Correct more.", failed: true }));
  assert.equal(panel.root.dataset.state, "failed");
});
