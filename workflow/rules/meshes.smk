rule prepare_mesh:
    """Read, clean, normalise and unwrap one mesh, and compute its curvature fields."""
    input:
        source=of_job("mesh", mesh_source),
    output:
        mesh="<results>/meshes/{mesh}/mesh.npz",
        geometry="<results>/meshes/{mesh}/geometry.npz",
        record="<results>/meshes/{mesh}/mesh.json",
        preview=report(
            "<results>/meshes/{mesh}/preview.png",
            caption="../report/mesh.rst",
            category="4 Meshes",
            labels={"mesh": "{mesh}"},
        ),
    log:
        "<logs>/prepare_mesh/{mesh}.log",
    benchmark:
        "<benchmarks>/prepare_mesh/{mesh}.tsv"
    # Downloads fail now and then.
    retries: 1
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=mesh_settings,
        code=mesh_code,
        again=mesh_again,
        folder=subpath(output.mesh, parent=True),
    shell:
        "python -P -m workflow.steps.prepare_mesh --settings {params.settings:q}"
        " --out {params.folder:q} > {log:q} 2>&1"
