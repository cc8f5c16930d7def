rule gallery:
    """Every texture in one offline page: turntables, scores, filters, two linked 3D viewers."""
    input:
        manifests=all_manifests(),
        scores=all_scores(),
        quality="<results>/quality.tsv",
        meshes=mesh_files(PLAN.meshes_of(PLAN.assets)),
    output:
        page=report(
            "<results>/gallery/index.html",
            caption="../report/gallery.rst",
            category="3 Gallery",
            labels={"page": "turntables and 3D"},
        ),
    log:
        "<logs>/gallery.log",
    benchmark:
        "<benchmarks>/gallery.tsv"
    localrule: True
    threads: 1
    resources:
        mem_mb=3000,
        runtime=20,
    params:
        settings=table_settings,
        code=gallery_code,
        results=subpath(input.quality, parent=True),
    shell:
        "python -P -m workflow.steps.gallery --settings {params.settings:q} --results {params.results:q}"
        " --out {output.page:q} > {log:q} 2>&1"
