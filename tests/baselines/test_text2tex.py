"""Text2Tex: view tables, classes, choice of views, passes, overwrite, number of evaluations."""

import pytest
import torch
from reference.tiny_meshes import square_mesh

from baselines.presets.text2tex import PRESET, Text2TexSettings
from baselines.text2tex import text2tex
from baselines.text2tex_views import Candidate, Classes, choose, classify, heat
from texgen.backprojection.backproject import overwrite4, pixel_texels, read_nearest
from texgen.backprojection.trimap import checkerboard
from texgen.diffusion.schedules import first_step
from texgen.render.cameras import RIGS, Cameras
from texgen.render.images import depth_map, geometry_buffer, shade
from texgen.render.view_words import text2tex_word

TINY = {"image_size": 64, "render_size": 64, "texture_size": 32, "candidate_size": 32, "atlas_size": 64}


def test_views_and_words_are_the_published_ones():
    words = [text2tex_word(*pose) for pose in RIGS["text2tex"]]
    ring = "front, front right, front left, right, left, back right, back left, back, top, bottom"
    assert words == ring.split(", ")
    candidates = RIGS["text2tex_candidates"]
    assert len(set(candidates)) == 36
    per_elevation = {e: sum(pose[1] == e for pose in candidates) for e in (0, 15, 30, 45, 60)}
    assert per_elevation == {0: 4, 15: 8, 30: 8, 45: 8, 60: 8}
    assert {text2tex_word(*pose) for pose in candidates if pose[1] == 60} == {
        "top front", "top right", "top back", "top left"
    }  # fmt: skip


def test_full_size_cost_is_at_most_980_evaluations(full_backbone):
    method, settings = text2tex(full_backbone), Text2TexSettings()
    update = PRESET.steps - first_step(PRESET.steps, method.update_preset.strength)
    assert update == 16 and first_step(50, 1.0) == 0
    views = len(RIGS[PRESET.rig])
    assert views * PRESET.steps + views * update + settings.rounds * update == 980


def test_depth_values_lie_in_the_published_range(ball):
    camera = Cameras.orbit([0.0], 15.0, PRESET.distance, PRESET.fov_y)
    buffer = geometry_buffer(ball, camera, 64)
    depth = depth_map(ball, camera, buffer, PRESET.depth_convention)
    seen = buffer.mask > 0
    assert float(depth[seen].min()) == pytest.approx(50 / 255) and float(depth[seen].max()) == pytest.approx(
        1
    )
    assert bool((depth[~seen] == 10 / 255).all())
    near = buffer.depth[0][buffer.depth[0] > 0].min()
    assert float(depth[0, 0][buffer.depth[0] == near].max()) == pytest.approx(1)


def candidate(mesh, size=32, texture_size=16):
    camera = Cameras.orbit([0.0], 0.0)
    buffer = geometry_buffer(mesh, camera, size)
    return Candidate(buffer, pixel_texels(buffer, texture_size), None, camera)


def test_classes_split_what_is_seen_well_enough():
    spot = candidate(square_mesh(0.6), size=384)
    exist, best = torch.zeros(1, 16, 16), torch.zeros(16, 16, dtype=torch.int64)
    exist[..., :8] = 1  # the left half of the square is painted
    best[:4] = 3  # and a view with index 3 is best for its lower quarter
    classes = classify(spot, exist, best, 3, 0.1)
    u, v = spot.buffer.uv[0].unbind(-1)
    inner = (classes.new + classes.update + classes.keep)[0, 0] > 0
    assert bool(((classes.new[0, 0] > 0) == (inner & (u >= 0.5))).all())
    assert bool(((classes.update[0, 0] > 0) == (inner & (u < 0.5) & (v < 0.25))).all())
    assert 0 < inner.sum() < (spot.buffer.mask > 0).sum()  # the silhouette is left out
    assert not classify(spot, exist, best, 3, 1.01).new.any()


def test_heat_is_the_published_sum_and_chosen_views_cool_down():
    one = torch.zeros(1, 1, 10, 10)
    new, update, keep = one.clone(), one.clone(), one.clone()
    new[..., :1], update[..., 1:3], keep[..., 3:6] = 1, 1, 1
    assert heat(Classes(new, update, keep)) == pytest.approx((10 * 1 + 20 * 0.5 + 30 * 0.1) / 100)
    assert choose([0.1, 0.3, 0.2], []) == 1 and choose([0.1, 0.3, 0.2], [1]) == 2
    assert choose([0.1, 0.3, 0.2], [1, 2, 0]) == 1


def test_overwrite_equals_plain_loops_and_shows_the_image_again(ball):
    buffer = geometry_buffer(ball, Cameras.orbit([0.0], 0.0), 48)
    image = buffer.position[0].permute(2, 0, 1) * 0.5 + 0.5
    mask = (buffer.cosine[0] > 0.3).float()
    values, hit = overwrite4(image, buffer, 12, mask)
    expected, touched = torch.zeros(3, 12, 12), torch.zeros(1, 12, 12)
    for i in range(48):
        for j in range(48):
            if mask[0, i, j] == 0:
                continue
            x, y = (float(part) * 12 - 0.5 for part in buffer.uv[0, i, j])
            for row in (int(y // 1), int(y // 1) + 1):
                for column in (int(x // 1), int(x // 1) + 1):
                    row_, column_ = min(max(row, 0), 11), min(max(column, 0), 11)
                    expected[:, row_, column_], touched[0, row_, column_] = image[:, i, j], 1
    assert torch.equal(values, expected) and torch.equal(hit, touched)
    fine, _ = overwrite4(image, buffer, 24, mask)
    error = (shade(buffer, fine)[0] - image).abs() * (buffer.cosine[0] > 0.5)
    assert float(error.mean()) < 0.02


def test_nearest_reading_interpolates_nothing(ball):
    buffer = geometry_buffer(ball, Cameras.orbit([0.0], 0.0), 24)
    board = checkerboard(16, 16)[0]
    seen = read_nearest(board, pixel_texels(buffer, 16), buffer)
    assert set(seen.unique().tolist()) == {0.0, 1.0}


def test_paints_updates_and_refines(full_backbone, ball):
    method = text2tex(
        full_backbone, **TINY, steps=2, rounds=2, atlas_steps=1, rig="tilted_4view", candidates="front_3view"
    )
    result = method(ball, "a cat", 0)
    passes = sum(2 * (not v["skipped"]) if v["stage"] == "generate" else 0 for v in result.views)
    updates = sum(v["updated"] for v in result.views)
    # Updates of strength 0.3 run int(0.6) + 1 step here; the atlas one with the inpainting UNet alone.
    assert result.calls == {"unet": passes + updates + 1, "controlnet": passes + updates}
    assert len(result.views) == 6 and result.views[0]["generate"] > 0.5 and not result.views[0]["updated"]
    refined = [v["index"] for v in result.views if v["stage"] == "refine"]
    assert len(set(refined)) == 2 and min(refined) >= 4
    assert result.painted.mean() > 0.6 and bool(result.texture.isfinite().all())
    assert torch.equal(method(ball, "a cat", 0).texture, result.texture)
