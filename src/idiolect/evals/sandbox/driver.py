"""Runs inside the sandbox, as `python -I -S driver`: the program from stdin, then the word that proves its end.

The first line of stdin is the word. A program that leaves early (`sys.exit(0)`, `os._exit(0)`) ends with code 0 and
without the word, and has not passed.
"""

import os
import sys

if __name__ == "__main__":
    word = sys.stdin.buffer.readline()
    source = sys.stdin.buffer.read().decode()
    sys.stdin = open(os.devnull)  # noqa: PTH123, SIM115
    exec(compile(source, "program.py", "exec"), {"__name__": "__main__"})
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(1, b"\n" + word)
    os._exit(0)
