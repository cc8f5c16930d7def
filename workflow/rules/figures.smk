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
        "python -P -m workflow.steps.overview --settings {params.settings:q} --results {params.results:q}"
        " --out {output.picture:q} > {log:q} 2>&1"


# A few jobs: one by one most of the time would go into loading, and all in one leaves the other core idle at the end.
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
            sources=figure_sources(part),
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
            settings=figures_settings,
            code=figures_code,
            names=" ".join(names),
            results=subpath(input.quality, parent=True),
        shell:
            "python -P -m workflow.steps.figures --settings {params.settings:q} --results {params.results:q}"
            " --out {params.results:q}/figures --figures {params.names} > {log:q} 2>&1"


if STAGED is not None:

    rule stages:
        """Paint one texture of a tuned model again and store what every stage looked like."""
        input:
            manifests=expand("<results>/textures/{method}/shard-0.json", method=STAGED),
            weights=of_job("stages", staged_weights),
            meshes=mesh_files(PLAN.meshes_of(PLAN.shard(0))),
        output:
            stages="<results>/stages/stages.npz",
        log:
            "<logs>/stages.log",
        benchmark:
            "<benchmarks>/stages.tsv"
        threads: 1
        resources:
            gpu=1,
            mem_mb=6000,
            runtime=30,
        params:
            settings=staged_settings,
            code=stages_code,
            results=results_folder,
        shell:
            "python -P -m workflow.steps.stages --texture {params.settings[0]:q} --model {params.settings[1]:q}"
            " --results {params.results:q} --out {output.stages:q} --threads {threads} > {log:q} 2>&1"


rule turntables:
    """A turning picture of every method's textures, as GIF and MP4."""
    input:
        manifests=all_manifests(),
        meshes=mesh_files(PLAN.meshes_of(PLAN.assets)),
    output:
        **turntable_files("mp4"),
        **turntable_reports(),
    log:
        "<logs>/turntables.log",
    benchmark:
        "<benchmarks>/turntables.tsv"
    localrule: True
    threads: 1
    resources:
        mem_mb=3000,
        runtime=20,
    params:
        settings=figures_settings,
        code=turntables_code,
        results=results_folder,
    shell:
        "python -P -m workflow.steps.turntables --settings {params.settings:q} --results {params.results:q}"
        " --out {params.results:q}/turntables > {log:q} 2>&1"


rule figures:
    """Every figure of the run, as PDF and PNG, and the turntables; each file is also a target of its own."""
    input:
        rules.overview.output,
        turntable_files("gif").values(),
        turntable_files("mp4").values(),
        figure_files(FIGURES, "pdf").values(),
        figure_files(FIGURES, "png").values(),
    localrule: True
