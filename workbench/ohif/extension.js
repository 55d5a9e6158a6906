// The extension of OHIF: a hanging protocol, a panel with the models, and a way in for studies of one's own.
import { Panel } from "./panel.js";
import { protocols } from "./protocol.js";
import { Upload } from "./upload.js";
import { Viewer } from "./viewer.js";

let panel;

export const extension = {
  id: "acuity",
  version: "1.0.0",
  getHangingProtocolModule: protocols,
  preRegistration() {
    window.addEventListener("popstate", (event) => panel?.guard.turn(event), true); // before OHIF listens
    new Upload().watch();
  },
  onModeEnter(managers) {
    panel?.hide();
    panel = new Panel(new Viewer(managers));
    panel.show();
  },
  onModeExit() {
    panel?.hide();
    panel = undefined;
  },
};
