# Retraining of the shipped miniature models from nothing: `snakemake --cores all miniature`. The result lies
# under results/miniature; models/miniature is never overwritten.


rule pretrain_miniature:
    """Train one part of the miniature on the procedural world: vae, then backbone, and clip."""
    input:
        miniature_parts_before,
    output:
        touch("<results>/miniature/{scale}/{part}.done"),
    log:
        "<logs>/pretrain_miniature/{scale}.{part}.log",
    benchmark:
        "<benchmarks>/pretrain_miniature/{scale}.{part}.tsv"
    wildcard_constraints:
        scale="test|full",
        part="vae|backbone|clip",
    threads: 2
    resources:
        gpu=1,
        mem_mb=6000,
        runtime=12 * 60,
    params:
        code=miniature_code,
        folder=subpath(output[0], parent=True),
    shell:
        "python -m texgen.miniature.pretrain_{wildcards.part} --scale {wildcards.scale}"
        " --out {params.folder:q} > {log:q} 2>&1"


rule miniature:
    """Retrain the miniature models from nothing into results/miniature/full (hours on two CPU cores)."""
    input:
        expand("<results>/miniature/full/{part}.done", part=["vae", "backbone", "clip"]),
    localrule: True


rule miniature_test:
    """The same training code for a few steps, to check that it runs."""
    input:
        expand("<results>/miniature/test/{part}.done", part=["vae", "backbone", "clip"]),
    localrule: True
