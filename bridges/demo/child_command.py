"""Runs a module as a command that ends with its parent process, however that ends.

``python -m bridges.demo.child_command MODULE FLAGS``, with a pipe for standard input
that the parent holds open: the operating system closes it when the parent has ended.
The command is then interrupted as by a signal, so that it saves what it has, and prints
nothing, since nobody reads it or the parent has reported already.
"""

import _thread
import os
import runpy
import signal
import sys
import threading
import time

from hyperface_jax import interruptions

# After the end of the parent, which itself has up to five.
SECONDS_TO_SAVE = interruptions.PATIENCE + 0.5


def main() -> None:
    """Runs the module that the command line names, with the flags after it."""
    # From the start, also while it imports.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    # Not sys.stdin, whose lock the interpreter wants when it ends.
    while os.read(0, 4096):
        pass
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    # Not os.kill: where the parent shields its children from signals, none arrives.
    _thread.interrupt_main(signal.SIGTERM)
    time.sleep(SECONDS_TO_SAVE)
    os._exit(1)


if __name__ == "__main__":
    main()
