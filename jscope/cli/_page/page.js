"use strict";
// Text is always set as text: whatever a checkpoint calls its variables, none of it becomes markup.
const data = JSON.parse(document.getElementById("data").textContent);
const PAGE = 500; // Rows that one scope shows at first: browsers are slow with many thousands.
const $ = (id) => document.getElementById(id);

// What cannot be seen is escaped, as on a terminal: a name could be turned around by one character, and read as another.
const printable = (text) => text.replace(/[^\P{C}\n]|\p{Zl}|\p{Zp}/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

function element(tag, text, kind) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = printable(text);
  if (kind) made.className = kind;
  return made;
}

// Numbers, for people.
const count = (n) => n.toLocaleString("en");
const number = (x) => (x === undefined ? "" : x === 0 ? "0" : Number(x.toPrecision(4)).toString());
function bytes(n) {
  const unit = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  for (; n >= 1024 && at < unit.length - 1; at++) n /= 1024;
  return `${at ? n.toFixed(n < 10 ? 1 : 0) : n} ${unit[at]}`;
}
const size = (v) => v.shape.reduce((a, b) => a * b, 1);
const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
const relative = (v) => (v.before > 0 ? v.moved / v.before : v.moved);

// The tree of scopes: each knows what is below it, and sums it up.
function scope(name, path) {
  return { name, path, children: new Map(), open: false, shown: PAGE, bytes: 0, size: 0, variables: 0, squares: 0, moved: 0, before: 0, notFinite: 0, changed: 0 };
}
const root = scope("", "");
for (const variable of data.variables) {
  let here = root;
  const parts = variable.name.split("/");
  const around = [root];
  for (const part of parts.slice(0, -1)) {
    const path = here.path ? here.path + "/" + part : part;
    // With a mark, since a scope and a variable may have one name.
    if (!here.children.has("/" + part)) here.children.set("/" + part, scope(part, path));
    here = here.children.get("/" + part);
    around.push(here);
  }
  here.children.set(" " + parts[parts.length - 1], { name: parts[parts.length - 1], path: variable.name, variable, open: false });
  for (const each of around) {
    each.bytes += variable.bytes;
    each.size += size(variable);
    each.variables += 1;
    each.squares += (variable.norm || 0) ** 2;
    each.moved += (variable.moved || 0) ** 2;
    each.before += (variable.before ?? variable.norm ?? 0) ** 2;
    each.notFinite += variable.not_finite || 0;
    each.changed += variable.change !== undefined && variable.change !== "same" ? 1 : 0;
  }
}

function picture(histogram) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "path");
  const most = Math.max(...histogram);
  const wide = 100 / histogram.length;
  // Square roots, so that rare values can be seen beside frequent ones.
  const bar = (n, i) => (n ? `M${i * wide} 20V${20 - 19 * Math.sqrt(n / most) - 1}h${wide * 0.9}V20z` : "");
  path.setAttribute("d", histogram.map(bar).join(""));
  svg.setAttribute("viewBox", "0 0 100 20");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "histogram");
  svg.append(path);
  return svg;
}

function notes(v) {
  const cell = element("span");
  const say = (text, kind) => cell.append(cell.childNodes.length ? ", " : "", element("span", text, kind));
  if (v.change === "added") say("new", "new");
  if (v.change === "removed") say("removed", "bad");
  if (v.change === "retyped") say(`was ${v.was}`, "bad");
  if (v.change === "changed") say(v.moved === undefined ? "changed" : `moved ${number(100 * relative(v))} %`);
  if (v.not_finite) say(`${count(v.not_finite)} not finite`, "bad");
  if (v.zeros && size(v)) say(`${number((100 * v.zeros) / size(v))} % zeros`, "soft");
  return cell;
}

function sums(node) {
  const cell = element("span", plural(node.variables, "variable"), "soft");
  const say = (text, kind) => cell.append(", ", element("span", text, kind));
  if (node.changed) say(`${count(node.changed)} changed`);
  if (node.moved > 0 && node.before > 0) say(`moved ${number(100 * Math.sqrt(node.moved / node.before))} %`);
  if (node.notFinite) say(`${count(node.notFinite)} not finite`, "bad");
  return cell;
}

function rowOf(node, depth, label) {
  const v = node.variable;
  const row = element("div", undefined, "row");
  row.setAttribute("role", "treeitem");
  row.setAttribute("aria-level", depth + 1);
  row.setAttribute("aria-expanded", node.open);
  row.tabIndex = -1;
  row.node = node;
  const name = element("span", label ?? (v ? node.name : node.name + "/"), "name");
  name.style.setProperty("--depth", depth);
  const values = element("span");
  if (v && v.histogram) values.append(picture(v.histogram));
  row.append(
    name,
    element("span", v ? `${v.dtype} (${v.shape.join(", ")})` : "", "soft"),
    element("span", bytes(v ? v.bytes : node.bytes), "number"),
    element("span", number(v ? v.norm : Math.sqrt(node.squares)), "number"),
    values,
    v ? notes(v) : sums(node),
  );
  return row;
}

function detailsOf(v, depth) {
  const list = element("dl");
  list.style.setProperty("--depth", depth);
  const known = {
    name: v.name, shape: `(${v.shape.join(", ")})`, dtype: v.dtype, elements: count(size(v)), size: bytes(v.bytes), norm: number(v.norm),
    mean: number(v.mean), "standard deviation": number(v.std), least: number(v.least), greatest: number(v.greatest),
    zeros: v.zeros === undefined ? "" : count(v.zeros), "not finite": v.not_finite === undefined ? "" : count(v.not_finite),
    "norm of the change": number(v.moved), "greatest change": number(v.most),
  };
  for (const [key, value] of Object.entries(known)) if (value !== "") list.append(element("dt", key), element("dd", value));
  return list;
}

// What is shown: a list of rows, made anew for each change.
const ORDERS = {
  "as stored": null,
  "by name": (a, b) => (a.name < b.name ? -1 : 1),
  "by size": (a, b) => b.bytes - a.bytes,
  "by norm": (a, b) => (b.norm ?? -1) - (a.norm ?? -1),
  "not finite first": (a, b) => (b.not_finite ?? 0) - (a.not_finite ?? 0),
  ...(data.against === null ? {} : { "by change": (a, b) => changeOf(b) - changeOf(a) }),
};
const changeOf = (v) => (v.change === "same" || v.change === undefined ? -1 : v.moved === undefined ? Infinity : relative(v));
const list = { node: { open: true, shown: PAGE } };
const leaves = new Map(data.variables.map((variable) => [variable, { name: variable.name, path: variable.name, variable, open: false }]));

function chosen() {
  const asked = $("search").value.trim();
  let test = () => true;
  const regex = /^\/(.*)\/$/.exec(asked);
  try {
    const pattern = regex ? new RegExp(regex[1]) : null;
    test = pattern ? (name) => pattern.test(name) : (name) => name.toLowerCase().includes(asked.toLowerCase());
  } catch {
    test = () => false;
  }
  const order = ORDERS[$("order").value];
  if (!asked && !order) return null;
  const found = data.variables.filter((variable) => test(variable.name));
  return order ? found.sort(order) : found;
}

function draw(focus) {
  const into = document.createDocumentFragment();
  const flat = chosen();
  if (flat) addAll(into, flat.map((variable) => leaves.get(variable)), 0, list.node, true);
  else addAll(into, [...root.children.values()], 0, root, false);
  $("tree").replaceChildren(into);
  $("none").hidden = !flat || flat.length > 0;
  const rows = items();
  const row = rows.find((each) => each.node === focus) ?? rows[0];
  if (row) row.tabIndex = 0;
  if (row && focus) row.focus();
}

function addAll(into, nodes, depth, parent, whole) {
  for (const node of nodes.slice(0, parent.shown)) {
    into.append(rowOf(node, depth, whole ? node.path : undefined));
    if (node.open && node.variable) into.append(detailsOf(node.variable, depth));
    else if (node.open) addAll(into, [...node.children.values()], depth + 1, node, false);
  }
  if (nodes.length > parent.shown) {
    const row = element("div", undefined, "row");
    row.setAttribute("role", "treeitem");
    row.tabIndex = -1;
    row.node = { more: parent };
    row.append(element("span", `${count(nodes.length - parent.shown)} more`, "name more"));
    row.firstChild.style.setProperty("--depth", depth);
    into.append(row);
  }
}

const items = () => [...$("tree").querySelectorAll("[role=treeitem]")];

function toggle(node, open) {
  if (node.more) node.more.shown += PAGE;
  else node.open = open ?? !node.open;
  draw(node.more ? items()[items().findIndex((row) => row.node === node) - 1]?.node : node);
}

function everywhere(open) {
  const walk = (node) => {
    if (!node.variable) node.open = open;
    node.children?.forEach(walk);
  };
  walk(root);
  draw();
}

$("tree").addEventListener("click", (event) => {
  const row = event.target.closest("[role=treeitem]");
  if (row) toggle(row.node);
});
$("tree").addEventListener("keydown", (event) => {
  const rows = items();
  const at = rows.indexOf(document.activeElement);
  if (at < 0) return;
  const node = rows[at].node;
  const level = (row) => Number(row.getAttribute("aria-level"));
  const go = (row) => {
    if (!row) return;
    rows[at].tabIndex = -1;
    row.tabIndex = 0;
    row.focus();
  };
  const keys = {
    ArrowDown: () => go(rows[at + 1]),
    ArrowUp: () => go(rows[at - 1]),
    Home: () => go(rows[0]),
    End: () => go(rows[rows.length - 1]),
    ArrowRight: () => (node.open ? go(rows[at + 1]) : toggle(node, true)),
    ArrowLeft: () => (node.open ? toggle(node, false) : go(rows.slice(0, at).reverse().find((row) => level(row) < level(rows[at])))),
    Enter: () => toggle(node),
    " ": () => toggle(node),
  };
  if (keys[event.key]) {
    event.preventDefault();
    keys[event.key]();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== $("search")) {
    event.preventDefault();
    $("search").focus();
  } else if (event.key === "Escape" && document.activeElement === $("search")) {
    $("search").value = "";
    list.node.shown = PAGE;
    draw(items()[0]?.node);
  } else if (event.key === "ArrowDown" && document.activeElement === $("search")) {
    event.preventDefault();
    items()[0]?.focus();
  }
});
$("search").addEventListener("input", () => { list.node.shown = PAGE; draw(); });
$("order").addEventListener("change", () => { list.node.shown = PAGE; draw(); });
$("open").addEventListener("click", () => everywhere(true));
$("close").addEventListener("click", () => everywhere(false));

$("title").textContent = printable(data.against === null ? data.name : `${data.name}, against ${data.against}`);
$("total").textContent = [plural(root.variables, "variable"), plural(root.size, "element"), bytes(root.bytes)].join(", ")
  + (data.against === null ? "" : `; ${plural(root.changed, "variable")} changed`)
  + (root.notFinite ? `; ${plural(root.notFinite, "value")} not finite` : "");
for (const name of Object.keys(ORDERS)) $("order").append(element("option", name));
for (const [key, value] of Object.entries(data.metadata)) {
  $("metadata").hidden = false;
  $("metadata").lastElementChild.append(element("dt", key), element("dd", String(value).slice(0, 2000)));
}
// A small model is shown whole.
if (root.variables <= 60) everywhere(true);
else draw();
