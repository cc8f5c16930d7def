rule texture:
    """Texture one shard of the assets by one method; assets that are finished and current are kept."""
    input:
        meshes=of_job("texture", shard_meshes),
        adapter=adapter,
        weights=texture_weights,
    output:
        # The textures themselves are not declared: they would be deleted when the job is killed.
        manifest="<results>/textures/{method}/shard-{shard}.json",
    log:
        "<logs>/texture/{method}.{shard}.log",
    benchmark:
        "<benchmarks>/texture/{method}.{shard}.tsv"
    threads: 1
    resources:
        gpu=1,
        mem_mb=texture_memory,
        runtime=12 * 60,
    params:
        settings=texture_settings,
        code=texture_code,
        again=texture_again,
        results=subpath(output.manifest, ancestor=3),
    shell:
        "python -P -m workflow.steps.texture --settings {params.settings:q}"
        " --meshes {params.results:q}/meshes --models {params.results:q}/models"
        " --out {params.results:q}/textures/{wildcards.method} --manifest {output.manifest:q}"
        " --code {params.code} --threads {threads} > {log:q} 2>&1"
