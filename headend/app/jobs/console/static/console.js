// The console: reads the API, draws its data, and sends commands. It uses no framework and contacts no other host.

const STATES = ["queued", "held", "running", "publishing", "done", "failed", "cancelled"];
const ACTIONS = {
  queued: [["hold", "Hold"], ["cancel", "Cancel"]],
  held: [["release", "Release"], ["cancel", "Cancel"]],
  running: [["cancel", "Cancel"]],
  publishing: [],
  done: [],
  failed: [["retry", "Retry"]],
  cancelled: [["retry", "Retry"]],
};
const SHOWN = { all: () => true, open: (s) => !["done", "failed", "cancelled"].includes(s), failed: (s) => s === "failed", done: (s) => s === "done" };
const WINDOW_S = 600;
const MAX_LISTED = 500;
const DETAILS_AT_ONCE = 40; // ended jobs whose reason and cost are fetched
const ATTEMPTS_SHOWN = 100;
const HUES = [36, 200, 140, 280, 90, 240, 60, 170, 310, 220]; // distinct from the red of failed runs
const SILENT_MS = 20000; // a stream without events for this long is dead: the server sends one every few seconds
const NARROW_PX = 640;

const jobs = new Map();
const progress = new Map(); // progress of running jobs
const ended = new Map(); // reason and cost of ended jobs
let fetching = false;
let troubled = false; // whether the notice is about a store that can't be read
let filter = "all";
let right = "read";
let total = 0;
let opened = null;
const $ = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

async function call(path, options = {}) {
  const headers = { ...(options.body ? { "Content-Type": "application/json" } : {}) };
  const token = sessionStorage.getItem("token");
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(path, { ...options, headers, cache: "no-store" });
  if (answer.status === 401) {
    sessionStorage.removeItem("token");
    $("sign-in").hidden = false;
    $("content").hidden = true;
    throw new Error(token ? "This token is unknown." : "");
  }
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error || `Status ${answer.status}`);
  return answer;
}

function tell(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

const pad = (n) => String(n).padStart(2, "0");
const clock = (s) => `${Math.floor(s / 3600)}:${pad(Math.floor(s / 60) % 60)}:${pad(Math.floor(s) % 60)}`;
const bytes = (n) => (n >= 1e9 ? `${(n / 1e9).toFixed(1)} GB` : `${(n / 1e6).toFixed(0)} MB`);
const local = (text) => new Date(text).toLocaleString();
const hue = (job) => HUES[[...job].reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) >>> 0, 7) % HUES.length];

async function command(job, verb, priority) {
  try {
    const body = JSON.stringify(priority === undefined ? { verb } : { verb, priority });
    const now = await (await call(`api/v1/jobs/${job}/commands`, { method: "POST", body })).json();
    jobs.set(job, { job, title: now.title, state: now.state, priority: now.priority, hold: now.hold });
    tell("");
    drawJobs();
    if (opened === job) drawDetails(now);
  } catch (error) {
    tell(error.message);
  }
}

function drawTiles(counts) {
  $("tiles").replaceChildren(
    ...STATES.filter((state) => counts[state] || !["held", "publishing", "cancelled"].includes(state)).map((state) => {
      const tone = state === "failed" && counts[state] ? " bad" : state === "running" && counts[state] ? " now" : "";
      return make("div", { class: `tile${tone}`, "data-state": state }, make("strong", {}, String(counts[state])), make("span", {}, state));
    }),
  );
}

function drawJobs() {
  const rows = [...jobs.values()].filter((job) => SHOWN[filter](job.state)).sort(inOrder);
  $("jobs-count").textContent = total > jobs.size ? `${jobs.size} of ${total}` : `${total}`;
  $("no-jobs").hidden = rows.length > 0;
  $("jobs").hidden = rows.length === 0;
  $("jobs").tBodies[0].replaceChildren(
    ...rows.slice(0, MAX_LISTED).map((job) => {
      const actions = right !== "operate" ? [] : ACTIONS[job.state].map(([verb, label]) =>
        make("button", { onclick: (event) => { event.stopPropagation(); command(job.job, verb); } }, label));
      const urgent = right === "operate" && SHOWN.open(job.state)
        ? [["Up", 10], ["Down", -10]].map(([label, by]) =>
          make("button", { title: `Priority ${by > 0 ? "up" : "down"} by 10`, onclick: (event) => { event.stopPropagation(); command(job.job, "prioritise", Math.max(0, Math.min(100, job.priority + by))); } }, label))
        : [];
      return make("tr", { tabindex: "0", "data-job": job.job, onclick: () => open(job.job), onkeydown: (event) => { if (event.key === "Enter") open(job.job); } },
        make("td", {}, job.title, ...reason(job)),
        make("td", {}, make("span", { class: `state ${job.state}` }, job.state), make("span", { class: "far" }, ...far(job)), ...(job.hold ? [make("span", { class: "held-release" }, "release held")] : [])),
        make("td", { class: "right" }, String(job.priority)),
        make("td", { class: "right cost" }, cost(job)),
        make("td", { class: "id" }, job.job),
        make("td", { class: "actions" }, ...urgent, ...actions));
    }),
  );
  fetchEnded(rows.slice(0, 2 * DETAILS_AT_ONCE));
}

const isEnded = (job) => ["done", "failed", "cancelled"].includes(job.state);
const known = (job) => { const found = ended.get(job.job); return found && found.state === job.state ? found : null; };
const rank = (job) => (isEnded(job) ? 2 : ["running", "publishing"].includes(job.state) ? 0 : 1);
// Running jobs, then waiting ones in the order in which they start, then ended ones, newest first.
const inOrder = (a, b) => rank(a) - rank(b) || (rank(a) < 2 ? b.priority - a.priority || (a.job < b.job ? -1 : 1) : a.job < b.job ? 1 : -1);
const far = (job) => {
  const now = rank(job) === 0 && progress.get(job.job);
  if (!now) return [];
  const done = make("span");
  done.style.width = `${now.share * 100}%`; // the page's Content-Security-Policy forbids style attributes
  const bar = make("span", { class: "progress small" }, done);
  const left = now.left_s === null ? "" : `, ${clock(now.left_s)} left`;
  return [bar, `${Math.floor(now.share * 100)} %${left}`];
};
// Updates rows in place, so that a button keeps the focus.
function drawProgress() {
  for (const row of $("jobs").tBodies[0].rows) {
    const job = jobs.get(row.dataset.job);
    if (job) row.querySelector(".far").replaceChildren(...far(job));
  }
}
const reason = (job) => (job.state === "failed" && known(job) ? [make("span", { class: "reason" }, known(job).why)] : []);
const cost = (job) => (isEnded(job) && known(job) ? known(job).cost : "");

async function fetchEnded(rows) {
  if (fetching) return;
  fetching = true;
  try {
    const unknown = rows.filter((job) => isEnded(job) && !known(job)).slice(0, DETAILS_AT_ONCE);
    for (const job of unknown) {
      const found = await (await call(`api/v1/jobs/${job.job}`)).json();
      const { amount, currency } = found.account.cost;
      ended.set(job.job, { state: found.state, why: found.why, cost: amount ? `${amount.toFixed(2)} ${currency}` : "" });
    }
    if (unknown.length) setTimeout(drawJobs);
  } catch (error) {
    tell(error.message);
  } finally {
    fetching = false;
  }
}

function drawGantt(overview) {
  const names = [...new Set([...overview.workers.map((w) => w.worker), ...overview.runs.filter((r) => (r.ended_s ?? overview.now_s) > overview.now_s - WINDOW_S).map((r) => r.worker)])].sort();
  const busy = overview.workers.reduce((sum, w) => sum + w.busy, 0);
  const threads = overview.workers.reduce((sum, w) => sum + w.threads, 0);
  $("workers-count").textContent = overview.workers.length ? `${overview.workers.length}, ${busy} of ${threads} threads busy` : "";
  $("no-workers").hidden = names.length > 0;
  if (!names.length) { $("gantt").replaceChildren(); return; }
  const narrow = $("gantt").clientWidth < NARROW_PX;
  const width = narrow ? 420 : 1200, left = narrow ? 120 : 250, lane = 16, top = 6;
  const span = narrow ? WINDOW_S / 2 : WINDOW_S;
  const from = overview.now_s - span;
  const x = (s) => left + ((Math.max(s, from) - from) / span) * (width - left - 10);
  let y = top;
  const parts = [];
  for (const name of names) {
    const worker = overview.workers.find((w) => w.worker === name);
    const lanes = [];
    const bars = [];
    for (const run of overview.runs.filter((r) => r.worker === name && (r.ended_s ?? overview.now_s) > from)) {
      let place = lanes.findIndex((end) => end <= run.began_s + 0.001);
      if (place < 0) place = lanes.push(0) - 1;
      lanes[place] = run.ended_s ?? Infinity;
      bars.push([run, place]);
    }
    const rows = Math.max(lanes.length, worker ? Math.min(worker.threads, 4) : 1, 1);
    const memory = worker && worker.memory_bytes ? `${bytes(worker.used_bytes)} of ${bytes(worker.memory_bytes)}` : "";
    parts.push(text(0, y + lane * 0.75, name.replace(/^tcp:\/\//, ""), "name"));
    if (memory && !narrow) parts.push(text(left - 8, y + lane * 0.75, memory, "", "end"));
    for (const [run, place] of bars) {
      const began = x(run.began_s), ended = x(run.ended_s ?? overview.now_s);
      const fill = run.failed ? "var(--bad)" : `hsl(${hue(run.job)} 70% ${run.ended_s ? 45 : 62}%)`;
      const bar = svg("rect", { x: began, y: y + place * lane + 1, width: Math.max(1.5, ended - began - 1), height: lane - 3, rx: 3, fill });
      bar.append(svg("title", {}, `${run.title}: ${run.task}, attempt ${run.attempt}, ${Math.round((run.ended_s ?? overview.now_s) - run.began_s)} s${run.failed ? ", failed" : ""}`));
      parts.push(bar);
    }
    y += rows * lane + 6;
    parts.push(svg("line", { x1: 0, x2: width, y1: y - 3, y2: y - 3, class: "row" }));
  }
  const longest = span / 60, step = narrow ? 2.5 : 2;
  for (let minutes = longest; minutes >= 0; minutes -= step) parts.push(text(x(overview.now_s - minutes * 60), y + 12, minutes ? `-${minutes} min` : "now", "", minutes === longest ? "start" : minutes ? "middle" : "end"));
  const picture = svg("svg", { viewBox: `0 0 ${width} ${y + 18}` });
  picture.append(...parts);
  $("gantt").replaceChildren(picture);
}

function svg(tag, attributes, content) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (content !== undefined) element.textContent = content;
  return element;
}

const text = (x, y, content, kind = "", anchor = "start") => svg("text", { x, y, class: kind, "text-anchor": anchor }, content);

async function open(job) {
  opened = job;
  try {
    drawDetails(await (await call(`api/v1/jobs/${job}`)).json());
    if (!$("details").open) $("details").showModal();
  } catch (error) {
    tell(error.message);
  }
}

function drawDetails(job) {
  $("details-title").textContent = job.title;
  $("details-why").textContent = job.state === "failed" ? job.why : "";
  const progress = job.progress;
  $("details-bar").hidden = !progress;
  if (progress) $("details-bar").firstElementChild.style.width = `${progress.share * 100}%`;
  const cpu = Object.entries(job.account.cpu_s).map(([codec, s]) => `${codec} ${Math.round(s)} s`).join(", ");
  const facts = [
    ["State", job.cancelling ? `${job.state}, being cancelled` : job.state],
    ["Job", job.job],
    ["Master", job.master],
    ["Submitted", `${local(job.submitted_at)} by ${job.submitted_by}`],
    ...Object.entries(job.labels).map(([name, value]) => [name, value]),
    ...(progress ? [
      ["Tasks", `${progress.tasks_done} of ${progress.tasks} done, ${progress.tasks_running} running, ${progress.tasks_waiting} waiting, ${progress.reused_parts} parts reused, ${progress.retries} retried`],
      ["Speed", `${Math.round(progress.frames_per_s)} frames/s, ${progress.realtime.toFixed(2)} × real time${progress.left_s === null || isEnded(job) ? "" : `, ${clock(progress.left_s)} left`}`],
    ] : []),
    ...(job.account.total_cpu_s ? [
      ["CPU", `${Math.round(job.account.total_cpu_s)} s: ${cpu}${job.account.failed_cpu_s ? `, ${Math.round(job.account.failed_cpu_s)} s in failed attempts` : ""}`],
      ["Cost", `${job.account.cost.amount.toFixed(2)} ${job.account.cost.currency} by ${job.account.cost.prices}`],
      ["Stored", bytes(job.account.stored_bytes)],
    ] : []),
    ...(job.ahead === null ? [] : [["Ahead", `${job.ahead} job${job.ahead === 1 ? "" : "s"}`]]),
    ...(job.release ? [["Release", job.hold ? `${job.release}, held: publish it with headend publish` : job.release]] : []),
  ];
  $("details-facts").replaceChildren(...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  if (job.release) {
    const button = make("button", { type: "button", onclick: () => openReport(job.job) }, "Open the report");
    $("details-facts").append(make("dt", {}, "Quality"), make("dd", {}, button));
  }
  $("details-history").replaceChildren(...job.history.map((change) =>
    make("li", {}, make("time", { datetime: change.at }, local(change.at)), make("span", { class: `state ${change.state}` }, change.state), make("span", {}, change.why))));
  drawAttempts(job.attempts);
}

async function openReport(job) {
  try {
    const page = await (await call(`api/v1/jobs/${job}/quality`)).blob();
    window.open(URL.createObjectURL(page), "_blank");
  } catch (error) {
    tell(error.message);
  }
}

function drawAttempts(attempts) {
  $("attempts").hidden = !attempts.length;
  const tasks = Map.groupBy ? Map.groupBy(attempts.slice(-ATTEMPTS_SHOWN), (a) => a.task) : new Map([["", attempts.slice(-ATTEMPTS_SHOWN)]]);
  $("attempts-count").textContent = attempts.length > ATTEMPTS_SHOWN ? `latest ${ATTEMPTS_SHOWN} of ${attempts.length}` : `${attempts.length}`;
  $("details-attempts").replaceChildren(...[...tasks].map(([task, made]) =>
    make("li", {}, make("strong", {}, task), make("ol", {}, ...made.map((a) =>
      make("li", {}, make("time", { datetime: a.at }, local(a.at)), make("span", { class: "id" }, `attempt ${a.attempt}`), make("span", {}, a.worker ? `${a.error} (${a.worker.replace(/^tcp:\/\//, "")})` : a.error)))))));
}

function take(name, document) {
  if (name === "trouble") {
    tell(document.error);
    troubled = true;
    return;
  }
  if (name === "jobs") {
    for (const job of document.jobs) jobs.set(job.job, job);
    for (const job of [...jobs.values()].sort(inOrder).slice(2 * MAX_LISTED)) jobs.delete(job.job);
    total = document.total;
    drawJobs();
    if (opened && $("details").open && document.jobs.some((job) => job.job === opened)) open(opened);
  } else if (name === "overview") {
    const before = right;
    right = document.right;
    $("where").textContent = `${document.store} · ${document.fence ? `${document.dispatcher}, lease ${document.fence}` : "standing by"}`;
    $("content").hidden = false;
    $("sign-in").hidden = true;
    progress.clear();
    for (const job of document.running) if (job.progress) progress.set(job.job, job.progress);
    drawProgress();
    if (troubled) tell("");
    troubled = false;
    drawTiles(document.jobs);
    drawGantt(document);
    if (right !== before) drawJobs();
    if (!total) { $("no-jobs").hidden = false; $("jobs").hidden = true; $("jobs-count").textContent = ""; }
  }
}

async function listen() {
  const stop = new AbortController();
  let watch = setTimeout(() => stop.abort(), SILENT_MS);
  const answer = await call("api/v1/events", { signal: stop.signal });
  tell("");
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    clearTimeout(watch);
    watch = setTimeout(() => stop.abort(), SILENT_MS);
    if (done) throw new Error("The connection to the dispatcher was lost; reconnecting.");
    held += value;
    for (let end = held.indexOf("\n\n"); end >= 0; end = held.indexOf("\n\n")) {
      const fields = Object.fromEntries(held.slice(0, end).split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
      held = held.slice(end + 2);
      take(fields.event, JSON.parse(fields.data));
    }
  }
}

async function run() {
  for (;;) {
    try {
      await listen();
    } catch (error) {
      tell(error instanceof TypeError || error.name === "AbortError" ? "The dispatcher does not respond; trying again." : error.message);
      if (!$("sign-in").hidden) return;
    }
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

$("filters").replaceChildren(...Object.keys(SHOWN).map((name) =>
  make("button", { "aria-pressed": String(name === filter), onclick: (event) => {
    filter = name;
    for (const button of $("filters").children) button.setAttribute("aria-pressed", String(button === event.target));
    drawJobs();
  } }, name)));
$("close").addEventListener("click", () => $("details").close());
$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value.trim());
  $("token").value = "";
  $("sign-in").hidden = true;
  run();
});
run();
