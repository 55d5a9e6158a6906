// Studies of one's own, brought into the archive from the worklist: each file is checked by the gateway.
import { LOGIN_ENDED } from "./server.js";

const PATH = "/add";
const OTHER = "no DICOM file";
const LATER = "no-images"; // the gateway's code for a segmentation that comes before its images
const WORDS = { stored: "new", present: "known" };
const MARK = 128; // where "DICM" stands in a file of DICOM
const LOOK_MS = 500;
const STYLE =
  "#acuity-add{position:fixed;right:20px;bottom:20px;z-index:40;padding:8px 16px;border-radius:6px;" +
  "background:#0944b3;color:#fff;font:14px system-ui,sans-serif}" +
  "#acuity-upload{margin:auto;width:46rem;max-height:80vh;padding:20px;border:1px solid #3a4a8a;border-radius:8px;" +
  "background:#0b0d2a;color:#e6e9f5;font:14px/1.45 system-ui,sans-serif}" +
  "#acuity-upload::backdrop{background:#000a} #acuity-upload h2{font-size:17px;margin:0 0 8px}" +
  "#acuity-upload :is(button,label){display:inline-block;margin:10px 8px 0 0;padding:5px 14px;border-radius:5px;" +
  "background:#0944b3;color:#fff;cursor:pointer} #acuity-upload :is(button:disabled,label[aria-disabled=true])" +
  "{opacity:.4;cursor:default} #acuity-upload input{display:none} #acuity-upload progress{width:100%}" +
  "#acuity-upload table{width:100%;margin-top:10px;border-collapse:collapse}" +
  "#acuity-upload td{padding:3px 8px 3px 0;border-top:1px solid #26306b;vertical-align:top}" +
  "#acuity-upload .refused{color:#ff9c9c}";

/** What became of the files: rows for the table, [count, outcome, text]. */
export class Report {
  constructor() {
    this.came = new Map();
    this.refused = new Map();
    this.others = 0;
  }

  take(told) {
    const key = JSON.stringify([WORDS[told.outcome], `${told.modality} ${told.number} ${told.series}`]);
    this.came.set(key, (this.came.get(key) ?? 0) + 1);
  }

  refuse(name, reason) {
    this.refused.set(reason, [...(this.refused.get(reason) ?? []), name]);
  }

  rows() {
    const came = [...this.came].map(([key, count]) => [count, ...JSON.parse(key)]);
    came.sort((one, other) => one[2].localeCompare(other[2]));
    const refused = [...this.refused].map(([reason, names]) => {
      const more = names.length > 3 ? ", ..." : "";
      return [names.length, "refused", `${reason} (${names.slice(0, 3).join(", ")}${more})`];
    });
    const others = this.others ? [[this.others, "passed over", "Files that are not in the DICOM file format"]] : [];
    return [...came, ...refused, ...others];
  }
}

const isDicom = async (file) => (await file.slice(MARK, MARK + 4).text()) === "DICM";

/** Send one file: {told} where it came in, {code, reason} where it did not. */
async function send(file) {
  try {
    const answer = await fetch(PATH, { method: "POST", body: file, headers: { "content-type": "application/dicom" } });
    const told = await answer.json();
    const reason = answer.status === 401 ? LOGIN_ENDED : `${told.found} ${told.remedy}`;
    return answer.ok ? { told } : { code: told.code, reason, status: answer.status };
  } catch (error) {
    return { code: "offline", reason: `The gateway cannot be reached: ${error.message}` };
  }
}

/**
 * Send files one by one; segmentations that came before their images once more in the end.
 * @param {File[]} files
 * @param {(done: number, of: number) => void} advance
 * @returns {Promise<Report>}
 */
export async function upload(files, advance) {
  const report = new Report();
  const later = [];
  let done = 0;
  const take = async (file, again) => {
    const answer = (await isDicom(file)) ? await send(file) : { code: OTHER };
    if (answer.code === LATER && !again) {
      later.push(file);
      return answer;
    }
    if (answer.told) {
      report.take(answer.told);
    } else if (answer.code === OTHER) {
      report.others += 1;
    } else {
      report.refuse(file.webkitRelativePath || file.name, answer.reason);
    }
    advance((done += 1), files.length);
    return answer;
  };
  for (const [list, again] of [
    [files, false],
    [later, true],
  ]) {
    for (const file of list) {
      const { status } = await take(file, again);
      if (status === 401 || status === 403) {
        return report; // none of the others would come in
      }
    }
  }
  return report;
}

/** The button and the dialog of the worklist. */
export class Upload {
  constructor() {
    const style = document.createElement("style");
    style.textContent = STYLE;
    this.button = document.createElement("button");
    this.button.id = "acuity-add";
    this.button.textContent = "Add studies";
    this.button.addEventListener("click", () => this.open());
    this.button.hidden = true;
    document.body.append(style, this.button);
  }

  /** Show the button on the worklist, to those who may add. */
  async watch() {
    const answer = await fetch(PATH).catch(() => null);
    const may = answer?.ok && (await answer.json()).may_add;
    if (may) {
      setInterval(() => (this.button.hidden = location.pathname !== "/"), LOOK_MS);
    }
  }

  open() {
    this.dialog = document.createElement("dialog");
    this.dialog.id = "acuity-upload";
    this.dialog.innerHTML =
      "<h2>Add studies to the archive</h2><p>Choose the folder of an exported study, or files. MR images come in, and " +
      "segmentations and reports with them. Each file is checked; nothing in the archive changes.</p>" +
      "<label>Folder<input type=file webkitdirectory multiple></label><label>Files<input type=file multiple></label>" +
      "<button>Close</button><p role=status></p><progress hidden></progress><table></table>";
    const [close] = this.dialog.querySelectorAll("button");
    close.addEventListener("click", () => this.close());
    this.dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.close();
    });
    this.dialog.addEventListener("keydown", (event) => event.stopPropagation());
    for (const input of this.dialog.querySelectorAll("input")) {
      input.addEventListener("change", () => this.take([...input.files]));
    }
    document.body.append(this.dialog);
    this.dialog.showModal();
  }

  async take(files) {
    const [status, bar] = [this.dialog.querySelector("[role=status]"), this.dialog.querySelector("progress")];
    const controls = this.dialog.querySelectorAll("input,button,label");
    const enable = (able) =>
      controls.forEach((control) => {
        control.disabled = !able;
        control.setAttribute("aria-disabled", String(!able));
      });
    enable(false);
    bar.hidden = false;
    const report = await upload(files, (done, of) => {
      [bar.max, bar.value] = [of, done];
      status.textContent = `${done} of ${of} files`;
    });
    bar.hidden = true;
    enable(true);
    this.added = report.came.size > 0;
    status.textContent = report.refused.size ? "Some files were refused; the others are in the archive." : "Done.";
    this.dialog.querySelector("table").replaceChildren(...report.rows().map(rowOf));
  }

  close() {
    this.dialog.remove();
    if (this.added) {
      location.reload(); // the list of studies is read once
    }
  }
}

function rowOf(values) {
  const row = document.createElement("tr");
  row.className = values[1];
  row.append(
    ...values.map((value) => {
      const cell = document.createElement("td");
      cell.textContent = value;
      return cell;
    }),
  );
  return row;
}
