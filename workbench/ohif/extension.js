// The extension of OHIF: a hanging protocol, and a panel with the models.
import { Panel } from "./panel.js";
import { protocols } from "./protocol.js";
import { Viewer } from "./viewer.js";

let panel;

export const extension = {
  id: "acuity",
  version: "1.0.0",
  getHangingProtocolModule: protocols,
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
