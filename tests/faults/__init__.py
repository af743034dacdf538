"""The fault campaign: real processes that are killed with signal 9 at random moments.

A server on a database file, two workers and a client run a mix of pipelines while any of them is
killed and started again. At the end, what Temporal holds is compared with a ledger that every step
writes, and with the client's journal of what it sent and what it was told: nothing lost, no
finished step again, one decision per requirement.

`make test` runs ten kills and `make test-all` three hundred, with the seed HITL_FAULT_SEED, where
that is set. By hand, into a folder that stays:

    python -m tests.faults --seed 8 --kills 300 [--folder DIR]

A seed fixes who is killed, when, and for how long, what runs there are, and what is decided. It
does not fix what a process is doing when it is killed, so that a failure may need several tries.
"""
