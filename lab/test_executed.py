#!/usr/bin/env python3
"""Tests of executed.py with a program whose instructions can be counted by hand."""

import os
import subprocess
import sys
import tempfile
import unittest

EXECUTED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "executed.py")
PROGRAM = """
.globl _start
_start:
    mov x1, #{rounds}
1:  subs x1, x1, #1
    b.ne 1b
    mov x0, #0
    mov x8, #93
    svc #0
"""


def executed(log):
    return subprocess.run([sys.executable, EXECUTED], input=log, capture_output=True, text=True)


class Executed(unittest.TestCase):
    def test_a_loop(self):
        for rounds in (1, 1000):
            with tempfile.TemporaryDirectory() as folder:
                source, program, log = (os.path.join(folder, name) for name in ("p.S", "p", "log"))
                with open(source, "w") as file:
                    file.write(PROGRAM.format(rounds=rounds))
                subprocess.run(["aarch64-linux-gnu-gcc", "-nostdlib", "-static", "-o", program, source], check=True)
                subprocess.run(
                    ["qemu-aarch64-static", "-d", "in_asm,exec,nochain", "-D", log, program], check=True
                )
                with open(log) as file:
                    done = executed(file.read())
            self.assertEqual(done.stdout, f"{4 + 2 * rounds}\n", done.stderr)

    def test_what_is_no_such_log_is_refused(self):
        for log in ("", "hello\n", "Trace 0: 0x7f00 [81009331/0000000000001000/00000001/00000200] \n"):
            self.assertNotEqual(executed(log).returncode, 0)


if __name__ == "__main__":
    unittest.main()
