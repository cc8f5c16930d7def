"""config/paper.yaml on a machine that has neither weights nor network."""

from __future__ import annotations

NEEDED = (
    "aesthetic: sac+logos+ava1-l14-linearMSE.pth from https://",
    "aesthetic: model.safetensors",
    "imagereward: ImageReward.pt, med_config.json of zai-org/ImageReward at 5736be03",
    "imagereward: config.json, tokenizer_config.json, tokenizer.json, vocab.txt of google-bert",
    "hpsv2: HPS_v2.1_compressed.pt of xswu/HPSv2 at 697403c7",
    "pickscore: model.safetensors, config.json of yuvalkirstain/PickScore_v1 at a4e4367c",
    "hpsv2, pickscore: config.json, preprocessor_config.json",
    "clipscore: pytorch_model.bin",
    "backbone: unet/config.json, unet/diffusion_pytorch_model.safetensors, vae/config.json",
    "scheduler/scheduler_config.json of stable-diffusion-v1-5/stable-diffusion-v1-5 at 451f4fe1",
    "inpainting: unet/config.json, unet/diffusion_pytorch_model.safetensors of stable-diffusion-v1-5/",
)


def test_it_stops_before_any_job_with_one_list_of_what_is_missing(project, snakemake, monkeypatch):
    weights = project / "weights"
    monkeypatch.setenv("TEXREWARD_WEIGHTS", str(weights))
    monkeypatch.setenv("HF_HUB_CACHE", str(project / "cache"))
    done = snakemake("--configfile", "config/paper.yaml", ok=False)
    assert done.returncode != 0
    assert done.stdout.count("Weights are missing and cannot be downloaded (HF_HUB_OFFLINE is set):") == 1
    assert "Traceback" not in done.stdout
    message = done.stdout.partition("Weights are missing")[2]
    for part in NEEDED:
        assert part in message, part
    assert f"into {weights}/xswu--HPSv2@697403c78157" in message
    assert "Connect to the network, or put these files there, and run again" in message
    assert "prepare_mesh:" not in done.stdout and "jobid" not in done.stdout
    made = {path.name for path in (project / "results").rglob("*") if path.is_file()}
    assert not made - {".lock"} - {path.name for path in (project / "results" / "settings").rglob("*")}
