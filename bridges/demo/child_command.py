"""Runs a module as a command that ends, however its parent process does, with it.

``python -m bridges.demo.child_command MODULE FLAGS``, with a pipe for standard input
that the parent holds open: the system closes it when the parent is gone.
"""

import os
import runpy
import sys
import threading


def main() -> None:
    """Runs the module that the command line names, with the flags after it."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _exit_with_parent() -> None:
    # Not sys.stdin, whose lock the interpreter wants when it ends.
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
