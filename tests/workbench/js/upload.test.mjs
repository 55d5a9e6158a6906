// Studies brought in from the worklist: what is sent, what is told.
import assert from "node:assert/strict";
import test from "node:test";

import { upload } from "../../../workbench/ohif/upload.js";

const dicom = (name) => new File([new Uint8Array(128), "DICM", name], name);

/** A gateway that answers by the file's name, and `sent`, the names that it got. */
function answering(t, answers) {
  const sent = [];
  t.mock.method(globalThis, "fetch", async (path, { method, body }) => {
    assert.deepEqual([path, method], ["/add", "POST"]);
    sent.push(body.name);
    const [status, told] = answers[body.name].shift() ?? [200, { outcome: "stored" }];
    return new Response(JSON.stringify({ modality: "MR", number: "2", series: "T1", ...told }), { status });
  });
  return sent;
}

const refusal = (code) => ({ code, found: "Found.", rule: "Rule.", remedy: "Remedy." });

test("what came in and what did not is counted", async (t) => {
  const answers = { a: [], b: [[200, { outcome: "present" }]], c: [[409, refusal("other-patient")]], d: [] };
  const sent = answering(t, answers);
  const steps = [];
  const files = [...["a", "b", "c", "d"].map(dicom), new File(["text"], "notes.txt")];
  const report = await upload(files, (done, of) => steps.push([done, of]));
  assert.deepEqual(sent, ["a", "b", "c", "d"]);
  assert.deepEqual(steps, [1, 2, 3, 4, 5].map((done) => [done, 5]));
  assert.deepEqual(report.rows(), [
    [2, "new", "MR 2 T1"],
    [1, "known", "MR 2 T1"],
    [1, "refused", "Found. Remedy. (c)"],
    [1, "passed over", "Files that are not in the DICOM file format"],
  ]);
});

test("a segmentation that comes before its images is sent again, once", async (t) => {
  const early = [409, refusal("no-images")];
  const sent = answering(t, { seg: [early], image: [], lost: [early, early] });
  const report = await upload(["seg", "lost", "image"].map(dicom), () => {});
  assert.deepEqual(sent, ["seg", "lost", "image", "seg", "lost"]);
  assert.deepEqual(report.rows().slice(1), [[1, "refused", "Found. Remedy. (lost)"]]);
});

test("nothing more is sent when the login has ended", async (t) => {
  const sent = answering(t, { a: [], b: [[401, refusal("no-identity")]], c: [] });
  const report = await upload(["a", "b", "c"].map(dicom), () => {});
  assert.deepEqual(sent, ["a", "b"]);
  assert.match(report.rows()[1][2], /^Your login has ended/);
});

test("a gateway that is away is told of each file", async (t) => {
  t.mock.method(globalThis, "fetch", () => Promise.reject(new TypeError("offline")));
  const report = await upload(["a", "b"].map(dicom), () => {});
  assert.deepEqual(report.rows(), [[2, "refused", "The gateway cannot be reached: offline (a, b)"]]);
});
