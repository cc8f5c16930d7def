rule score:
    """Score every texture of one method by one metric: one row per asset, view and background."""
    input:
        settings=score_settings,
        manifests=method_manifests,
        weights=metric_weights,
    output:
        scores="<results>/scores/{metric}/{method}.tsv",
    log:
        "<logs>/score/{metric}.{method}.log",
    benchmark:
        "<benchmarks>/score/{metric}.{method}.tsv"
    threads: 1
    resources:
        gpu=1,
        mem_mb=4000,
        runtime=4 * 60,
    params:
        code=score_code,
        results=subpath(output.scores, ancestor=3),
    shell:
        "python -m workflow.steps.score --settings {input.settings:q}"
        " --meshes {params.results:q}/meshes --textures {params.results:q}/textures/{wildcards.method}"
        " --out {output.scores:q} --threads {threads} > {log:q} 2>&1"
