"""Part of the reference deployment, not of the wheel: its HTTP service. Copy it."""
