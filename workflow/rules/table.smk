rule quality:
    """Coverage, seam error and multi-view consistency of every texture, without any model."""
    input:
        manifests=all_manifests(),
        meshes=of_job("quality", evaluation_meshes),
    output:
        quality="<results>/quality.tsv",
        record="<results>/quality.json",
    log:
        "<logs>/quality.log",
    benchmark:
        "<benchmarks>/quality.tsv"
    localrule: True
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=table_settings,
        code=quality_code,
        again=quality_again,
        results=subpath(output.quality, parent=True),
    shell:
        "python -P -m workflow.steps.quality --settings {params.settings:q} --results {params.results:q}"
        " --out {output.quality:q} > {log:q} 2>&1"


rule table:
    """Compare the methods: scores, geometry and texture quality, paired tests, own rewards, cost."""
    input:
        manifests=all_manifests(),
        scores=all_scores(),
        quality="<results>/quality.tsv",
        histories=all_histories(),
        published=unmoved([PLAN.config.published] if PLAN.config.published else []),
        distances=distance_files(),
    output:
        markdown=report(
            "<results>/table.md",
            caption="../report/table.rst",
            category="1 Tables",
            labels={"format": "Markdown", "for": "README files"},
        ),
        text="<results>/table.txt",
        csv=report(
            "<results>/table.csv",
            caption="../report/table.rst",
            category="1 Tables",
            labels={"format": "CSV", "for": "programs, unrounded"},
        ),
        latex=report(
            "<results>/table.tex",
            caption="../report/table.rst",
            category="1 Tables",
            labels={"format": "LaTeX", "for": "papers"},
        ),
        html=report(
            "<results>/table.html",
            caption="../report/table.rst",
            category="1 Tables",
            labels={"format": "HTML", "for": "reading here"},
        ),
    log:
        "<logs>/table.log",
    benchmark:
        "<benchmarks>/table.tsv"
    localrule: True
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        settings=table_settings,
        code=table_code,
        results=subpath(output.markdown, parent=True),
    shell:
        "python -P -m workflow.steps.table --settings {params.settings:q} --results {params.results:q}"
        " --quality {input.quality:q} --markdown {output.markdown:q} --csv {output.csv:q}"
        " --text {output.text:q} --latex {output.latex:q} --html {output.html:q} > {log:q} 2>&1"
