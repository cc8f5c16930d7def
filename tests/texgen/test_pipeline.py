"""The whole painter on tiny random models: results, costs, repeatability and gradients."""

from dataclasses import replace

import pytest
import torch
from reference import tiny_models
from reference.tiny_meshes import sphere_mesh

from texgen.finetune.differentiation import Differentiation
from texgen.finetune.evaluations import Evaluations
from texgen.painting.pipeline import TexGen
from texgen.painting.presets import get_preset
from texgen.painting.scene import Viewpoints
from texgen.painting.views import Derivative
from texgen.render.cameras import RIGS, Cameras

SMALL = {"image_size": 64, "render_size": 64, "texture_size": 48, "steps": 1}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    tiny_models.write_sd15(root)
    return root


@pytest.fixture(scope="module")
def backbone(models):
    return tiny_models.load_sd15(models)


@pytest.fixture(scope="module")
def mesh():
    return sphere_mesh(10)


def test_paper_rig_on_the_published_layout(backbone, mesh):
    method, seen = TexGen(backbone, get_preset("texgen", **SMALL)), []
    result = method(mesh, "a red cat", 0, progress=lambda *at: seen.append(at))
    # Six views of one step; the published sixty are six views of ten.
    assert result.calls == {"unet": 6, "controlnet": 6}
    assert seen == [(view, 6, 1, 1) for view in range(1, 7)]
    assert result.texture.shape == (3, 48, 48) and not result.texture.requires_grad
    assert 0 <= result.texture.min() and result.texture.max() <= 1
    assert set(result.painted.unique().tolist()) == {0.0, 1.0} and result.painted.shape == (1, 48, 48)
    assert 0.5 < result.painted.mean() < 1.0
    assert result.spent.device > 0 and result.spent.wall > 0 and result.peak_memory_bytes > 0
    assert [(view["azimuth"], view["elevation"]) for view in result.views] == list(RIGS["front_short"])
    assert [view["word"] for view in result.views] == ["front"] + ["back"] * 5
    for view in result.views:
        assert view["generate"] + view["refine"] + view["keep"] == pytest.approx(1.0)
        assert not view["skipped"] and view["device_seconds"] > 0

    again = method(mesh, "a red cat", 0)  # from the cached geometry
    assert torch.equal(again.texture, result.texture) and again.calls == result.calls


@pytest.fixture(scope="module")
def short(backbone):
    return TexGen(backbone, get_preset("texgen", rig="tilted_2view", **SMALL))


def test_results_depend_on_seed_prompt_and_shape_only(backbone, short, mesh):
    first = short(mesh, "a red cat", 0).texture
    assert torch.equal(short(replace(mesh, name="another name"), "a red cat", 0).texture, first)
    assert not torch.equal(short(mesh, "a red cat", 1).texture, first)
    assert not torch.equal(short(mesh, "a blue dog", 0).texture, first)
    assert torch.equal(TexGen(backbone, short.preset, cached_meshes=0)(mesh, "a red cat", 0).texture, first)
    with torch.no_grad():
        texture, painted = short.paint(mesh, "a red cat", 0)
    assert torch.equal(texture, first)
    assert torch.equal(painted, short(mesh, "a red cat", 0).painted)


def test_every_texel_is_filled_or_left_as_asked(backbone, short, mesh):
    filled = short(mesh, "a red cat", 0)
    bare = TexGen(backbone, short.preset.replace(fill="none"))(mesh, "a red cat", 0)
    painted = bare.painted.expand(3, -1, -1) > 0
    assert torch.equal(filled.texture[painted], bare.texture[painted])
    assert bool((bare.texture[~painted] == 0).all()) and not bool((filled.texture[~painted] == 0).all())


def test_cache_holds_the_last_meshes(backbone):
    method = TexGen(backbone, get_preset("texgen", rig="tilted_2view", **SMALL), cached_meshes=1)
    meshes, scenes = [sphere_mesh(6), sphere_mesh(7)], []
    for mesh in meshes:
        scenes.append(method._scene(mesh))
        assert method._scene(mesh) is scenes[-1]
    assert method._scene(meshes[1]) is scenes[1]
    assert method._scene(meshes[0]) is not scenes[0]


def test_mesh_that_no_view_can_paint_is_an_error(backbone, mesh):
    method = TexGen(backbone, get_preset("texgen", rig="tilted_2view", min_cosine=1.0, **SMALL))
    with pytest.raises(ValueError, match="No view of the rig 'tilted_2view' paints any texel"):
        method(mesh, "a cat", 0)


def test_stateful_sampler_is_refused_for_gradients(backbone, mesh):
    method = TexGen(backbone, get_preset("texgen", scheduler="unipc", **SMALL))
    with pytest.raises(ValueError, match='use scheduler="ddim"'):
        method.paint(mesh, "a cat", 0)


def test_image_size_must_fit_the_autoencoder(backbone):
    with pytest.raises(ValueError, match="image_size is 60"):
        TexGen(backbone, get_preset("texgen", **{**SMALL, "image_size": 60}))


@pytest.mark.parametrize("change", [{"distance_unit": "radius"}, {"word_rule": "syncmvd"}])
def test_what_texgen_does_not_do_is_refused(backbone, change):
    with pytest.raises(ValueError, match=f"texgen ignores {next(iter(change))}"):
        TexGen(backbone, get_preset("texgen", **SMALL, **change))


def test_miniature_layout_runs(tmp_path, mesh):
    backbone = tiny_models.load_miniature(tmp_path)
    preset = get_preset("texgen", **{**SMALL, "image_size": 32}, rig="tilted_2view", pin_background=True)
    result = TexGen(backbone, preset)(mesh, "a red cat", 0)
    assert bool(result.texture.isfinite().all()) and result.calls["unet"] == 2


# Gradients, in float64


@pytest.fixture(scope="module")
def tunable(models):
    backbone = tiny_models.load_sd15(models, torch.float64)
    backbone.add_lora(1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in backbone.lora_parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return backbone


def painter(backbone, **changes):
    settings = {"image_size": 64, "render_size": 32, "texture_size": 24, "steps": 2, "rig": "front_3view"}
    settings |= {"guidance_scale": 2.0, "refine_strength": 0.5, **changes}
    return TexGen(backbone, get_preset("texgen", **settings))


def objective(texture):
    weights = torch.linspace(-1, 1, texture.numel(), dtype=texture.dtype).sin().reshape(texture.shape)
    return (weights * texture).sum() + texture.square().mean()


@pytest.mark.parametrize("soft", [False, True])
def test_gradient_reaches_the_adapter_and_equals_finite_differences(tunable, mesh, soft):
    method, parameters = painter(tunable), tunable.lora_parameters()

    def value():
        whole = Derivative(soft=soft, detach_conditioning=False)
        return objective(method.paint(mesh, "a cat", 0, whole)[0])

    gradient = torch.autograd.grad(value(), parameters)
    assert sum(bool(g.abs().max() > 0) for g in gradient) > len(gradient) // 2
    generator = torch.Generator().manual_seed(1)
    direction = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parameters]
    slope = sum((g * d).sum() for g, d in zip(gradient, direction, strict=True))
    step = 1e-6
    values = []
    with torch.no_grad():
        for sign in (1, -2):
            for parameter, d in zip(parameters, direction, strict=True):
                parameter += sign * step * d
            values.append(value())
        for parameter, d in zip(parameters, direction, strict=True):
            parameter += step * d
    torch.testing.assert_close(slope, (values[0] - values[1]) / (2 * step), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("detach", [True, False])
def test_rebuilt_graph_gives_the_same_gradient(tunable, mesh, detach):
    method, parameters = painter(tunable), tunable.lora_parameters()
    results = []
    for gradient in (None, Differentiation(None, True, Evaluations())):
        texture, _ = method.paint(mesh, "a cat", 0, Derivative(gradient, detach_conditioning=detach))
        results.append((texture.detach(), torch.autograd.grad(objective(texture), parameters)))
    # Passes without a gradient run with the adapter merged into its layers, which rounds otherwise.
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-11, atol=1e-12)
    for plain, rebuilt in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(plain, rebuilt)


def test_detaching_the_conditioning_cuts_a_part_of_the_gradient_only(tunable, mesh):
    method, parameters = painter(tunable), tunable.lora_parameters()
    ways = [Derivative(detach_conditioning=detach) for detach in (False, True)]
    whole, cut = (method.paint(mesh, "a cat", 0, way)[0] for way in ways)
    assert torch.equal(whole, cut)  # values do not change
    whole, cut = (
        torch.cat([g.flatten() for g in torch.autograd.grad(objective(texture), parameters)])
        for texture in (whole, cut)
    )
    assert cut.abs().max() > 0
    assert (whole - cut).abs().max() > 1e-6 * whole.abs().max()


def test_gradient_reaches_the_cameras(tunable, mesh):
    elevation = torch.tensor([10.0, -5.0], dtype=torch.float64, requires_grad=True)
    cameras = Cameras.orbit([0.0, 90.0], elevation, dtype=torch.float64)
    soft = Derivative(soft=True)
    texture, painted = painter(tunable).paint(mesh, "a cat", 0, soft, Viewpoints(cameras))
    assert texture.shape == (3, 24, 24) and not painted.requires_grad
    (gradient,) = torch.autograd.grad(objective(texture), elevation)
    assert bool(gradient.isfinite().all()) and bool((gradient != 0).all())
