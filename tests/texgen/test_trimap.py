import pytest
import torch

from texgen.backprojection.trimap import hard_trimap, soft_trimap


def random_inputs(seed: int, size: int = 16):
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 1, size, size)
    count = torch.rand(shape, generator=generator) * 0.3
    best = torch.rand(shape, generator=generator) * 2 - 1
    cosine = torch.rand(shape, generator=generator)
    return count, best, cosine


def test_hard_trimap_matches_the_rules_pixel_by_pixel():
    count, best, cosine = random_inputs(0)
    trimap = hard_trimap(count, best, cosine)
    for at in torch.cartesian_prod(torch.arange(2), torch.arange(16), torch.arange(16)).tolist():
        pixel = (at[0], 0, at[1], at[2])
        if count[pixel] < 0.1:
            expected = (1, 0, 0)
        elif best[pixel] < cosine[pixel]:
            expected = (0, 1, 0)
        else:
            expected = (0, 0, 1)
        assert (trimap.generate[pixel], trimap.refine[pixel], trimap.keep[pixel]) == expected


def test_equal_cosine_is_kept():
    one = torch.ones(1, 1, 1, 1)
    assert hard_trimap(one, one * 0.5, one * 0.5).keep.item() == 1


@pytest.mark.parametrize("make", [hard_trimap, soft_trimap])
def test_the_three_masks_sum_to_one(make):
    trimap = make(*random_inputs(1))
    total = trimap.generate + trimap.refine + trimap.keep
    torch.testing.assert_close(total, torch.ones_like(total))


def test_soft_agrees_with_hard_away_from_the_thresholds():
    """At sharpness 100 a sigmoid 0.09 away from its threshold is within 1.3e-4 of 0 or 1."""
    count, best, cosine = random_inputs(2, size=64)
    hard, soft = hard_trimap(count, best, cosine), soft_trimap(count, best, cosine)
    clear = ((count - 0.1).abs() > 0.09) & ((cosine - best).abs() > 0.09)
    for name in ("generate", "refine", "keep"):
        assert (clear & (getattr(hard, name) > 0)).any(), name
        difference = (getattr(hard, name) - getattr(soft, name)).abs()[clear]
        assert difference.max() < 3e-4, name


def test_soft_gradient_matches_finite_differences():
    count, best, cosine = (value[:, :, :2, :2].double().requires_grad_() for value in random_inputs(3))

    def masks(*args):
        trimap = soft_trimap(*args, sharpness=5.0)
        return trimap.generate, trimap.refine, trimap.keep

    assert torch.autograd.gradcheck(masks, (count, best, cosine))


def test_hard_trimap_is_the_limit_of_the_soft_one():
    count, best, cosine = random_inputs(4)
    hard, soft = hard_trimap(count, best, cosine), soft_trimap(count, best, cosine, sharpness=1e9)
    torch.testing.assert_close(hard.generate, soft.generate)
    torch.testing.assert_close(hard.keep, soft.keep)
