// Shows /status.json, and asks for it again every second.
"use strict";

const PERIOD_MS = 1000;
const PATIENCE_MS = 5000;
const SVG = "http://www.w3.org/2000/svg";

// Elements. Text is always set as text, so a name cannot be markup.

function element(name, attributes, ...children) {
  const node = name === "svg" || name === "rect"
    ? document.createElementNS(SVG, name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null));
  return node;
}

// Makes `old` look like `fresh` and touches nothing that is the same, so that what is selected,
// focused or open stays so.
function patch(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  patchChildren(old, [...fresh.childNodes]);
}

function patchChildren(parent, children) {
  const former = [...parent.childNodes];
  children.forEach((child, index) => {
    if (index < former.length) patch(former[index], child);
    else parent.append(child);
  });
  former.slice(children.length).forEach((node) => node.remove());
}

// Words for numbers, as `had status` says them.

function duration(ms) {
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 1e3) return `${ms.toFixed(0)} ms`;
  if (ms < 100e3) return `${(ms / 1e3).toFixed(2)} s`;
  if (ms < 7200e3) return `${(ms / 60e3).toFixed(0)} min`;
  return `${(ms / 3600e3).toFixed(1)} h`;
}

function size(octets) {
  if (octets < 1024) return `${octets} B`;
  let [value, unit] = [octets, "B"];
  for (const next of ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]) {
    if (value < 1024) break;
    [value, unit] = [value / 1024, next];
  }
  return `${value.toFixed(1)} ${unit}`;
}

const words = (text) => text.replaceAll("-", " ");

// What a state means for whoever looks: good, busy, bad or calm.
function mood(state) {
  return { active: "good", standby: "calm", stuck: "bad" }[state] ?? "busy";
}

const tag = (kind, text, key) => element("span", { class: `tag ${kind}`, "data-key": key }, text);
const note = (text) => element("span", { class: "note" }, text);

function mark(kind, meaning) {
  const sign = { good: "✓", bad: "✗", busy: "↻", calm: "–" }[kind];
  return element("span", { class: `mark ${kind}`, role: "img", "aria-label": meaning }, sign);
}

const list = (items) => element("ul", {}, items.map((item) => element("li", {}, item)));

// One unit on one node.

function address(group, key) {
  const serves = group.serving.length > 0;
  const kind = group.failed ? "bad" : serves ? "good" : "calm";
  const meaning = serves ? "served here" : "not served here";
  const place = `${group.role} of ${group.vhid}@${group.interface}`;
  return [
    mark(kind, meaning),
    group.addresses.join(", "),
    " ",
    element("span", { class: "note", "data-key": key }, place),
    group.failed ? element("span", { class: "bad" }, ` ${group.failed} failed`) : null,
  ];
}

function copying(resource, key) {
  const { copied, left, estimate_ms: estimate, from_peer: here } = resource.copying;
  const rest = estimate === null ? "" : `, about ${duration(estimate)}`;
  return [
    element("progress", { max: copied + left, value: copied, "aria-label": "synchronisation" }),
    element("span", { class: "note", "data-key": key },
      `copying ${here ? "here" : "to the peer"}: ${size(left)} left${rest}`),
  ];
}

function storage(stored, key) {
  const peer = stored.peer === "disconnected" ? "no peer connected" : `peer ${stored.peer}`;
  const good = stored.data === "up-to-date";
  const resource = stored.resource;
  const lines = [[
    mark(good ? "good" : stored.data === "synchronising" ? "busy" : "bad", words(stored.data)),
    element("span", { "data-key": `${key}/storage` }, `${stored.role}, ${words(stored.data)}`),
    note(`, ${peer}${stored.waits ? ", waits for the arbiter" : ""}`),
  ]];
  if (stored.data === "synchronising" && stored.total > 0) {
    lines.push([
      element("progress",
        { max: stored.total, value: stored.done, "aria-label": "synchronisation" }),
      note(`${size(stored.done)} of ${size(stored.total)}`),
    ]);
  }
  if (resource !== null) {
    if (resource.copying !== null) lines.push(copying(resource, `${key}/copying`));
    else if (resource.in_sync === true) lines.push(note("both nodes in sync"));
    else if (resource.in_sync === false) {
      lines.push(element("span", { class: "bad" },
        `not in sync, ${size(resource.to_copy)} to copy`));
    }
    lines.push(note(`${resource.replication} to ${resource.remote}`));
    if (resource.split) {
      const marked = (side) => side ? `${side.extents} extents (${size(side.octets)})` : "not known";
      lines.push(element("span", { class: "bad", "data-key": `${key}/split` },
        `marked here: ${marked(resource.split.here)}; on the other node: ${marked(resource.split.there)}`));
    }
  }
  return list(lines);
}

function step({ name, kind, standing }) {
  const sign = { done: "good", failed: "bad", "left-out": "bad" }[standing] ?? "calm";
  return [mark(sign, words(standing)), name, " ", note(kind)];
}

function running({ step: name, action, cancelled, left_ms: left }) {
  const how = cancelled ? "cancelled, has not ended" : `${duration(Math.max(left, 0))} left`;
  return [mark("busy", "running"), `${name}: ${words(action)} `, note(how)];
}

function check({ name, good, error }) {
  const why = error === null ? null : element("span", { class: good ? "note" : "bad" }, ` ${error}`);
  return [mark(good ? "good" : "bad", good ? "well" : "not well"), name, why];
}

function facts(unit, key) {
  const rows = [];
  const row = (name, value) => rows.push(element("dt", {}, name), element("dd", {}, value));
  if (unit.blocked !== null) {
    row("Not active", element("span", { "data-key": `${key}/blocked` }, unit.blocked));
  }
  if (unit.causes.length > 0) {
    row("Demoted for", element("span", { "data-key": `${key}/causes` }, unit.causes.join(", ")));
  }
  const groups = unit.addresses.map((group) => address(group, `${key}/${group.vhid}`));
  if (groups.length > 0) row("Addresses", list(groups));
  if (unit.storage !== null) row("Storage", storage(unit.storage, key));
  if (unit.steps.length > 0) row("Steps", list(unit.steps.map(step)));
  if (unit.running.length > 0) row("Running", list(unit.running.map(running)));
  if (unit.checks.length > 0) row("Checks", list(unit.checks.map(check)));
  return element("dl", { class: "facts" }, rows);
}

function card(node, unit) {
  const key = `${node.name}/${unit.name}`;
  const kind = node.stale ? "bad" : mood(unit.state);
  const state = node.stale ? tag("calm", `was ${unit.state}`) : tag(kind, unit.state, `${key}/state`);
  const tags = [state];
  if (unit.maintenance) tags.unshift(tag("busy", "out of service", `${key}/maintenance`));
  if (node.stale) tags.unshift(tag("bad", `stale: ${duration(node.age)} ago`, `${key}/stale`));
  return element("article", { class: `node ${kind}${node.stale ? " stale" : ""}` },
    element("div", { class: "head" }, element("h3", {}, node.name), tags),
    facts(unit, key));
}

function unknown(node) {
  return element("article", { class: "node bad stale" },
    element("div", { class: "head" },
      element("h3", {}, node.name),
      tag("bad", "nothing is known", `${node.name}/unknown`)),
    node.error === null ? null : note(node.error));
}

// The last failover.

function bar(span, whole) {
  const part = (ms) => (100 * ms) / Math.max(whole, 1e-9);
  const width = Math.max(part(span.ended_ms - span.began_ms), 0.5);
  const x = Math.min(part(span.began_ms), 100 - width);
  return element("svg",
    { class: "bar", viewBox: "0 0 100 1", preserveAspectRatio: "none", "aria-hidden": "true" },
    element("rect", { x: x.toFixed(2), y: 0, width: width.toFixed(2), height: 1 }));
}

const WAITS = {
  silence: "no master heard",
  waiting: "waiting to begin",
  acquiring: "taking the arbiter's record",
  releasing: "giving the arbiter's record back",
};

function row(span, whole) {
  const waits = span.step === null;
  const failed = span.result !== "done";
  const what = waits ? WAITS[span.what] ?? span.what : words(span.what);
  const why = failed ? `${words(span.result)}${span.reason === null ? "" : `: ${span.reason}`}` : null;
  // A narrow window lays it out as a grid, which would end its being a table for who cannot see.
  return element("tr", { class: failed ? "failed" : waits ? "wait" : null, role: "row" },
    element("th", { class: "step", scope: "row", role: "rowheader" },
      note(`${span.node} `),
      waits ? what : `${span.step}: ${what}`,
      why === null ? null : element("span", { class: "reason" }, why)),
    element("td", { class: "chart", role: "cell" }, bar(span, whole)),
    element("td", { class: "number", role: "cell" }, duration(span.ended_ms - span.began_ms)),
    element("td", { class: "number", role: "cell" }, `${span.share.toFixed(1)} %`));
}

function failover(last) {
  const from = last.from === null ? "" : ` from ${last.from}`;
  const to = last.to === null ? "" : ` to ${last.to}`;
  const kind = { taken: "good", failed: "bad", given: "bad" }[last.outcome] ?? "busy";
  const key = `${last.unit}/failover`;
  const away = last.away_ms === null ? null
    : tag("calm", `${duration(last.away_ms)} without service`, `${key}/away`);
  const began = new Date(last.began).toLocaleString(undefined,
    { dateStyle: "medium", timeStyle: "medium" });
  const head = ["Step", "", "Time", "Share"].map((name, index) =>
    element("th", { scope: "col", role: "columnheader", class: index > 1 ? "number" : null }, name));
  return element("div", { class: "failover" },
    element("div", { class: "head" },
      element("h3", {}, `Last failover${from}${to}`),
      tag(kind, words(last.outcome), `${key}/outcome`),
      away,
      element("p", {}, element("time", { datetime: last.began }, began), `: ${last.cause}`)),
    element("table", { role: "table" },
      element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, head)),
      element("tbody", { role: "rowgroup" }, last.spans.map((span) => row(span, last.lasted_ms)))));
}

// All of it.

function nodesOf(status) {
  const own = { ...status.own.node, units: status.own.units, stale: false, snapshot: status.own };
  const peers = status.peers.map(({ node, seen, error }) => ({
    ...node,
    error,
    age: seen?.age_ms,
    stale: seen?.stale ?? true,
    units: seen?.snapshot.units,
    snapshot: seen?.snapshot,
  }));
  return [own, ...peers].sort((a, b) => a.id - b.id);
}

function served(name, nodes) {
  const on = (node) => node.units?.find((unit) => unit.name === name);
  const known = nodes.filter((node) => !node.stale);
  const active = known.filter((node) => on(node)?.state === "active");
  const moving = known.some((node) => mood(on(node)?.state ?? "standby") === "busy");
  if (active.length > 1) return ["bad", `served by ${active.map((node) => node.name).join(" AND ")}`];
  if (active.length === 1) return ["good", `served by ${active[0].name}`];
  return moving ? ["busy", "moving"] : ["bad", "not served by any node that answers"];
}

// What is not right though all may be served.
function concerns(names, nodes) {
  const silent = nodes.filter((node) => node.stale).map((node) => `${node.name} does not answer`);
  const units = nodes.flatMap((node) => (node.units ?? []).map((unit) => ({ node, unit })));
  const failing = units.flatMap(({ node, unit }) =>
    unit.checks.filter((one) => !one.good).map((one) => `${one.name} fails on ${node.name}`));
  const ready = ({ node, unit }) => !node.stale && unit.state === "standby" && !unit.maintenance
    && (unit.storage === null || unit.storage.data === "up-to-date");
  const alone = names
    .filter((name) => !units.some((one) => one.unit.name === name && ready(one)))
    .map((name) => `nobody could take ${name} over now`);
  return [...alone, ...failing, ...silent];
}

function section(name, nodes, last) {
  const [kind, text] = served(name, nodes);
  const cards = nodes.map((node) => {
    const unit = node.units?.find((one) => one.name === name);
    if (unit !== undefined) return card(node, unit);
    return node.units === undefined ? unknown(node) : null;
  });
  return element("section", { "aria-label": name },
    element("div", { class: "head" }, element("h2", {}, name), tag(kind, text, `${name}/served`)),
    element("div", { class: "nodes" }, cards),
    last === undefined ? null : failover(last));
}

function counters(node) {
  const { demotion, units } = node.snapshot;
  const reasons = demotion.reasons.map(({ name, amount }) => `${name} by ${amount}`).join(", ");
  const groups = units.flatMap((unit) => unit.addresses).map((group) => {
    const counts = Object.entries(group.stats).filter(([, count]) => count > 0);
    return element("p", {}, `${group.vhid}@${group.interface}: `,
      counts.map(([name, count]) => `${name} ${count}`).join(", ") || "nothing counted");
  });
  return element("details", {},
    element("summary", {},
      `${node.name}: `,
      element("span", { "data-key": `${node.name}/demotion` }, `demoted by ${demotion.level}`),
      reasons === "" ? null : ` (${reasons})`),
    element("div", { class: "counters" }, groups));
}

function show(status) {
  const nodes = nodesOf(status);
  const names = [...new Set(nodes.flatMap((node) => node.units ?? []).map((unit) => unit.name))];
  const sections = names.map((name) =>
    section(name, nodes, status.failovers.find((last) => last.unit === name)));
  const wrong = names.filter((name) => served(name, nodes)[0] !== "good");
  const worries = concerns(names, nodes);
  const all = wrong.length === 0 ? "All is served." : `Not as it should be: ${wrong.join(", ")}.`;
  const text = worries.length === 0 ? all : `${all} ${wrong.length === 0 ? "But" : "Besides,"} ${worries.join("; ")}.`;
  const title = `${wrong.length === 0 ? "✓" : "✗"} had on ${status.own.node.name}`;
  const known = nodes.filter((node) => node.snapshot !== undefined);
  patchChildren(document.getElementById("units"), sections);
  patchChildren(document.getElementById("nodes"), known.map(counters));
  patchChildren(document.getElementById("name"), [new Text(status.own.node.name)]);
  patchChildren(document.getElementById("summary"), [new Text(text)]);
  if (document.title !== title) document.title = title;
}

let last = null;

function tell(text, lost) {
  patchChildren(document.getElementById("age"), [new Text(text)]);
  document.body.classList.toggle("lost", lost);
}

async function turn() {
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const answer = await fetch("/status.json", { cache: "no-store", signal });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(await answer.json());
    last = Date.now();
    tell(`as of ${new Date(last).toLocaleTimeString()}`, false);
  } catch {
    const age = last === null ? "" : `; this is ${duration(Date.now() - last)} old`;
    tell(`had does not answer${age}`, true);
  }
  setTimeout(turn, PERIOD_MS);
}

turn();
