"""The measures: what the library costs beyond Temporal itself; nothing here passes or fails.

One module per figure, named after it, with an async `measure(rounds)` that returns it.
"""
