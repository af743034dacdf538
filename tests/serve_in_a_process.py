"""Serves the database file named first on the command line until standard input ends.

Says on one line of JSON what it serves. With `fork` as the second argument it forks a child first
that outlives it by far.
"""

import json
import os
import sys
import time

from temporal_hitl.local import serve

with serve(sys.argv[1], search_attributes={"HitlStatus": "Keyword"}) as server:
    forked = 0
    if "fork" in sys.argv[2:]:
        forked = os.fork()
        if not forked:
            os.close(sys.stdout.fileno())
            time.sleep(60)
            os._exit(0)
    said = {"target": server.address.target, "owned": server.owned, "pid": server.pid}
    print(json.dumps(said | {"forked": forked}), flush=True)
    sys.stdin.read()
