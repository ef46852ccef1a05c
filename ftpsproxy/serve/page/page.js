"use strict";
// Shows /status.json, and asks again. What others say (names, files) only ever becomes text, never markup.

const EVERY = 2000; // milliseconds
const HOURS = 6, STEP = 300; // seconds of one point of the line
const WAITS = {
  opening: "reaching the server", login: "not logged in yet", client: "idle", reply: "waits for the server",
  start: "waits for the server", connection: "waits for a data connection", data: "transfers",
  verdict: "waits for the server's verdict", torn: "broken off", abort: "broken off by the client", nothing: "ending",
};
const byId = (id) => document.getElementById(id);
const FAILURES = 6;
const LONG = 0.5; // seconds
let shown = null;
let before = new Map(); // of each transfer: its bytes and seconds at the last look, and its rate then

function element(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  return made;
}

function fill(parent, children) { parent.replaceChildren(...children); }

function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (bytes >= 1000 && at < units.length - 1) { bytes /= 1000; at += 1; }
  return `${at && bytes < 100 ? bytes.toFixed(1) : Math.round(bytes)} ${units[at]}`;
}

function lasting(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

// Bytes a second since the last look; at the first one since the transfer's beginning.
function rates(found) {
  const now = new Map();
  for (const { session, transfer } of found.sessions.filter((one) => one.transfer)) {
    const key = `${session} ${transfer.number}`, { bytes, seconds } = transfer, last = before.get(key);
    const from = last || { bytes: 0, seconds: 0, rate: 0 };
    // Of a moment it would say nothing: bytes come in bursts.
    const long = !last || seconds - from.seconds >= LONG;
    const rate = long && seconds > 0 ? (bytes - from.bytes) / (seconds - from.seconds) : from.rate;
    transfer.rate = rate;
    now.set(key, long ? { bytes, seconds, rate } : from);
  }
  before = now;
}

function tiles(found) {
  const waiting = Object.values(found.waiting).reduce((sum, one) => sum + one, 0);
  const list = [
    ["sessions", found.sessions_open, ""],
    ["transfers now", found.transfers_open, ""],
    ["waiting", waiting, waiting ? "warn" : ""],
    ["complete", found.transfers.complete, "good"],
    ["torn", found.transfers.torn, found.transfers.torn ? "bad" : ""],
    ["aborted", found.transfers.aborted, ""],
    ["moved", size(found.bytes), ""],
    ["log lines lost", found.log_lines_lost, found.log_lines_lost ? "bad" : ""],
  ];
  fill(byId("tiles"), list.map(([name, value, look]) => {
    const tile = element("div", undefined, "tile");
    tile.append(element("b", value, look), element("span", name));
    return tile;
  }));
}

function points(found) {
  const until = Math.ceil(found.time / STEP) * STEP, from = until - HOURS * 3600;
  const all = Array.from({ length: HOURS * 3600 / STEP }, () => ({ complete: 0, torn: 0, known: false }));
  const now = { time: found.time, ...found.transfers };
  let last = null;
  for (const minute of [...found.minutes, now]) {
    // What was counted between two looks belongs to the time before the second one.
    const at = Math.floor((minute.time - 1 - from) / STEP);
    if (at >= 0 && at < all.length) {
      all[at].known = true;
      if (last) {
        all[at].complete += Math.max(0, minute.complete - last.complete);
        all[at].torn += Math.max(0, minute.torn - last.torn);
      }
    }
    last = minute;
  }
  return { all, from };
}

function line(found) {
  const { all, from } = points(found), left = 34, bottom = 128, top = 10;
  const width = byId("line").clientWidth, every = width < 500 ? 2 : 1;
  const most = Math.max(4, ...all.map((one) => Math.max(one.complete, one.torn)));
  const x = (at) => left + (at + 0.5) * (width - left) / all.length;
  const y = (value) => bottom - value / most * (bottom - top);
  const make = (tag, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const drawn = [0, most].flatMap((value) => [
    make("line", { class: "rule", x1: left, x2: width, y1: y(value), y2: y(value) }),
    make("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, value),
  ]);
  for (let hour = 0; hour < HOURS; hour += every) {
    const time = new Date((from + hour * 3600) * 1000);
    drawn.push(make("text", { x: left + hour * (width - left) / HOURS, y: 145 },
      time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" })));
  }
  all.forEach((one, at) => {
    if (one.torn) drawn.push(make("rect", { class: "torn", x: x(at) - 3, width: 6, y: y(one.torn), height: bottom - y(one.torn) }));
  });
  // The five minutes under way are no part of the line yet: it would always seem to fall.
  const over = all.slice(0, -1).map((one, at) => (one.known ? `${x(at)},${y(one.complete)}` : "")).filter((one) => one);
  drawn.push(make("polyline", { class: "whole", points: over.join(" ") }));
  drawn.push(make("circle", { class: "whole", cx: x(all.length - 1), cy: y(all[all.length - 1].complete), r: 2.5 }));
  byId("line").setAttribute("viewBox", `0 0 ${width} 150`);
  fill(byId("line"), drawn);
  const sum = (name) => all.reduce((total, one) => total + one[name], 0);
  byId("key").textContent = `${sum("complete")} complete (line; dot: the five minutes under way), ${sum("torn")} torn (red)`;
}

function sessions(found) {
  fill(byId("sessions").tBodies[0], found.sessions.map((one) => {
    const row = element("tr"), transfer = one.transfer;
    const cell = (text, more, name) => {
      const made = element("td", text, name);
      if (more) made.append(element("small", more));
      row.append(made);
    };
    cell(one.user || "(no login)", `${one.client} → ${one.listener}`);
    cell(one.upstream, one.server);
    if (transfer) {
      const arrow = { upload: "↑ ", download: "↓ " }[transfer.direction] || "";
      cell(arrow + (transfer.path === undefined ? transfer.verb : transfer.path || transfer.verb), WAITS[one.waits_for]);
      cell(size(transfer.bytes), "", "number");
      cell(`${size(transfer.rate)}/s`, "", "number");
      cell(lasting(transfer.seconds), "", "number");
    } else {
      const done = one.transfers ? `${one.transfers} transfers${one.torn ? `, ${one.torn} not complete` : ""}` : "";
      cell(WAITS[one.waits_for] || one.waits_for, done);
      cell("", "", "number"); cell("", "", "number");
      cell(lasting(one.seconds), "", "number");
    }
    const proof = one.certificate_sha256 ? `${one.certificate_sha256.slice(0, 16)}… by ${one.verified_by}` : "";
    cell(one.tls_version ? one.tls_version.replace("TLSv", "TLS ") : "", proof);
    if (proof) row.lastChild.title = `${one.cipher}, certificate ${one.certificate_sha256}`;
    return row;
  }));
  const left = found.sessions_not_shown;
  byId("more").textContent = found.sessions.length ? (left ? `and ${left} more` : "") : "Nobody is here.";
}

function failures(found) {
  const list = found.failures.slice(0, FAILURES).map((one) => {
    const item = element("li"), when = new Date(one.time * 1000).toLocaleTimeString();
    const whose = [when, one.user, one.client, one.upstream, one.path].filter((part) => part).join(" · ");
    item.append(element("span", one.why || one.event, one.level === "error" ? "bad" : "warn"));
    if (one.do) item.append(element("small", `What to do: ${one.do}`));
    if (one.detail) item.append(element("small", one.detail));
    item.append(element("small", `${whose} (${one.event})`));
    return item;
  });
  const older = found.failures.length - list.length;
  byId("older").textContent = older ? `and ${older} before: ftpsproxy logs --failures shows all` : "";
  fill(byId("failures"), list.length ? list : [element("li", "Nothing has failed since the start.", "good")]);
}

function pairs(id, list, none) {
  fill(byId(id), list.length ? list.map(([name, value, look]) => {
    const item = element("li");
    item.append(element("span", name), element("span", value, look));
    return item;
  }) : [element("li", none, "quiet")]);
}

function show(found) {
  shown = found;
  byId("state").textContent = found.ready ? "lets clients in" : "is stopping";
  byId("state").className = `state ${found.ready ? "good" : "bad"}`;
  byId("about").textContent = `${found.hostname} · version ${found.gateway_version} · up ${lasting(found.time - found.started)}`;
  document.title = `ftpsproxy ${found.hostname}`;
  rates(found); tiles(found); line(found); sessions(found); failures(found);
  pairs("certificates", found.certificates.map((one) => {
    const days = Math.floor((one.expires - found.time) / 86400);
    return [one.upstream, days < 0 ? "expired" : `${days} days`, days < 2 ? "bad" : days < 14 ? "warn" : "good"];
  }), "No server has shown one yet.");
  pairs("workers", found.workers.map((one) => [`${one.worker} (pid ${one.pid})`,
    one.sessions === null ? "says nothing" : `${one.sessions} sessions`, one.sessions === null ? "bad" : ""]), "None.");
}

async function look() {
  if (!document.hidden) {
    try {
      const answer = await fetch("status.json", { cache: "no-store", signal: AbortSignal.timeout(10000) });
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      show(await answer.json());
    } catch (error) {
      byId("state").textContent = `no answer (${error.message}); what is shown is old`;
      byId("state").className = "state bad";
    }
  }
  setTimeout(look, EVERY);
}

document.addEventListener("DOMContentLoaded", look);
addEventListener("resize", () => { if (shown) line(shown); });
