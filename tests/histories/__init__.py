"""Histories of real runs, replayed for ever: a change that breaks one breaks runs that wait now.

`pipelines` holds the definitions that made them, `record` made them (`python -m
tests.histories.record`, by hand), `tests/test_histories.py` replays them.
"""
