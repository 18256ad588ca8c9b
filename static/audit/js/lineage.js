/**
 * Moves through the lanes of a lineage by keyboard, and shows a picked visit beside them.
 *
 * Without this file every cell is a link that the server answers with the same panel. Contract
 * with the templates: [data-lineage] holds lines [data-lane] with their number and, in data-from,
 * the numbers of the lanes that they came from; cells carry data-state, failures data-bad, the
 * link that opens or folds a lane data-fold; axes carry data-axis; links inside the panel that
 * pick another visit carry data-pick, the one that closes it data-close; the panel is #selected.
 */
const root = document.querySelector("[data-lineage]");
const lanes = root ? [...root.querySelectorAll("[data-lane]")] : [];
const stops = new Map(lanes.map((lane) => [lane, [...lane.querySelectorAll("a[href]")]]));
let current = null;

function stand(stop) {
  if (!stop) return;
  if (current) current.tabIndex = -1;
  current = stop;
  stop.tabIndex = 0;
  stop.focus();
  stop.scrollIntoView({ block: "nearest", inline: "nearest" });
}

const laneOf = (stop) => stop?.closest("[data-lane]");

const centre = (stop) => {
  const box = stop.getBoundingClientRect();
  return box.left + box.width / 2;
};

function sideways(by) {
  const row = stops.get(laneOf(current));
  stand(row[row.indexOf(current) + by]);
}

function upright(by) {
  let place = lanes.indexOf(laneOf(current)) + by;
  while (lanes[place] && !stops.get(lanes[place]).length) place += by;
  if (!lanes[place]) return;
  const from = centre(current);
  const nearest = (best, stop) =>
    Math.abs(centre(stop) - from) < Math.abs(centre(best) - from) ? stop : best;
  stand(stops.get(lanes[place]).reduce(nearest));
}

const cells = (lane) => stops.get(lane).filter((stop) => stop.dataset.state);

function toParent() {
  const numbers = laneOf(current).dataset.from.split(" ").filter(Boolean);
  const lane = lanes.find((one) => one.dataset.lane === numbers[0]);
  if (lane) stand(cells(lane).at(-1) ?? stops.get(lane)[0]);
}

function toChild() {
  const number = laneOf(current).dataset.lane;
  const lane = lanes.find((one) => one.dataset.from.split(" ").includes(number));
  if (lane) stand(cells(lane)[0] ?? stops.get(lane)[0]);
}

function toError(by) {
  const bad = [...root.querySelectorAll("[data-bad]")];
  if (!bad.length) return;
  const behind = (stop) =>
    current.compareDocumentPosition(stop) & Node.DOCUMENT_POSITION_FOLLOWING;
  const next = bad.filter((stop) => stop !== current && Boolean(behind(stop)) === by > 0);
  stand((by > 0 ? next[0] : next.at(-1)) ?? (by > 0 ? bad[0] : bad.at(-1)));
}

async function pick(address, { push = true } = {}) {
  const wanted = new URL(address, location.href);
  let answer;
  try {
    answer = await fetch(wanted, { headers: { Accept: "text/html" } });
  } catch {
    answer = null;
  }
  if (!answer?.ok || answer.redirected) return void (location.href = address);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const panel = fresh.querySelector("#selected");
  document.querySelector("#selected")?.remove();
  if (panel) root.append(panel);
  root.classList.toggle("with-panel", Boolean(panel));
  const chosen = new Set(
    [...fresh.querySelectorAll("[data-lineage] [data-state][aria-current]")].map(
      (cell) => cell.dataset.state,
    ),
  );
  for (const cell of root.querySelectorAll("[data-lane] [data-state]")) {
    if (chosen.has(cell.dataset.state)) cell.setAttribute("aria-current", "true");
    else cell.removeAttribute("aria-current");
  }
  // The panel takes room: the cell may have left the frame.
  root.querySelector("[data-lane] [aria-current][data-state]")?.scrollIntoView({
    block: "nearest",
    inline: "center",
  });
  if (push) history.pushState(null, "", wanted);
}

const actions = {
  ArrowLeft: () => sideways(-1),
  ArrowRight: () => sideways(1),
  ArrowUp: () => upright(-1),
  ArrowDown: () => upright(1),
  o: () => laneOf(current).querySelector("[data-fold]")?.click(),
  p: toParent,
  c: toChild,
  e: () => toError(1),
  E: () => toError(-1),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea, dialog")) return;
  if ("123".includes(event.key)) {
    document.querySelector(`[data-axis="${event.key}"]`)?.click();
    return;
  }
  const action = actions[event.key];
  // Arrows scroll the page until a cell has been reached; letters always mean the lineage.
  const inside = root.contains(document.activeElement) && laneOf(document.activeElement);
  if (!action || (event.key.startsWith("Arrow") && !inside)) return;
  event.preventDefault();
  action();
}

if (lanes.length) {
  const all = lanes.flatMap((lane) => stops.get(lane));
  for (const stop of all) stop.tabIndex = -1;
  const first = root.querySelector("[data-lane] [aria-current][data-state]");
  current = first ?? cells(lanes.find((lane) => lane.matches(".focus")) ?? lanes[0])[0] ?? all[0];
  if (current) current.tabIndex = 0;
  // What the address picks, else the focus, may stand beyond the edge of the frame.
  const frame = current?.closest(".lane-frame");
  const box = frame?.getBoundingClientRect();
  if (box && current.getBoundingClientRect().right > box.right) {
    frame.scrollLeft += centre(current) - (box.left + box.width / 2);
  }
  root.addEventListener("focusin", (event) => {
    const stop = event.target.closest("a[href]");
    if (!stop || !laneOf(stop) || stop === current) return;
    current.tabIndex = -1;
    current = stop;
    stop.tabIndex = 0;
  });
  root.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-state], a[data-pick], a[data-close]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    // On a narrow screen the panel stands below everything: there the browser goes to it.
    if (!matchMedia("(width >= 900px)").matches) return;
    event.preventDefault();
    pick(link.getAttribute("href"));
    if (link.matches("[data-close]")) current?.focus();
  });
  addEventListener("popstate", () => pick(location.href, { push: false }));
  if (current) document.addEventListener("keydown", onKey);
}
