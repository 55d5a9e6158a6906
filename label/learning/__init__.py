"""How models learn from corrections."""
