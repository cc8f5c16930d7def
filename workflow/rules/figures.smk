rule overview:
    """One lit view of every texture, a row per asset and a column per method."""
    input:
        settings=table_settings,
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
        code=overview_code,
        results=subpath(output.picture, parent=True),
    shell:
        "python -m workflow.steps.overview --settings {input.settings:q} --results {params.results:q}"
        " --out {output.picture:q} > {log:q} 2>&1"


rule draw_figures:
    """Draw all figures of the run in one go: one by one, most of the time would go into loading."""
    input:
        settings=table_settings,
        manifests=all_manifests(),
        scores=all_scores(),
        quality="<results>/quality.tsv",
        histories=all_histories(),
        meshes=mesh_files(PLAN.meshes_of(PLAN.assets)),
    output:
        **figure_files("pdf"),
        **figure_reports(),
    log:
        "<logs>/figures.log",
    benchmark:
        "<benchmarks>/figures.tsv"
    localrule: True
    threads: 1
    resources:
        mem_mb=3000,
        runtime=20,
    params:
        code=figures_code,
        names=" ".join(FIGURES),
        results=subpath(input.quality, parent=True),
    shell:
        "python -m workflow.steps.figures --settings {input.settings:q} --results {params.results:q}"
        " --out {params.results:q}/figures --figures {params.names} > {log:q} 2>&1"


rule figures:
    """Every figure of the run, as PDF and PNG; each file is also a target of its own."""
    input:
        rules.overview.output,
        rules.draw_figures.output,
    localrule: True
