"""A model of what pipelines mean, and random pipelines to compare it with."""
