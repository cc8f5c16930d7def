"""Published weights: what a configuration needs, what is here, what is fetched."""
