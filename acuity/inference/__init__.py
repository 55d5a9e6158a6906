"""Running the released models on a study: the stages, one run of them, and what it publishes."""
