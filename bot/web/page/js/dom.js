// Small helpers over the document. Text only ever enters through textContent, so nothing the exchange says is markup.

export const $ = id => document.getElementById(id);

/** Make an element: make("button", { class: "quiet", type: "button", onclick }, "Close"). */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Write a text if it changed: the layout is left alone otherwise. */
export function write(element, text, hint, style) {
  if (element.textContent !== text) element.textContent = text;
  if (hint !== undefined && element.title !== hint) element.title = hint;
  if (style !== undefined && element.className !== style) element.className = style;
}

const waiting = new Set();

/** Run ``draw`` once at the next frame, however often it is asked for. */
export function later(draw) {
  if (!waiting.size) requestAnimationFrame(() => {
    const all = [...waiting];
    waiting.clear();
    for (const each of all) each();
  });
  waiting.add(draw);
}

/** A row of buttons of which one is pressed. */
export function chips(box, options, chosen, onchoose) {
  const buttons = options.map(([value, label]) => make("button", {
    type: "button", class: "chip", "aria-pressed": String(value === chosen),
    onclick: () => {
      buttons.forEach((each, i) => each.setAttribute("aria-pressed", String(options[i][0] === value)));
      onchoose(value);
    },
  }, label));
  box.replaceChildren(...buttons);
}

/** The colour of a CSS variable as rgb(), which charts understand. */
export function colour(name, alpha = 1) {
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const rgb = getComputedStyle(probe).color;
  probe.remove();
  return alpha === 1 ? rgb : rgb.replace(/^rgb\((.*)\)$/, `rgba($1, ${alpha})`);
}
const probe = make("i", { class: "probe" });
