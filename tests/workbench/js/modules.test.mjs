// The modules of the viewer that need no browser: series, texts, refusals.
import assert from "node:assert/strict";
import test from "node:test";

import { extension } from "../../../workbench/ohif/extension.js";
import { SHARPENED, sequenceOf } from "../../../workbench/ohif/sequences.js";
import * as server from "../../../workbench/ohif/server.js";
import { goesOn, outcomeOf, progressOf } from "../../../workbench/ohif/status.js";
import { Viewer, refusalOf } from "../../../workbench/ohif/viewer.js";

const series = (header, Modality = "MR") => ({ Modality, instances: [header] });

for (const [name, header] of [
  ["T1", { SeriesDescription: "AX T1 MPRAGE" }],
  ["T1c", { SeriesDescription: "AX T1 POST" }],
  ["T1c", { SeriesDescription: "t1 spgr", ContrastBolusAgent: "Gadobutrol" }],
  ["T2", { SeriesDescription: "AX T2 TSE" }],
  ["FLAIR", { SeriesDescription: "T2 dark-fluid" }],
  ["FLAIR", { EchoTime: 120, RepetitionTime: 9000, InversionTime: 2500 }],
  ["T2", { EchoTime: 98, RepetitionTime: 4500 }],
  ["T1", { EchoTime: 12, RepetitionTime: 500 }],
  [SHARPENED, { SeriesDescription: "T2", ImageType: ["DERIVED", "PRIMARY"], Manufacturer: "Acuity" }],
  [SHARPENED, { SeriesDescription: "T2", ImageType: "DERIVED\\PRIMARY", Manufacturer: "Acuity" }],
  [undefined, { SeriesDescription: "localizer" }],
]) {
  test(`a series with ${JSON.stringify(header)} is ${name}`, () => assert.equal(sequenceOf(series(header)), name));
}

test("only MR series with headers are sequences", () => {
  assert.equal(sequenceOf(series({ SeriesDescription: "T1" }, "CT")), undefined);
  assert.equal(sequenceOf({ Modality: "MR" }), undefined);
});

test("every view of the hanging protocol shows a series that it selects", () => {
  const named = [];
  const hangingProtocolService = { addCustomAttribute: (id) => named.push(id) };
  const [{ protocol }] = extension.getHangingProtocolModule({
    servicesManager: { services: { hangingProtocolService } },
  });
  const shown = protocol.stages.flatMap((stage) => stage.viewports).flatMap((viewport) => viewport.displaySets);
  shown.forEach(({ id }) => assert.ok(id in protocol.displaySetSelectors, id));
  const rules = Object.values(protocol.displaySetSelectors).flatMap((selector) => selector.seriesMatchingRules);
  rules.forEach(({ attribute }) => assert.ok(named.includes(attribute)));
});

test("of a study that lacks sequences, those that are there are shown", () => {
  const hangingProtocolService = { addCustomAttribute() {} };
  const [{ protocol }] = extension.getHangingProtocolModule({
    servicesManager: { services: { hangingProtocolService } },
  });
  for (const present of [["T1", "T1c", "T2", "FLAIR"], ["T1", "T1c", "T2"], ["T1c", "T2"], ["T2"]]) {
    const views = protocol.stages.map(({ viewports, stageActivation, viewportStructure }) => {
      const names = viewports.map(({ displaySets: [{ id }] }) => id);
      const { rows, columns } = viewportStructure.properties;
      assert.equal(rows * columns, names.length);
      const matched = names.filter((name) => present.includes(name)).length;
      return matched >= stageActivation.enabled.minViewportsMatched && names;
    });
    assert.deepEqual(views.find(Boolean), present); // OHIF takes the first that is enabled
  }
});

const status = (changes) => ({ task: "train", step: 0, of: 0, part: null, outcome: null, failed: false, ...changes });

test("a task goes on until it has an outcome", () => {
  assert.deepEqual([status(), status({ outcome: "Done." }), null].map(goesOn), [true, false, false]);
});

test("progress is a text and a part", () => {
  assert.deepEqual(progressOf(status()), { text: "Training ...", done: undefined });
  assert.deepEqual(progressOf(status({ task: "find", step: 25, of: 100 })), {
    text: "Looking for tumor: step 25 of 100",
    done: 0.25,
  });
});

test("an outcome is told, and failures are marked", () => {
  assert.deepEqual(outcomeOf(status({ outcome: "Served." })), { text: "Served.", state: "done" });
  assert.equal(outcomeOf(status({ outcome: "The training failed.", failed: true })).state, "failed");
  assert.equal(outcomeOf(null).state, "failed");
});

/** Let the server answer so; `asked` is what it was asked. */
function answering(t, code, body) {
  const asked = [];
  t.mock.method(globalThis, "fetch", async (path, { method }) => {
    asked.push(`${method} ${path}`);
    return new Response(body, { status: code });
  });
  return asked;
}

for (const [code, body, text] of [
  [422, '{"found": "The study has no FLAIR.", "rule": "x", "remedy": "Send one."}', "The study has no FLAIR. Send one."],
  [
    422,
    JSON.stringify({ code: "missing-sequence", found: "FLAIR was not found among 5 series: 1 is T1.", remedy: "T1=UID" }),
    /^FLAIR is missing in this study\. The models need T1, T1c, T2 and FLAIR/,
  ],
  [
    422,
    JSON.stringify({ code: "missing-sequence", found: "T2 and FLAIR were not found among 3 series: 1", remedy: "x" }),
    /^T2 and FLAIR are missing in this study\./,
  ],
  [404, '{"detail": "There is no such image."}', "There is no such image."],
  [401, "", /^Your login has ended/],
  [502, "<html>", "The server answered 502."],
  [422, '{"detail": [{"loc": "x"}]}', "The server answered 422."],
]) {
  test(`a refusal with ${code} and ${body} becomes a text`, async (t) => {
    answering(t, code, body);
    t.mock.method(console, "error", () => {});
    await assert.rejects(server.infer("x", "1.2"), { message: text });
  });
}

test("the calls go to the addresses that the gateway passes on", async (t) => {
  const asked = answering(t, 200, '{"progress": {"task": "train"}}');
  await server.infer("tumor_segmentation", "1.2.3");
  await server.stopInference();
  await server.inference();
  await server.startTraining("tumor_segmentation");
  assert.deepEqual(await server.training(), { task: "train" });
  assert.deepEqual(asked, [
    "POST /monai/infer/tumor_segmentation?image=1.2.3&output=json",
    "DELETE /monai/infer/",
    "GET /monai/infer/",
    "POST /monai/train/tumor_segmentation",
    "GET /monai/train/",
  ]);
});

test("no task is no error", async (t) => {
  answering(t, 404, '{"detail": "No Train Tasks Found"}');
  assert.equal(await server.training(), null);
  assert.equal(await server.inference(), null);
});

test("a refused save tells why", () => {
  const request = { response: '{"found": "No name.", "rule": "It has one.", "remedy": "Give one."}' };
  assert.equal(refusalOf({ request }), "No name. It has one. Give one.");
  assert.equal(refusalOf({ message: "offline" }), "Not saved: offline");
});

test("a login that ended says the same for saving as for finding", async (t) => {
  answering(t, 401, '{"found": "A request without a valid token or session.", "remedy": "Open /login."}');
  const said = await server.infer("x", "1.2").catch((error) => error.message);
  assert.equal(refusalOf({ request: { status: 401, response: '{"found": "x"}' }, message: "x" }), said);
});

function viewer(sets, active = ["a"]) {
  const services = {
    segmentationService: { EVENTS: {}, subscribe: () => ({ unsubscribe() {} }), getSegmentations: () => [] },
    viewportGridService: {
      getState: () => ({ activeViewportId: "v", viewports: new Map([["v", { displaySetInstanceUIDs: active }]]) }),
    },
    displaySetService: {
      getDisplaySetByUID: (id) => sets.find((set) => set.id === id),
      getActiveDisplaySets: () => sets,
    },
  };
  const source = { deleteStudyMetadataPromise() {}, retrieve: { series: { metadata: async () => {} } } };
  return new Viewer({ servicesManager: { services }, extensionManager: { getActiveDataSource: () => [source] } });
}

test("the opened series is the MR one of the active viewport", () => {
  const [seg, mr] = [{ id: "s", Modality: "SEG" }, { id: "m", Modality: "MR" }];
  assert.equal(viewer([seg, mr], ["s", "m"]).opened(), mr);
  assert.throws(() => viewer([seg], ["s"]).opened(), /Click on an image first/);
});

test("a new series is one that fits and was not known", async () => {
  const sets = ["1", "2", "3"].map((uid) => ({ SeriesInstanceUID: uid, Modality: uid === "3" ? "MR" : "SEG" }));
  const shown = viewer(sets);
  assert.deepEqual(shown.known(), new Set(["1", "2", "3"]));
  assert.equal(await shown.newDisplaySet("9", new Set(["1"]), (set) => set.Modality === "SEG"), sets[1]);
});
