"""The reference deployment's pipelines, one file per process. Not part of the wheel: copy it."""
