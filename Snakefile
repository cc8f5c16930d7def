# The workflow itself is workflow/Snakefile. An include never sets the default target, so a bare
# `snakemake --cores all` needs this first rule.
include: "workflow/Snakefile"


rule default:
    """What a bare `snakemake --cores all` makes: everything the configuration asks for."""
    default_target: True
    input:
        rules.all.input,
    localrule: True
