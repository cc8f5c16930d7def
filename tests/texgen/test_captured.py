"""Captured predictions: what is kept, what is static, and that they equal plain ones."""

import warnings

import pytest
import torch
from reference import tiny_models
from reference.recorders import Failing, Rerun, Traced

from texgen.diffusion import captured
from texgen.diffusion.backbone import Backbone
from texgen.diffusion.captured import Captured
from texgen.diffusion.guidance import Control, time_on

ROLE = tiny_models.ROLE


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    tiny_models.write_sd15(root)
    return root


@pytest.fixture
def backbone(root) -> Backbone:
    return tiny_models.load_sd15(root, torch.float32)


def drawn(backbone, seed, batch=1):
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(batch, 4, 8, 8, generator=generator)
    control = torch.rand(1, 6, 64, 64, generator=generator)
    text = backbone.encode_prompts(["", f"cow {seed}"])
    return latents.to(backbone.device), 10 * seed + 1, text, control.to(backbone.device)


def predict(backbone, seed, batch=1, **changes):
    latents, t, text, control = drawn(backbone, seed, batch)
    arguments = {"controls": [Control(ROLE, control)], "guidance_scale": 3.0} | changes
    return backbone.predict(latents, t, text, **arguments)


def test_a_key_is_recorded_when_it_is_met_again_and_its_tensors_stay_where_they_are():
    recorder = Rerun()
    calls = Captured(recorder)
    seen = []

    def twice(inputs):
        seen.append(inputs["x"].data_ptr())
        return 2 * inputs["x"]

    xs = [torch.full((3,), float(i)) for i in range(5)]
    results = [calls("double", twice, {"x": x}) for x in xs]
    for i, result in enumerate(results):
        assert result.tolist() == [2.0 * i] * 3, "a result is not overwritten by the next replay"
    assert recorder.records == 1 and calls.replays == 4
    assert len(set(seen[1:])) == 1 and seen[1] not in {x.data_ptr() for x in xs}
    calls("double", twice, {"x": torch.ones(4)})
    calls("double", twice, {"x": torch.ones(3, dtype=torch.float64)})
    calls("triple", lambda inputs: 3 * inputs["x"], {"x": torch.ones(3)})
    assert recorder.records == 1, "another shape, type or key is another record"
    with calls.paused():
        calls("double", twice, {"x": xs[1]})
    assert calls.replays == 4
    calls.clear()
    assert calls("double", twice, {"x": xs[3]}).tolist() == [6.0] * 3 and recorder.records == 1
    assert recorder.forgotten == 1


def test_few_records_are_kept_those_used_last():
    recorder = Rerun()
    calls = Captured(recorder, kept=2)
    ask = lambda key: calls(key, lambda inputs: inputs["x"] + 0, {"x": torch.zeros(1)})  # noqa: E731
    for key in "aabbacca":
        ask(key)
    assert recorder.records == 3
    ask("b"), ask("b")
    assert recorder.records == 4


def test_what_cannot_be_captured_is_said_once_and_computed_as_it_is():
    calls = Captured(Failing())
    with pytest.warns(UserWarning, match="operation not permitted.*TEXREWARD_CUDA_GRAPHS=0"):
        results = [calls("k", lambda inputs: inputs["x"] + 1, {"x": torch.ones(1)}) for _ in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results += [calls("k", lambda inputs: inputs["x"] + 1, {"x": torch.ones(1)})]
    assert [float(result) for result in results] == [2.0] * 3 and calls.replays == 0


def test_replayed_predictions_equal_plain_ones_with_everything_that_may_change(backbone):
    with torch.no_grad():
        plain = [predict(backbone, seed) for seed in range(5)]
        backbone.captured = Captured(Traced())
        replayed = [predict(backbone, seed) for seed in range(5)]
    assert backbone.captured.replays == 4
    for a, b in zip(plain, replayed, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    assert (plain[1] - plain[2]).abs().max() > 1e-2, "the inputs matter"


def test_a_replay_sees_new_values_of_the_adapter_but_not_another_adapter(backbone):
    backbone.add_lora(2)
    own = Captured(Traced())

    def compare(seed):
        backbone.captured = None
        plain = predict(backbone, seed)
        backbone.captured = own
        torch.testing.assert_close(predict(backbone, seed), plain, rtol=0, atol=1e-6)
        return plain

    def shift():
        for parameter in backbone.lora_parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))

    with torch.no_grad():
        first = [compare(0) for _ in range(3)][-1]
        replays = own.replays
        assert replays == 2
        shift()  # as an optimiser's step does: in place
        tuned = compare(0)
        assert own.replays == replays + 1 and (tuned - first).abs().max() > 1e-3
        for _ in range(3):
            with backbone.lora_disabled():
                untuned = compare(0)
            with backbone.lora_merged():
                merged = compare(0)
            compare(0)
        torch.testing.assert_close(merged, tuned, rtol=1e-4, atol=1e-5)
        assert (untuned - tuned).abs().max() > 1e-3
        shift()
        with backbone.lora_merged():
            moved = compare(0)  # a record of merged weights reads the newly merged ones
        assert (moved - merged).abs().max() > 1e-3
        backbone.set_lora_scale(0.5)
        for _ in range(3):
            compare(0)


def test_batches_scales_and_controls_are_told_apart_and_counted(backbone):
    _, _, _, control = drawn(backbone, 2)
    variants = [
        {},
        {"guidance_scale": 1.0},
        {"guidance_scale": 5.0},
        {"controls": [Control(ROLE, control, 0.5)]},
        {"controls": []},
        {"batch": 3},
        {"controls": [Control(ROLE, control), Control(ROLE, drawn(backbone, 9)[3], 0.3)]},
    ]
    with torch.no_grad():
        plain = [predict(backbone, 2, **changes) for changes in variants]
        counted = backbone.calls.as_dict()
        backbone.captured = Captured(Rerun())
        for _ in range(3):
            again = [predict(backbone, 2, **changes) for changes in variants]
    for a, b in zip(plain, again, strict=True):
        assert torch.equal(a, b)
    assert backbone.calls.as_dict() == {name: 4 * count for name, count in counted.items()}


def gradients(backbone, seed, moving=True, strength=1.0):
    """Of a weighted sum of a prediction: to the latents and control image where they move, to the adapter."""
    latents, t, text, control = drawn(backbone, seed)
    leaves = [latents.requires_grad_(), control.requires_grad_()] if moving else []
    leaves += backbone.lora_parameters()
    found = backbone.predict(latents, t, text, [Control(ROLE, control, strength)], 3.0)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(100 + seed))
    return [found.detach(), *torch.autograd.grad((found * weights.to(found.device)).sum(), leaves)]


def tuned(backbone):
    backbone.add_lora(2)
    with torch.no_grad():
        for parameter in backbone.lora_parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))


def test_gradients_by_recorded_pairs_equal_plain_ones(backbone):
    tuned(backbone)
    variants = [{}, {"moving": False}, {"strength": 0.5}]
    plain = [gradients(backbone, seed, **changes) for changes in variants for seed in range(4)]
    counted = backbone.calls.as_dict()
    recorder = Rerun()
    backbone.captured = Captured(recorder)
    again = [gradients(backbone, seed, **changes) for changes in variants for seed in range(4)]
    assert recorder.records == 3 and backbone.captured.replays == 9
    assert backbone.calls.as_dict() == {name: 2 * count for name, count in counted.items()}
    for a, b in zip(plain, again, strict=True):
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-6)
    assert max(float(each.abs().max()) for each in plain[0][3:]) > 1e-3, "the adapter has a gradient"


def test_a_pair_is_played_forward_again_when_something_else_was_played_in_between(backbone):
    tuned(backbone)

    def both(ahead: bool):
        """Gradients of two predictions to their latents: one after the other, or both forward first."""
        xs = [drawn(backbone, seed)[0].requires_grad_() for seed in (5, 6)]
        outs, found = [], []
        for x, seed in zip(xs, (5, 6), strict=True):
            _, t, text, control = drawn(backbone, seed)
            outs.append(backbone.predict(x, t, text, [Control(ROLE, control)], 3.0))
            if not ahead:
                found += torch.autograd.grad(outs[-1].square().sum(), [x])
        if ahead:
            found += torch.autograd.grad(sum(out.square().sum() for out in outs), xs)
        return found

    plain = both(ahead=True)
    backbone.captured = Captured(Rerun())
    both(ahead=False), both(ahead=False)
    (pair,) = [each for each in backbone.captured._met.values() if each is not None]
    assert pair.again == 0, "one evaluation at a time needs no repetition"
    for a, b in zip(plain, both(ahead=True), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert pair.again > 0
    x = drawn(backbone, 5)[0].requires_grad_()
    _, t, text, control = drawn(backbone, 5)
    out, before = backbone.predict(x, t, text, [Control(ROLE, control)], 3.0), pair.again
    with torch.no_grad():
        for _ in range(3):
            predict(backbone, 6)  # a record without gradient lies in the same memory
    torch.autograd.grad(out.sum(), [x])
    assert pair.again == before + 1


def test_parameters_changed_before_the_backward_pass_are_an_error(backbone):
    tuned(backbone)
    backbone.captured = Captured(Rerun())
    for _ in range(2):
        gradients(backbone, 1, moving=False)
    latents, t, text, control = drawn(backbone, 1)
    out = backbone.predict(latents, t, text, [Control(ROLE, control)], 3.0)
    with torch.no_grad():
        backbone.lora_parameters()[0].add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_pairs_that_cannot_be_recorded_are_computed_and_nothing_outlives_moved_weights(backbone):
    backbone.captured = Captured(Failing())
    latents, t, text, control = drawn(backbone, 1)
    for _ in range(3):  # nothing wants a gradient
        assert not backbone.predict(latents, t, text, [Control(ROLE, control)], 3.0).requires_grad
    backbone.add_lora(1)
    predict(backbone, 1)
    with pytest.warns(UserWarning, match="operation not permitted"):
        assert predict(backbone, 1).requires_grad
    assert predict(backbone, 1).requires_grad
    backbone.to(dtype=torch.float64)  # moves weights: nothing may be remembered
    assert not backbone.captured._met and not backbone.captured._refused


def test_the_autoencoder_is_recorded_with_and_without_gradient(backbone):
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    latents = drawn(backbone, 0)[0]

    def found():
        x, z = images.clone().requires_grad_(), latents.clone().requires_grad_()
        seeded = torch.Generator().manual_seed(1)
        encoded, decoded = backbone.encode_images(x, seeded), backbone.decode_latents(z)
        with torch.no_grad():
            plain = [backbone.encode_images(x), backbone.decode_latents(z)]
        return [
            *plain,
            encoded,
            decoded,
            *torch.autograd.grad(encoded.sum() + decoded.square().sum(), [x, z]),
        ]

    wanted = found()
    backbone.captured = Captured(Rerun())
    for _ in range(3):
        again = found()
    assert backbone.captured.replays == 8
    for a, b in zip(wanted, again, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_the_switch(monkeypatch):
    assert not captured.wanted(torch.device("cpu")) and captured.wanted(torch.device("cuda"))
    monkeypatch.setenv(captured.SWITCH, "0")
    assert not captured.wanted(torch.device("cuda"))


def test_time_steps_are_tensors_of_the_device():
    assert time_on(7, torch.device("cpu")).dtype == torch.int64
    half = time_on(torch.tensor(7.5), torch.device("cpu"))
    assert half.shape == () and float(half) == 7.5
    assert time_on(torch.tensor(7), torch.device("meta")).device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_cuda_graphs_equal_eager_to_the_bit(root, dtype):
    backbone = tiny_models.load_sd15(root, dtype).to("cuda")

    with torch.no_grad():
        backbone.captured = None
        plain = [predict(backbone, seed) for seed in range(4)]
        backbone.captured = Captured()
        replayed = [predict(backbone, seed) for seed in range(4)]
    assert backbone.captured.replays == 3
    assert all(torch.equal(a, b) for a, b in zip(plain, replayed, strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gradients_of_cuda_graphs_equal_eager_ones(root):
    backbone = tiny_models.load_sd15(root, torch.float32)
    tuned(backbone)
    backbone.to("cuda")

    backbone.captured = None
    plain = [gradients(backbone, seed) for seed in range(4)]
    backbone.captured = Captured()
    again = [gradients(backbone, seed) for seed in range(4)]
    assert backbone.captured.replays == 3
    for a, b in zip(plain, again, strict=True):
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_failed_capture_harms_nothing_that_comes_after():
    calls = Captured()
    x = torch.ones(3, device="cuda")
    stream = torch.cuda.current_stream()

    def waits(inputs):
        return inputs["x"] * float(inputs["x"].sum())  # the host waits, which no capture allows

    with pytest.warns(UserWarning, match="could not be captured"):
        results = [calls("waits", waits, {"x": x}) for _ in range(3)]
    assert all(result.tolist() == [3.0] * 3 for result in results)
    assert torch.cuda.current_stream() == stream
    assert torch.randn(5, device="cuda").isfinite().all()
    for _ in range(2):
        found = [calls("double", lambda inputs: 2 * inputs["x"], {"x": x}) for _ in range(3)]
        assert found[-1].tolist() == [2.0] * 3
        calls.clear()
    assert calls.replays == 4
