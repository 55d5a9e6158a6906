// A question to the annotator, in front of everything else; the answer is one of the choices.

const STYLE =
  "#acuity-question{margin:auto;max-width:26rem;padding:18px;border:1px solid #3a4a8a;border-radius:8px;" +
  "background:#0b0d2a;color:#e6e9f5;font:14px/1.45 system-ui,sans-serif}" +
  "#acuity-question::backdrop{background:#000a}" +
  "#acuity-question p{margin:0 0 14px}" +
  "#acuity-question div{display:flex;gap:8px;justify-content:flex-end}" +
  "#acuity-question button{padding:5px 14px;border-radius:5px;background:#26306b;color:#fff}" +
  "#acuity-question button[value=save]{background:#0944b3}";

/**
 * @param {string} text
 * @param {[string, string][]} choices value and text of each button; the last one is the answer of the Escape key
 * @returns {Promise<string>} the value of the button that was pressed
 */
export function ask(text, choices) {
  const dialog = document.createElement("dialog");
  dialog.id = "acuity-question";
  const style = document.createElement("style");
  style.textContent = STYLE;
  const paragraph = document.createElement("p");
  paragraph.textContent = text;
  const row = document.createElement("div");
  return new Promise((resolve) => {
    const answer = (value) => {
      dialog.close();
      dialog.remove();
      resolve(value);
    };
    for (const [value, label] of choices) {
      const button = document.createElement("button");
      button.value = value;
      button.textContent = label;
      button.addEventListener("click", () => answer(value));
      row.append(button);
    }
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      answer(choices.at(-1)[0]);
    });
    // OHIF's shortcuts must not draw, undo or turn pages behind the question.
    dialog.addEventListener("keydown", (event) => event.stopPropagation());
    dialog.append(style, paragraph, row);
    document.body.append(dialog);
    dialog.showModal();
  });
}
