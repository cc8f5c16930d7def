# Retraining of the shipped miniature models from nothing: `snakemake --cores all miniature`. The result lies
# under results/miniature; models/miniature is never overwritten.


rule miniature_world:
    """Rasterise and paint the procedural world that the miniature is trained on; larger for a GPU."""
    output:
        index="<results>/miniature/{scale}/world/world.json",
    log:
        "<logs>/miniature/{scale}.world.log",
    benchmark:
        "<benchmarks>/miniature/{scale}.world.tsv"
    threads: 16
    resources:
        mem_mb=6000,
        runtime=4 * 60,
    params:
        code=miniature_world_code,
        folder=subpath(output.index, parent=True),
    shell:
        "python -P -m texgen.miniature.world --scale {wildcards.scale} --out {params.folder:q} --workers {threads}"
        " > {log:q} 2>&1"


rule pretrain_miniature:
    """Train one part of the miniature on that world: backbone after vae, the scorers after clip, the judge."""
    input:
        parts=miniature_parts_before,
        world="<results>/miniature/{scale}/world/world.json",
    output:
        done=touch("<results>/miniature/{scale}/{part}.done"),
    log:
        "<logs>/miniature/{scale}.{part}.log",
    benchmark:
        "<benchmarks>/miniature/{scale}.{part}.tsv"
    threads: 2
    resources:
        gpu=1,
        mem_mb=6000,
        runtime=12 * 60,
    params:
        code=miniature_code,
        folder=subpath(output.done, parent=True),
    shell:
        "python -P -m texgen.miniature.train {wildcards.part} --scale {wildcards.scale} --processes {threads}"
        " --data {params.folder:q}/world --out {params.folder:q} > {log:q} 2>&1"


rule miniature:
    """Retrain the miniature models from nothing into results/miniature/full: on a GPU half an hour, on two CPU
    cores many hours."""
    input:
        expand("<results>/miniature/full/{part}.done", part=MINIATURE_PARTS),
    localrule: True


rule miniature_test:
    """The same training code for a few steps, to check that it runs."""
    input:
        expand("<results>/miniature/test/{part}.done", part=MINIATURE_PARTS),
    localrule: True
