"""Part of the reference deployment, not of the wheel. Copy it."""
