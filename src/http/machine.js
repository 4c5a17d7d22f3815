// Lights up the machine's page: what stands in machine.json, and what machine/events tells from then on.
// Everything that is shown is put there as text, never as markup.
"use strict";
(() => {
  const KEPT = 100;
  const RETRY_MS = 2000;
  const JOBS_MS = 2000;
  const byId = (id) => document.getElementById(id);
  const svg = document.querySelector("svg.machine");
  const leaves = new Map([...svg.querySelectorAll("[data-leaf]")].map((leaf) => [leaf.dataset.leaf, leaf]));
  const edges = [...svg.querySelectorAll("[data-edge]")];
  // Leaf, event and leaf, to the edge that is drawn for them.
  const edgeOf = new Map();
  for (const edge of edges) for (const hop of edge.dataset.hops.split(";")) edgeOf.set(hop, edge);
  const machines = new Map();
  let shown = 0;
  let looked = "";
  let instance = null;
  let offset = 0;

  const element = (name, text, kind) => {
    const made = document.createElement(name);
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const span = (ms) => {
    if (ms < 1000) return `${Math.round(ms)} ms`;
    if (ms < 60000) return `${(ms / 1000).toFixed(1)} s`;
    const minutes = Math.floor(ms / 60000);
    return minutes < 60 ? `${minutes} min ${Math.floor((ms % 60000) / 1000)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  };
  const now = () => performance.now() + offset;

  // Where the drawing is wider than the window, as on a phone: to what is lit, once it is another one.
  const look = (machine) => {
    const lit = `${shown} ${machine.leaf}`;
    if (lit === looked) return;
    looked = lit;
    const picture = byId("picture");
    const window = picture.getBoundingClientRect();
    const leaf = leaves.get(machine.leaf).getBoundingClientRect();
    picture.scrollLeft += leaf.left + leaf.width / 2 - window.left - window.width / 2;
  };

  const light = () => {
    const machine = machines.get(shown);
    if (!machine) return;
    const current = leaves.get(machine.leaf);
    const reach = new Set((machine.stopping ? current.dataset.reachesStopping : current.dataset.reaches).split(" "));
    const open = (name) => name === machine.leaf || reach.has(name);
    for (const [name, leaf] of leaves) {
      leaf.classList.toggle("lit", name === machine.leaf);
      leaf.classList.toggle("dim", !open(name));
      leaf.setAttribute("aria-label", name === machine.leaf ? `${name}, current` : open(name) ? name : `${name}, cannot come any more`);
    }
    const counts = new Map();
    for (const [from, event, to, count] of machine.edges) {
      const edge = edgeOf.get(`${from}|${event}|${to}`);
      if (edge) counts.set(edge, (counts.get(edge) || 0) + count);
    }
    const last = machine.transitions[machine.transitions.length - 1];
    const lastEdge = last && edgeOf.get(`${last.from}|${last.cause}|${last.to}`);
    for (const edge of edges) {
      const count = counts.get(edge) || 0;
      const label = edge.querySelector("text");
      label.textContent = count > 99999 ? `${Math.floor(count / 1000)}k` : String(count);
      const pill = edge.querySelector("rect");
      const width = 14 + 8 * label.textContent.length;
      pill.setAttribute("width", width);
      pill.setAttribute("x", Number(label.getAttribute("x")) - width / 2);
      edge.classList.toggle("taken", count > 0);
      edge.classList.toggle("last", edge === lastEdge);
      const hops = edge.dataset.hops.split(";").map((hop) => hop.split("|"));
      edge.classList.toggle("dim", !hops.some(([from, , to]) => open(from) && reach.has(to)));
    }
    look(machine);
    const stopping = machine.stopping ? `, asked to stop: ${machine.stopping}` : "";
    byId("now").textContent = `Machine ${shown} is ${machine.state === machine.leaf ? machine.leaf : `${machine.state} (${machine.leaf})`}${stopping}`;
  };

  const list = () => {
    const machine = machines.get(shown);
    if (!machine) return;
    const rows = machine.transitions.slice().reverse().map((one) => {
      const row = document.createElement("tr");
      row.append(
        element("td", one.number, "number"), element("td", `${span(Math.max(0, now() - one.at_ms))} ago`),
        element("td", one.from), element("td", one.cause), element("td", one.to), element("td", span(one.dwell_ms), "number"));
      return row;
    });
    byId("transitions").replaceChildren(...rows);
  };

  const choose = () => {
    const buttons = [...machines.keys()].sort((one, other) => one - other).map((number) => {
      const machine = machines.get(number);
      const button = element("button", `${number}: ${machine.state}`);
      button.type = "button";
      button.dataset.machine = number;
      button.setAttribute("aria-pressed", String(number === shown));
      button.addEventListener("click", () => { shown = number; show(); });
      return button;
    });
    const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.machine : undefined;
    const bar = byId("machines");
    bar.hidden = buttons.length < 2;
    bar.replaceChildren(...buttons);
    const again = focused === undefined ? null : bar.querySelector(`[data-machine="${Number(focused)}"]`);
    if (again) again.focus();
  };

  const show = () => { choose(); light(); list(); };

  const standing = (told) => {
    offset = told.now_ms - performance.now();
    const word = byId("standing");
    word.textContent = told.status;
    word.className = told.status;
    byId("reason").textContent = told.reason || "";
  };

  const take = (told) => {
    standing(told);
    for (const machine of told.machines) {
      const known = machines.get(machine.machine);
      const both = new Map();
      for (const one of known ? known.transitions : []) both.set(one.number, one);
      for (const one of machine.transitions) both.set(one.number, one);
      // The whole and an event may come in either order: the newer of the two tells how it stands.
      const newer = known && known.count > machine.count ? known : machine;
      const transitions = [...both.values()].sort((one, other) => one.number - other.number).slice(-KEPT);
      machines.set(machine.machine, { ...newer, transitions });
    }
    show();
  };

  const whole = async () => {
    const answer = await fetch("machine.json", { cache: "no-store" });
    const told = await answer.json();
    // Another process on the same port begins anew.
    if (told.instance !== instance) machines.clear();
    instance = told.instance;
    take(told);
  };

  const follow = () => {
    const link = byId("link");
    const events = new EventSource("machine/events");
    events.addEventListener("open", () => {
      link.textContent = "live";
      link.className = "soft";
      whole().catch(() => {});
    });
    events.addEventListener("message", (event) => take(JSON.parse(event.data)));
    events.addEventListener("error", () => {
      link.textContent = "no answer: trying again";
      link.className = "lost";
      events.close();
      setTimeout(follow, RETRY_MS);
    });
  };

  const jobs = async () => {
    if (document.hidden) return;
    const told = await (await fetch("jobs", { cache: "no-store" })).json();
    const rows = told.jobs.map((job) => {
      const row = document.createElement("tr");
      const of = job.segments === null ? "" : ` of ${job.segments}`;
      const left = job.predicted_seconds_left;
      const end = left === null ? "not known yet" : left > 0 ? `in ${span(left * 1000)} (${job.predicted_end})` : "later than predicted";
      const frames = job.frames_of === null ? "" : `${job.frames_done} of ${job.frames_of}`;
      row.append(
        element("td", job.machine, "number"), element("td", job.source || "", "long"), element("td", job.job),
        element("td", job.epoch, "number"), element("td", `${job.checkpoint}${of}`, "number"),
        element("td", frames, "number"), element("td", end));
      return row;
    });
    if (!rows.length) {
      const row = document.createElement("tr");
      const none = element("td", "none", "soft");
      none.colSpan = 7;
      row.append(none);
      rows.push(row);
    }
    byId("jobs").replaceChildren(...rows);
  };

  follow();
  jobs().catch(() => {});
  setInterval(() => jobs().catch(() => {}), JOBS_MS);
  setInterval(list, 1000);
})();
