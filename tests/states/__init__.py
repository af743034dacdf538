"""Conversations as runs have stored them, which later versions must go on from for ever.

`made` holds the agents that had them, `record` made the files (`python -m tests.states.record`, by
hand), `tests/test_agent_state.py` goes on from each.
"""
