"""A blinded pairwise study: booklets, key, summary."""
