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
  const view = at(`view-${side}`), link = at(`load-${side}`);
  if (view.getAttribute("src") !== address) view.setAttribute("src", address);
  link.href = address;
  link.download = number ? `texture-${number}.glb` : "mesh.glb";
}

function state(event) {
  at("mesh").textContent = event.mesh;
  const methods = Object.entries(event.methods), results = event.results.map(r => [String(r.number), r.words]);
  fill("method", methods);
  fill("second", methods, "no other method");
  fill("model", event.models.map(name => [name, name]), event.models.length ? "the method's own" : "none is trained");
  fill("base", results, "no result: everything is painted");
  fill("part", event.parts.map(name => [name, name]), "no part");
  for (const side of sides) fill(side, results, "unpainted");
  at("said").textContent = event.said ?? "";
  busy(event.busy);
  const made = event.made ?? [];
  if (made.length) show("left", String(made[0]));
  if (made.length > 1) show("right", String(made[1]));
  for (const side of sides) show(side, at(side).value);
  document.body.dataset.results = results.length;
}

function busy(now) {
  at("paint").disabled = now;
  at("stop").disabled = !now;
  document.body.dataset.busy = now;
  if (!now) { at("progress").value = 0; at("now").textContent = ""; }
}

function view(event) {
  let image = document.querySelector(`#views img[data-index="${event.index}"]`);
  if (!image) {
    image = document.createElement("img");
    image.dataset.index = event.index;
    image.alt = `view ${event.index + 1}`;
    at("views").append(image);
  }
  image.src = event.picture;
  image.classList.toggle("done", event.done);
}

const told = {
  state,
  view,
  begin(event) { busy(true); at("views").replaceChildren(); at("now").textContent = event.words; },
  step(event) {
    at("progress").value = (event.view - 1 + event.step / event.steps) / event.views;
  },
};

const events = new EventSource("events");
events.onmessage = message => { const event = JSON.parse(message.data); told[event.kind](event); };
events.onerror = () => { at("mesh").textContent = "The studio does not answer; is it still running?"; };

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
    box: at("box").value.trim(),
    part: at("part").value,
    mask: at("mask").files.length ? await read(at("mask").files[0]) : "",
  };
  if (asked.base === null) asked.box = asked.part = asked.mask = "";
  const answer = await fetch("paint", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(asked),
  });
  if (!answer.ok) throw new Error((await answer.json()).said);
  busy(true);
}

at("form").addEventListener("submit", event => {
  event.preventDefault();
  at("said").textContent = "";
  at("paint").disabled = true;
  paint().catch(error => { busy(false); at("said").textContent = error.message; });
});
at("stop").addEventListener("click", () => fetch("stop", { method: "POST" }));
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
