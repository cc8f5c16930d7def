"""Compiled blocks: the same numbers, also when an adapter comes later; with gradients the plain ones run."""

import torch
from reference import tiny_models

from texgen.diffusion.compiled import BLOCKS, compile_blocks
from texgen.diffusion.guidance import Control


def test_compiled_blocks_compute_what_plain_ones_do(tmp_path):
    tiny_models.write_sd15(tmp_path)
    backbone = tiny_models.load_sd15(tmp_path, torch.float32)
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 4, 8, 8, generator=generator)
    control = torch.rand(1, 6, 64, 64, generator=generator)
    text = backbone.encode_prompts(["", "a cow"])

    def painted():
        with torch.no_grad():
            return backbone.predict(latents, 11, text, [Control(tiny_models.ROLE, control)], 3.0)

    def found():
        x = latents.clone().requires_grad_()
        out = backbone.predict(x, 11, text, [Control(tiny_models.ROLE, control)], 3.0)
        leaves = [x, *(each for each in backbone.unet.parameters() if each.requires_grad)]
        return [out.detach(), *torch.autograd.grad(out.square().sum(), leaves)]

    nets = [backbone.unet, *backbone.controlnets.values()]
    plain, wanted = found(), painted()
    compiled = 0

    def backend(graph, inputs):
        nonlocal compiled
        compiled += 1
        return graph

    # What torch traced is run as it is, without a compiler for this processor.
    blocks = sum(isinstance(module, BLOCKS) for net in nets for module in net.modules())
    assert compile_blocks(nets, backend) == blocks > 5
    assert all(torch.equal(a, b) for a, b in zip(found(), plain, strict=True)) and compiled == 0
    torch.testing.assert_close(painted(), wanted, rtol=1e-5, atol=1e-6)
    assert compiled > 5
    backbone.add_lora(2)
    with torch.no_grad():
        for parameter in backbone.lora_parameters():
            parameter.add_(0.1)
    tuned = painted()
    assert (tuned - wanted).abs().max() > 1e-3, "the adapter is seen"
    for module in (m for net in nets for m in net.modules() if isinstance(m, BLOCKS)):
        module._compiled_call_impl = None
    torch.testing.assert_close(tuned, painted(), rtol=1e-4, atol=1e-5)
