/**
 * Moves through the lines of a table by keyboard and lists all keys.
 *
 * Without this file every line is still reached by Tab. Contract with the templates: a table
 * with data-lines has lines whose link to their page carries data-open; the field that `/` goes
 * to carries data-filter; the dialog carries data-help and its button data-help-open; hints that
 * only make sense with keys carry data-needs-keys and are hidden by the server.
 */
const help = document.querySelector("[data-help]");
const opener = document.querySelector("[data-help-open]");
const links = [...document.querySelectorAll("[data-lines] [data-open]")];

const actions = {
  j: () => move(1),
  k: () => move(-1),
  "/": () => document.querySelector("[data-filter]")?.focus(),
  "?": () => help?.showModal(),
};

function move(by) {
  if (!links.length) return;
  const now = links.findIndex((link) => link.closest("tr").contains(document.activeElement));
  const next = now < 0 ? (by > 0 ? 0 : links.length - 1) : now + by;
  links[Math.min(Math.max(next, 0), links.length - 1)].focus();
}

function isWriting(target) {
  return target.closest("input, select, textarea, dialog") !== null;
}

document.addEventListener("keydown", (event) => {
  const action = actions[event.key];
  if (!action || event.ctrlKey || event.metaKey || event.altKey || isWriting(event.target)) return;
  event.preventDefault();
  action();
});

if (help && opener) {
  opener.hidden = false;
  opener.addEventListener("click", () => help.showModal());
}
for (const hint of document.querySelectorAll("[data-needs-keys]")) hint.hidden = false;
