"""Checkouts of the authors' programs that hold none of their code.

Each has the command line of the program, asks the hub for the same models, puts files where the program does,
in the program's normalisation, and has its bad habits: unseeded generators, caches by stem, dead ids, prompts
that stand in a configuration. The "painting" colours each face by where its centre is in the box of the mesh
that it was given (red: x, green: y) and by one random number (blue). A file `fault` makes it fail in a named
way.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

COMMON = '''
import json, math, os, random, shutil, signal, sys, time
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
FAULT = (HERE / "fault").read_text() if (HERE / "fault").is_file() else ""


def begin(*models):
    import huggingface_hub
    for model in models:
        huggingface_hub.hf_hub_download(model, "config.json", token=True)
    if FAULT == "crash":
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")
    if FAULT == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if FAULT == "hang":
        time.sleep(60)
    if FAULT == "silent":
        sys.exit(0)


def read_obj(path, material=False):
    rows = [line.split() for line in open(path) if line.strip()]
    promised = {"v", "f", "vt", "mtllib", "usemtl"} if material else {"v", "f"}
    assert {row[0] for row in rows} == promised and (Path(path).with_suffix(".mtl").is_file() == material)
    vertices = [tuple(map(float, row[1:])) for row in rows if row[0] == "v"]
    faces = [tuple(int(word.split("/")[0]) - 1 for word in row[1:]) for row in rows if row[0] == "f"]
    assert all(len(face) == 3 for face in faces)
    return vertices, faces


def paint(vertices, faces, blue, into=None):
    """uvs of every corner, and the picture with one flat cell per face."""
    low, high = ([f(v[k] for v in vertices) for k in range(3)] for f in (min, max))
    columns = math.ceil(math.sqrt(len(faces)))
    image, uvs = Image.new("RGB", (columns * 4, columns * 4)), []
    for index, face in enumerate(faces):
        row, column = divmod(index, columns)
        centre = [sum(vertices[corner][k] for corner in face) / 3 for k in range(3)]
        place = [(centre[k] - low[k]) / (high[k] - low[k]) for k in range(2)]
        colour = (round(255 * place[0]), round(255 * place[1]), round(255 * blue))
        image.paste(colour, (column * 4, (columns - 1 - row) * 4, column * 4 + 4, (columns - row) * 4))
        corners = ((0.3, 0.3), (0.7, 0.3), (0.3, 0.7))
        uvs += [((column + u) / columns, (row + v) / columns) for u, v in corners]
    return uvs, image


def by_mean(vertices):
    """TEXTure, Paint3D: mean of the vertices, largest norm 0.6, raised by 0.25."""
    mean = [sum(v[k] for v in vertices) / len(vertices) for k in range(3)]
    moved = [[v[k] - mean[k] for k in range(3)] for v in vertices]
    scale = 0.6 / max(math.hypot(*v) for v in moved)
    return [(x * scale, y * scale + 0.25, z * scale) for x, y, z in moved]


def by_box(side):
    def normalise(vertices):
        low, high = ([f(v[k] for v in vertices) for k in range(3)] for f in (min, max))
        scale = side / max(high[k] - low[k] for k in range(3))
        return [tuple((v[k] - (low[k] + high[k]) / 2) * scale for k in range(3)) for v in vertices]
    return normalise


def write_obj(path, picture, vertices, faces, uvs, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    if FAULT == "other mesh":
        vertices = [(x, y, z * 0.5) for x, y, z in vertices]
    if FAULT == "mirrored":
        vertices = [(-x, y, z) for x, y, z in vertices]
    if FAULT == "flat uvs":
        uvs = [(0.5, 0.5)] * len(uvs)
    if FAULT == "wide uvs":
        uvs = [(4 * u, v) for u, v in uvs]
    lines = [f"mtllib {path.stem}.mtl", *(f"v {x} {y} {z}" for x, y, z in vertices)]
    if FAULT == "no uvs":
        lines += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in faces]
    else:
        lines += [f"vt {u} {v}" for u, v in uvs] + ["usemtl mat0"]
        for index, face in enumerate(faces):
            lines.append("f " + " ".join(f"{v + 1}/{3 * index + k + 1}" for k, v in enumerate(face)))
    path.write_text("\\n".join(lines))
    path.with_suffix(".mtl").write_text(f"newmtl mat0\\nmap_Kd {picture}\\n")
    image.save(path.with_name(picture))
    if FAULT == "stale":
        for file in (path, path.with_name(picture)):
            os.utime(file, (1e9, 1e9))


def unwrapped(stem, faces, cache):
    """The habit: a cache by the file's stem, in the working folder, trusted whatever the mesh is."""
    file = Path(cache) / stem / "ft.json"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(len(faces)))
    assert json.loads(file.read_text()) == len(faces), "uvs of another mesh"


def note(path, prompts):
    Path(path).write_text(json.dumps(prompts))
'''

TORCH = """
import random
_generator = random.Random()
def manual_seed(seed): _generator.seed(seed)
def rand(): return _generator.random()
"""

HUB = """
DEAD = {"runwayml/stable-diffusion-v1-5", "philz1337/revanimated", "stabilityai/stable-diffusion-2-depth",
        "stabilityai/stable-diffusion-2-inpainting", "stabilityai/stable-diffusion-2-1-base"}
def get_token(): return None
def hf_hub_download(repo_id, filename, token=None):
    if repo_id in DEAD:
        raise OSError(f"404: there is no repository {repo_id}")
    if token is True:
        raise OSError("a login is required")
    return "/" + repo_id + "/" + filename
"""

SCRIPTS = {
    "texture": {
        "scripts/run_texture.py": """
import argparse, yaml
from pathlib import Path
import torch
from fake_program import *

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--config_path", required=True)
cfg = yaml.safe_load(open(parser.parse_args().config_path))
assert set(cfg["log"]) == {"exp_name", "exp_root"} and set(cfg["optim"]) == {"seed"}
torch.manual_seed(cfg["optim"]["seed"])
begin("stabilityai/stable-diffusion-2-depth", "stabilityai/stable-diffusion-2-inpainting")
Image.open("textures/brick_wall.png") and open("shapes/env_sphere.obj")
vertices, faces = read_obj(cfg["guide"]["shape_path"])
unwrapped(Path(cfg["guide"]["shape_path"]).stem, faces, "cache")
folder = Path(cfg["log"]["exp_root"]) / cfg["log"]["exp_name"]
(folder / "mesh").mkdir(parents=True)
note(folder / "prompts.json", [cfg["guide"]["text"].format(word) for word in ("front", "left", "back")])
uvs, image = paint(vertices, faces, torch.rand())
write_obj(folder / "mesh" / "mesh.obj", "albedo.png", by_mean(vertices), faces, uvs, image)
""",
        "src/__init__.py": "",
        "shapes/env_sphere.obj": "",
    },
    "text2tex": {
        "scripts/generate_texture.py": """
import argparse
from pathlib import Path
import gradio as gr
import torch
from fake_program import *

parser = argparse.ArgumentParser(allow_abbrev=False)
for name in ("input_dir", "output_dir", "obj_name", "obj_file", "prompt", "viewpoint_mode", "update_mode"):
    parser.add_argument("--" + name, required=True)
for name in ("ddim_steps", "num_viewpoints", "update_steps", "seed"):
    parser.add_argument("--" + name, type=int, required=True)
for name in ("new_strength", "update_strength", "view_threshold", "blend", "dist"):
    parser.add_argument("--" + name, type=float, required=True)
for name in ("add_view_to_prompt", "use_principle", "post_process", "use_objaverse", "use_unnormalized"):
    parser.add_argument("--" + name, action="store_true")
parser.add_argument("--device", choices=["a6000", "2080"], default="a6000")
args = parser.parse_args()
assert open("models/ControlNet/models/control_sd15_depth.pth") and args.device == "2080"
begin("stabilityai/stable-diffusion-2-inpainting")
torch.manual_seed(args.seed)
vertices, faces = read_obj(Path(args.input_dir) / args.obj_file, material=True)
name = f"{args.seed}-p{args.num_viewpoints}-h{args.update_steps}-{args.new_strength}-{args.update_strength}-"
folder = Path(args.output_dir) / f"{name}{args.view_threshold}" / "update" / "mesh"
uvs, image = paint(vertices, faces, torch.rand())
black = Image.new("RGB", image.size)
last = args.update_steps - 1
write_obj(folder / f"{last}.obj", f"{last}.png", by_box(1.0)(vertices), faces, uvs, black)
if args.post_process:
    write_obj(folder / f"{last}_post.obj", f"{last}_post.png", by_box(1.0)(vertices), faces, uvs, image)
prompts = [f" the {word} view of {args.prompt}" for word in ("front", "back")]
note(Path(args.output_dir) / "prompts.json", prompts)
""",
        "lib/__init__.py": "",
        "models/ControlNet/models/control_sd15_depth.pth": "",
    },
    "intex": {
        "main.py": """
import argparse, yaml
from pathlib import Path
import dearpygui.dearpygui as dpg
import torch
from fake_program import *

parser = argparse.ArgumentParser()
parser.add_argument("--config", required=True)
args, extras = parser.parse_known_args()
opt = yaml.safe_load(open(args.config))
opt.update({key: yaml.safe_load(value) for key, value in (extra.split("=", 1) for extra in extras)})
begin(opt["model_key"], opt["control"])
assert opt["retex"] and opt["front_dir"] == "+z" and opt["text_dir"] and not opt["gui"]
vertices, faces = read_obj(opt["mesh"])
unwrapped(Path(opt["mesh"]).name + "_uv", faces, Path(opt["mesh"]).parent)
uvs, image = paint(vertices, faces, torch.rand())  # opt["seed"] is ignored
out = Path(opt["outdir"]) / opt["save_path"]
write_obj(out, out.stem + "_albedo.png", by_box(1.6)(vertices), faces, uvs, image)
note(Path(opt["outdir"]) / "prompts.json", [opt["prompt"] + ", front view"])
""",
        "guidance/__init__.py": "",
        "configs/revani.yaml": (
            "model_key: philz1337/revanimated\ncontrol: ashawkey/control\ntext_dir: true\n"
            "camera_path: front\nseed: 0\ngui: false\n"
        ),
    },
    "paint3d": {
        "pipeline_paint3d_stage1.py": """
import argparse, time, yaml
from pathlib import Path
import torch
from fake_program import *

parser = argparse.ArgumentParser()
for name in ("sd_config", "render_config", "prompt", "mesh_path", "texture_path", "outdir"):
    parser.add_argument("--" + name)
opt = parser.parse_args()
cfg = yaml.safe_load(open(opt.sd_config))
if opt.prompt is not None:
    cfg["txt2img"]["prompt"] = opt.prompt
cfg["inpaint"].update({key: cfg["txt2img"][key] for key in ("prompt", "negative_prompt", "seed")})
begin(cfg["txt2img"]["sd_model_key"], cfg["inpaint"]["sd_model_key"])
open(opt.render_config)
torch.manual_seed(int(time.time()) if cfg["txt2img"]["seed"] == -1 else cfg["txt2img"]["seed"])
vertices, faces = read_obj(opt.mesh_path)
unwrapped(Path(opt.mesh_path).stem, faces, "paint3d_cache")
uvs, image = paint(vertices, faces, torch.rand())
Path(opt.outdir).mkdir(exist_ok=True)
note(Path(opt.outdir) / "prompts.json", [cfg["txt2img"]["prompt"], cfg["inpaint"]["prompt"]])
write_obj(Path(opt.outdir) / "res-0" / "mesh.obj", "albedo.png", by_mean(vertices), faces, uvs, image)
""",
        "pipeline_paint3d_stage2.py": """
import argparse, time, yaml
from pathlib import Path
import torch
from fake_program import *

parser = argparse.ArgumentParser()
for name in ("sd_config", "render_config", "prompt", "mesh_path", "texture_path", "outdir"):
    parser.add_argument("--" + name)
opt = parser.parse_args()
cfg = yaml.safe_load(open(opt.sd_config))
if opt.prompt is not None:
    cfg["inpaint"]["prompt"] = opt.prompt
begin(cfg["inpaint"]["sd_model_key"], cfg["img2img"]["sd_model_key"])
assert (Path("paint3d_cache") / Path(opt.mesh_path).stem / "ft.json").is_file(), "unwrapped anew"
image = Image.open(opt.texture_path).convert("RGB")
seed = cfg["img2img"]["seed"]
torch.manual_seed(int(time.time()) if seed == -1 else seed)
red, green, _ = image.split()
image = Image.merge("RGB", (red, green, Image.new("L", image.size, round(255 * torch.rand()))))
folder = Path(opt.outdir) / "tile_res_0"
folder.mkdir(parents=True)
image.save(Path(opt.outdir) / "UV_inpaint_res_0.png")
image.save(folder / "UV_tile_res_0.png")
note(Path(opt.outdir) / "prompts.json", [cfg["inpaint"]["prompt"], cfg["img2img"]["prompt"]])
""",
        "paint3d/config/train_config_paint3d.py": "",
        "controlnet/config/depth_based_inpaint_template.yaml": (
            "txt2img: {sd_model_key: runwayml/stable-diffusion-v1-5, prompt: monkey, negative_prompt: dark,"
            " seed: 1713428430}\n"
            "inpaint: {sd_model_key: runwayml/stable-diffusion-v1-5, prompt: , negative_prompt: , seed: }\n"
        ),
        "controlnet/config/UV_based_inpaint_template.yaml": (
            "inpaint: {sd_model_key: runwayml/stable-diffusion-v1-5, prompt: monkey, seed: -1}\n"
            "img2img: {sd_model_key: GeorgeQi/realisticVisionV13_v13, prompt: monkey, seed: -1}\n"
        ),
    },
    "syncmvd": {
        "run_experiment.py": """
import argparse, random
from datetime import datetime
from pathlib import Path
from IPython.display import display
import torch
from fake_program import *

parser = argparse.ArgumentParser(allow_abbrev=False)
for name in ("config", "mesh", "output", "prefix", "timeformat", "prompt"):
    parser.add_argument("--" + name, required=True)
parser.add_argument("--seed", type=int, default=0)
opt = parser.parse_args()
for line in open(opt.config):  # configargparse's own format
    key, value = line.split(": ")
    assert (key, value.strip()) in (("steps", "30"), ("cond_type", "depth"))
names = [opt.prefix] + ([datetime.now().strftime(opt.timeformat)] if opt.timeformat else [])
folder = Path(opt.output) / "_".join(names)
if folder.is_dir():
    print("Results exist in the output directory, use time string to avoid name collision.")
    sys.exit(0)
os.mkdir(folder)
begin("lllyasviel/control_v11f1p_sd15_depth", "benjamin-paine/stable-diffusion-v1-5")
torch.manual_seed(opt.seed)
vertices, faces = read_obj(opt.mesh)
uvs, image = paint(vertices, faces, random.random())  # background colours: never seeded
write_obj(folder / "results" / "textured.obj", "textured.png", by_box(2.0)(vertices), faces, uvs, image)
note(Path(opt.output) / "prompts.json", [opt.prompt + ", front view."])
display(image)
""",
        "src/__init__.py": "",
    },
    "mv_adapter": {
        "scripts/texture_t2tex.py": """
import argparse, io, struct
from pathlib import Path
import torch
from fake_program import *

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--device", default="cuda")
parser.add_argument("--variant", default="sdxl", choices=["sdxl", "sd21"])
parser.add_argument("--mesh", required=True)
parser.add_argument("--text", required=True)
parser.add_argument("--seed", type=int, default=-1)
parser.add_argument("--save_dir", default="./output")
parser.add_argument("--save_name", default="t2tex_sample")
parser.add_argument("--preprocess_mesh", action="store_true")
args = parser.parse_args()
sdxl = "stabilityai/stable-diffusion-xl-base-1.0"
begin(sdxl if args.variant == "sdxl" else "stabilityai/stable-diffusion-2-1-base")
open("./checkpoints/RealESRGAN_x2plus.pth"), open("./checkpoints/big-lama.pt")
if args.seed != -1:
    torch.manual_seed(args.seed)
blob = open(args.mesh, "rb").read()
length = struct.unpack("<I", blob[12:16])[0]
document, data = json.loads(blob[20 : 20 + length]), blob[28 + length :]
assert document["materials"][0]["pbrMetallicRoughness"] is not None and document["nodes"]

def numbers(index, width, kinds):
    accessor = document["accessors"][index]
    view = document["bufferViews"][accessor["bufferView"]]
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    letter = kinds[accessor["componentType"]]
    flat = struct.unpack_from(f"<{accessor['count'] * width}{letter}", data, start)
    return [flat[i : i + width] for i in range(0, len(flat), width)]

primitive = document["meshes"][0]["primitives"][0]
vertices = numbers(primitive["attributes"]["POSITION"], 3, {5126: "f"})
flat = numbers(primitive["indices"], 1, {5125: "I", 5123: "H", 5121: "B"})
faces = [tuple(flat[i + k][0] for k in range(3)) for i in range(0, len(flat), 3)]
uvs, image = paint(vertices, faces, torch.rand())
open(args.mesh.replace(".glb", "_unwarp.glb"), "wb").write(blob)
corners = [vertices[v] for face in faces for v in face]
png = io.BytesIO()
image.save(png, format="PNG")
chunks = [struct.pack(f"<{3 * len(corners)}f", *(x for v in corners for x in v))]
chunks += [struct.pack(f"<{2 * len(uvs)}f", *(x for u, v in uvs for x in (u, 1 - v))), png.getvalue()]
body, views = b"", []
for chunk in chunks:
    views.append({"buffer": 0, "byteOffset": len(body), "byteLength": len(chunk)})
    body += chunk + b"\\0" * (-len(chunk) % 4)
box = {"min": [min(c) for c in zip(*corners)], "max": [max(c) for c in zip(*corners)]}
result = {
    "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
    "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "material": 0}]}],
    "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
    "textures": [{"source": 0}], "images": [{"bufferView": 2, "mimeType": "image/png"}],
    "accessors": [{"bufferView": 0, "componentType": 5126, "count": len(corners), "type": "VEC3", **box},
                  {"bufferView": 1, "componentType": 5126, "count": len(uvs), "type": "VEC2"}],
    "bufferViews": views, "buffers": [{"byteLength": len(body)}],
}
text = json.dumps(result).encode()
text += b" " * (-len(text) % 4)
head = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(body))
out = Path(args.save_dir) / f"{args.save_name}_shaded.glb"
blocks = ((text, b"JSON"), (body, b"BIN\\0"))
out.write_bytes(head + b"".join(struct.pack("<I4s", len(block), kind) + block for block, kind in blocks))
note(Path(args.save_dir) / "prompts.json", [args.text])
""",
        "mvadapter/__init__.py": "",
        "checkpoints/RealESRGAN_x2plus.pth": "",
        "checkpoints/big-lama.pt": "",
    },
}


def make_checkout(program: str, folder: Path, fault: str = "") -> Path:
    """Write the fake checkout of one program; returns its folder."""
    files = {"fake_program.py": COMMON, "torch.py": TORCH, "huggingface_hub.py": HUB, **SCRIPTS[program]}
    # numpy: only so that the launcher's import takes no time.
    files |= {"numpy.py": "class random:\n    seed = staticmethod(lambda seed: None)\n"}
    modules = import_module(f"baselines.official.{program}").PROGRAM.modules
    for name in modules:
        files.setdefault(f"{name}.py", "")
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in ("textures/brick_wall.png", "samples/textures/dummy.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(PIXEL)
    if fault:
        (folder / "fault").write_text(fault)
    return folder


def _pixel() -> bytes:
    from io import BytesIO

    from PIL import Image

    stream = BytesIO()
    Image.new("RGB", (1, 1)).save(stream, format="PNG")
    return stream.getvalue()


PIXEL = _pixel()
