rule save_renders:
    """Save the renders that one method's scores are computed from."""
    input:
        manifests=of_job("renders", method_manifests),
        meshes=mesh_files(PLAN.meshes_of(PLAN.assets)),
    output:
        list="<results>/renders/{method}/renders.tsv",
    log:
        "<logs>/save_renders/{method}.log",
    threads: 1
    resources:
        gpu=1,
        mem_mb=3000,
        runtime=60,
    params:
        settings=table_settings,
        code=save_renders_code,
        results=results_folder,
    shell:
        "python -P -m workflow.steps.save_renders --settings {params.settings:q}"
        " --meshes {params.results:q}/meshes --textures {params.results:q}/textures/{wildcards.method}"
        " --out {params.results:q}/renders/{wildcards.method} > {log:q} 2>&1"


if PLAN.config.evaluation.references is not None:

    rule distances:
        """Distance of every method's renders to the reference pictures."""
        input:
            renders=render_lists(),
            references=references,
            weights=of_job("distances", reference_metric_weights),
        output:
            distances="<results>/distances.tsv",
        log:
            "<logs>/distances.log",
        benchmark:
            "<benchmarks>/distances.tsv"
        threads: 1
        resources:
            gpu=1,
            mem_mb=4000,
            runtime=60,
        params:
            settings=reference_metric_settings,
            code=distances_code,
            results=results_folder,
            methods=" ".join(PLAN.methods),
            references=PLAN.config.evaluation.references.images,
        shell:
            "python -P -m workflow.steps.distances --metric {params.settings:q}"
            " --renders {params.results:q}/renders --methods {params.methods}"
            " --references {params.references:q} --out {output.distances:q} > {log:q} 2>&1"
