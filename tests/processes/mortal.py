"""A command that does not outlive the process that started it, however that ends.

`python mortal.py LIFELINE COMMAND...` becomes the command. LIFELINE is the
descriptor of a pipe's end to read from, whose other end the process alone has that started this
one. Imports next to nothing: it runs before every server.
"""

import os
import signal
import sys


def watch(lifeline: int, command: int) -> None:
    """Kill our parent, which has become the command, once nobody holds the lifeline any more."""
    os.read(lifeline, 1)
    if os.getppid() == command:
        os.kill(command, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    lifeline, command = int(sys.argv[1]), sys.argv[2:]
    if os.fork() == 0:
        # Whoever waits for the command's output is not to wait for this.
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        os.dup2(1, 2)
        watch(lifeline, os.getppid())
    os.close(lifeline)
    os.execv(command[0], command)
