"""What annotators ask models for."""
