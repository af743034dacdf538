"""`python -m temporal_hitl.cli` is `temporal-hitl`."""

from temporal_hitl.cli import main

if __name__ == "__main__":
    main()
