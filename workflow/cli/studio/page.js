// The studio's page: sends what is asked for, shows what the server's events tell.
const at = id => document.getElementById(id);
const sides = ["left", "right"];
window.problems = [];
window.addEventListener("error", event => window.problems.push(String(event.message)));

function fill(id, options, first) {
  const node = at(id), before = node.value;
  node.replaceChildren(...[...(first === undefined ? [] : [["", first]]), ...options].map(([value, words]) => {
    const option = document.createElement("option");
    option.value = value;
    option.textContent = words;
    return option;
  }));
  if ([...node.options].some(option => option.value === before)) node.value = before;
}

function show(side, number) {
  at(side).value = number;
  const address = number ? `results/${number}.glb` : "mesh.glb";
  const view = at(`view-${side}`), link = at(`load-${side}`), picture = at(`png-${side}`);
  if (view.getAttribute("src") !== address) view.setAttribute("src", address);
  link.href = address;
  link.download = number ? `texture-${number}.glb` : "mesh.glb";
  picture.hidden = !number;
  picture.href = `results/${number}.png`;
  picture.download = `texture-${number}.png`;
}

let keeping = [], shown = false;

function state(event) {
  at("mesh").textContent = `${event.mesh}, ${event.faces.toLocaleString("en")} faces`;
  const methods = Object.entries(event.methods), results = event.results.map(r => [String(r.number), r.words]);
  keeping = event.keeping;
  fill("method", methods);
  fill("second", methods, "no other method");
  fill("model", event.models.map(name => [name, name]), event.models.length ? "the method's own" : "none is trained");
  fill("base", results, "none: everything is painted");
  fill("part", event.parts.map(name => [name, name]), event.parts.length ? "choose one" : "the file names none");
  for (const side of sides) fill(side, results, "unpainted");
  at("said").textContent = event.said ?? "";
  busy(event.busy);
  // What a page finds when it is opened, such as a texture to start from, is shown.
  const found = shown ? [] : event.results.slice(-1).map(result => result.number);
  const made = event.made ?? found;
  shown = true;
  if (made.length) show("left", String(made[0]));
  if (made.length > 1) show("right", String(made[1]));
  for (const side of sides) show(side, at(side).value);
  allow();
  document.body.dataset.results = results.length;
}

// What can be chosen together: methods that keep where a texture is kept, one kind of region.
function allow() {
  if (awaited && [...at("base").options].some(option => option.value === awaited)) {
    at("base").value = awaited;
    awaited = "";
    show("left", at("base").value);
  }
  const base = at("base").value !== "";
  for (const id of ["method", "second"]) {
    for (const option of at(id).options) option.disabled = base && option.value !== "" && !keeping.includes(option.value);
  }
  for (const node of document.querySelectorAll("[data-region]")) node.hidden = node.dataset.region !== at("region").value;
  document.body.classList.toggle("picking", base && at("region").value === "box");
  if (!document.body.classList.contains("picking")) mark(null);
}

function busy(now) {
  at("paint").disabled = now;
  at("stop").disabled = !now;
  at("progress").hidden = !now;
  document.body.dataset.busy = now;
}

function view(event) {
  let image = document.querySelector(`#views img[data-index="${event.index}"]`);
  if (!image) {
    const cell = document.createElement("div");
    image = document.createElement("img");
    image.dataset.index = event.index;
    image.alt = `view ${event.index + 1}`;
    cell.append(image, image.alt);
    at("views").append(cell);
  }
  image.src = event.picture;
  image.classList.toggle("done", event.done);
}

let words = "", begun = 0, looking = false;

const told = {
  state(event) {
    const worked = document.body.dataset.busy === "true";
    state(event);
    if (worked && !event.busy) at("now").textContent = event.said ? "" : `${words}: done`;
  },
  view(event) { looking = true; view(event); },
  begin(event) {
    busy(true);
    words = event.words;
    begun = performance.now();
    looking = false;
    at("views").replaceChildren();
    at("progress").removeAttribute("value");
    at("now").textContent = words;
  },
  step(event) {
    const part = (event.view - 1 + event.step / event.steps) / event.views;
    const left = Math.ceil((performance.now() - begun) / 1000 * (1 - part) / part);
    const place = event.views > 1 ? `view ${event.view} of ${event.views}, ` : "";
    at("progress").value = part;
    at("now").textContent = `${words}: ${place}step ${event.step} of ${event.steps}` +
      (left > 0 ? `, about ${left} s left` : "") +
      (looking || event.view < 2 ? "" : "; this method shows no views");
  },
};

const events = new EventSource("events");
events.onmessage = message => { const event = JSON.parse(message.data); told[event.kind](event); };
events.onerror = () => { at("said").textContent = "The studio does not answer; is it still running in its terminal?"; };

const read = file => new Promise((done, failed) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result);
  reader.onerror = () => failed(reader.error);
  reader.readAsDataURL(file);
});

const whole = id => at(id).value.trim() === "" ? null : Number(at(id).value);

async function paint() {
  const asked = {
    prompt: at("prompt").value,
    negative: at("negative").value,
    seed: whole("seed"),
    steps: whole("steps"),
    methods: [at("method").value, at("second").value].filter(Boolean),
    model: at("model").value,
    base: whole("base"),
    box: "",
    part: "",
    mask: "",
  };
  if (asked.base !== null) {
    const region = at("region").value;
    asked[region] = region === "mask" ? (at("mask").files.length ? await read(at("mask").files[0]) : "") : at(region).value.trim();
  }
  await send("paint", asked);
  busy(true);
}

async function send(place, given) {
  const answer = await fetch(place, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(given),
  });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.said);
  return said;
}

// A texture of a file becomes a result, which is chosen as the one to keep when the page has heard of it.
let awaited = "";

async function start() {
  const [file] = at("texture").files;
  if (!file) return;
  at("said").textContent = "";
  awaited = String((await send("start", { name: file.name, texture: await read(file) })).number);
  allow();
}

// A box is marked by a click: its middle is a point of the surface, its size a part of the mesh's.
function mark(point) {
  const viewer = at("view-left");
  viewer.querySelector(".dot")?.remove();
  if (point === null) return;
  const dot = document.createElement("button");
  dot.className = "dot";
  dot.type = "button";
  dot.slot = "hotspot-middle";
  dot.setAttribute("aria-label", "middle of the box");
  dot.dataset.position = `${point.x} ${point.y} ${point.z}`;
  viewer.append(dot);
}

let middle = null;

function setBox() {
  if (middle === null) return;
  const span = at("view-left").getDimensions();
  const half = Math.max(span.x, span.y, span.z) * Number(at("size").value) / 200;
  const corner = sign => ["x", "y", "z"].map(axis => Number((middle[axis] + sign * half).toPrecision(5)));
  at("box").value = [...corner(-1), ...corner(1)].join(",");
}

function pick(event) {
  if (!document.body.classList.contains("picking")) return;
  const found = at("view-left").positionAndNormalFromPoint(event.clientX, event.clientY);
  if (!found) return;
  middle = found.position;
  mark(middle);
  setBox();
}

at("form").addEventListener("submit", event => {
  event.preventDefault();
  at("said").textContent = "";
  at("paint").disabled = true;
  paint().catch(error => { busy(false); at("said").textContent = error.message; });
});
at("stop").addEventListener("click", () => fetch("stop", { method: "POST" }));
at("texture").addEventListener("change", () => start().catch(error => { at("said").textContent = error.message; }));
at("base").addEventListener("change", () => { allow(); if (at("base").value) show("left", at("base").value); });
at("region").addEventListener("change", allow);
at("size").addEventListener("input", setBox);
at("view-left").addEventListener("click", pick);
for (const [side, other] of [["left", "right"], ["right", "left"]]) {
  at(side).addEventListener("change", () => show(side, at(side).value));
  const viewer = at(`view-${side}`);
  viewer.addEventListener("load", () => { document.body.dataset[side] = viewer.getAttribute("src"); });
  viewer.addEventListener("camera-change", event => {
    if (event.detail.source !== "user-interaction") return;
    const { theta, phi, radius } = viewer.getCameraOrbit();
    at(`view-${other}`).cameraOrbit = `${theta}rad ${phi}rad ${radius}m`;
    at(`view-${other}`).jumpCameraToGoal();
  });
}
