"""Experiments with simulated annotators, whose results are in docs/annotation.md; the server imports none of them."""
