rule finetune:
    """Train one LoRA adapter by the gradient of its reward; a killed run continues from its checkpoint."""
    input:
        meshes=of_job("model", model_meshes),
        weights=model_weights,
    output:
        adapter="<results>/models/{model}/pytorch_lora_weights.safetensors",
        history="<results>/models/{model}/history.jsonl",
        config="<results>/models/{model}/config.json",
    log:
        "<logs>/finetune/{model}.log",
    benchmark:
        "<benchmarks>/finetune/{model}.tsv"
    # Training decides how long the whole run takes: start it first.
    priority: 10
    threads: 1
    resources:
        gpu=1,
        mem_mb=6000,
        runtime=24 * 60,
    params:
        settings=model_settings,
        code=model_code,
        again=model_again,
        results=subpath(output.adapter, ancestor=3),
    # Checkpoints lie outside the declared outputs, which are deleted when a job is killed.
    shell:
        "python -P -m workflow.steps.finetune --settings {params.settings:q}"
        " --meshes {params.results:q}/meshes --work {params.results:q}/training/{wildcards.model}"
        " --out {params.results:q}/models/{wildcards.model} --code {params.code} --threads {threads}"
        " > {log:q} 2>&1"


rule model_card:
    """README.md beside a tuned model: what it is, trained on what, how long, its gains, its terms."""
    input:
        meshes=model_meshes,
        adapter="<results>/models/{model}/pytorch_lora_weights.safetensors",
        history="<results>/models/{model}/history.jsonl",
        config="<results>/models/{model}/config.json",
    output:
        card="<results>/models/{model}/README.md",
    log:
        "<logs>/model_card/{model}.log",
    benchmark:
        "<benchmarks>/model_card/{model}.tsv"
    localrule: True
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        settings=model_settings,
        code=model_card_code,
        results=subpath(output.card, ancestor=3),
    shell:
        "python -m workflow.steps.model_card --settings {params.settings:q}"
        " --folder {params.results:q}/models/{wildcards.model} --meshes {params.results:q}/meshes"
        " --out {output.card:q} > {log:q} 2>&1"
