rule score:
    """Score every texture of one method by every metric: one row per asset, view and background."""
    input:
        manifests=of_job("score", method_manifests),
        weights=metric_weights,
    output:
        # Kept while the job runs: metrics whose scores are current are not computed again.
        scores=update(expand("<results>/scores/{metric}/{{method}}.tsv", metric=PLAN.metrics)),
    log:
        "<logs>/score/{method}.log",
    benchmark:
        "<benchmarks>/score/{method}.tsv"
    threads: 1
    resources:
        gpu=1,
        mem_mb=4000,
        runtime=4 * 60,
    params:
        settings=score_settings,
        code=score_code,
        again=score_again,
        results=results_folder,
    shell:
        "python -P -m workflow.steps.score --settings {params.settings:q}"
        " --meshes {params.results:q}/meshes --textures {params.results:q}/textures/{wildcards.method}"
        " --out {params.results:q}/scores --code {params.code} --threads {threads} > {log:q} 2>&1"
