"""The columns of a score file, shared by the step that writes it and the report that reads it."""

SCORE_COLUMNS = (
    "asset",
    "mesh",
    "prompt_id",
    "prompt",
    "seed",
    "view",
    "azimuth",
    "elevation",
    "background",
    "score",
)
