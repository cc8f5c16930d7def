rule table:
    """Compare the methods: mean and standard error per metric, cost, paired tests."""
    input:
        settings=table_settings,
        manifests=expand(
            "<results>/textures/{method}/shard-{shard}.json",
            method=PLAN.methods,
            shard=PLAN.shards,
        ),
        scores=expand(
            "<results>/scores/{metric}/{method}.tsv",
            metric=PLAN.metrics,
            method=PLAN.methods,
        ),
        published=PLAN.config.published or [],
    output:
        markdown=report("<results>/table.md", caption="../report/table.rst", category="Table"),
        csv=report("<results>/table.csv", caption="../report/table.rst", category="Table"),
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
        code=table_code,
        results=subpath(output.markdown, parent=True),
    shell:
        "python -m workflow.steps.table --settings {input.settings:q} --results {params.results:q}"
        " --markdown {output.markdown:q} --csv {output.csv:q} > {log:q} 2>&1"


rule overview:
    """One lit view of every texture, a row per asset and a column per method."""
    input:
        settings=table_settings,
        manifests=expand(
            "<results>/textures/{method}/shard-{shard}.json",
            method=PLAN.methods,
            shard=PLAN.shards,
        ),
    output:
        picture=report("<results>/overview.png", caption="../report/overview.rst", category="Textures"),
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
