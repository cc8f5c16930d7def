rule overview:
    """One lit view of every texture, a row per asset and a column per method."""
    input:
        manifests=all_manifests(),
    output:
        picture=report(
            "<results>/overview.png",
            caption="../report/overview.rst",
            category="2 Figures",
            subcategory="All methods",
            labels={"figure": "every texture"},
        ),
    log:
        "<logs>/overview.log",
    benchmark:
        "<benchmarks>/overview.tsv"
    localrule: True
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=table_settings,
        code=overview_code,
        results=subpath(output.picture, parent=True),
    shell:
        "python -m workflow.steps.overview --settings {params.settings:q} --results {params.results:q}"
        " --out {output.picture:q} > {log:q} 2>&1"


# Two jobs: one by one most of the time would go into loading, and all in one leaves the other core idle at the end.
for part, names in FIGURE_JOBS.items():

    rule:
        name:
            f"draw_{part}"
        input:
            manifests=all_manifests(),
            scores=all_scores(),
            quality="<results>/quality.tsv",
            histories=all_histories(),
            meshes=mesh_files(PLAN.meshes_of(PLAN.assets)),
        output:
            **figure_files(names, "pdf"),
            **figure_reports(names),
        log:
            f"<logs>/draw_{part}.log",
        benchmark:
            f"<benchmarks>/draw_{part}.tsv"
        localrule: True
        threads: 1
        resources:
            mem_mb=3000,
            runtime=20,
        params:
            settings=table_settings,
            code=figures_code,
            names=" ".join(names),
            results=subpath(input.quality, parent=True),
        shell:
            "python -m workflow.steps.figures --settings {params.settings:q} --results {params.results:q}"
            " --out {params.results:q}/figures --figures {params.names} > {log:q} 2>&1"


rule figures:
    """Every figure of the run, as PDF and PNG; each file is also a target of its own."""
    input:
        rules.overview.output,
        figure_files(FIGURES, "pdf").values(),
        figure_files(FIGURES, "png").values(),
    localrule: True
