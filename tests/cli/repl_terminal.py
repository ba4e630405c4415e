#!/usr/bin/env python3
"""`tael repl` on a terminal of its own: editing, statements over lines, Ctrl-C, Ctrl-D, and a history that outlives the session.

usage: repl_terminal.py PATH-OF-TAEL
"""
import os
import pty
import select
import signal
import stat
import subprocess
import sys
import tempfile
import termios
import time

TAEL = os.path.abspath(sys.argv[1])
PATIENCE_S = 20
UP, LEFT, BACKSPACE, CTRL_C, CTRL_D = "\x1b[A", "\x1b[D", "\x7f", "\x03", "\x04"


class Session:
    """A running `tael repl`; `said` is what it printed since the last look."""

    def __init__(self, address, environment):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execve(TAEL, ["tael", "repl", "--to", address], {"TERM": "xterm", **environment})
        self.said = ""
        self.await_prompt("tael> ")

    def look(self, wanted):
        """Waits until `wanted` was said."""
        end = time.monotonic() + PATIENCE_S
        while wanted not in self.said:
            ready, _, _ = select.select([self.terminal], [], [], end - time.monotonic())
            if not ready:
                sys.exit(f"no {wanted!r} in {self.said!r}")
            try:
                self.said += os.read(self.terminal, 65536).decode()
            except OSError:  # the other side has gone
                sys.exit(f"it ended without {wanted!r} after {self.said!r}")
        _, _, self.said = self.said.partition(wanted)

    def await_prompt(self, prompt):
        """Keys that come before the line editor has the terminal would mean something else."""
        self.look(prompt)
        end = time.monotonic() + PATIENCE_S
        while termios.tcgetattr(self.terminal)[3] & termios.ICANON:
            assert time.monotonic() < end, "no line editor"
            time.sleep(0.001)

    def type(self, keys, wanted, prompt="tael> "):
        """Types, and waits for what must be said, then for the prompt."""
        os.write(self.terminal, keys.encode())
        self.look(wanted)
        self.await_prompt(prompt)

    def end(self, keys):
        """Types what ends it, and wants exit status 0."""
        os.write(self.terminal, keys.encode())
        try:
            while os.read(self.terminal, 65536):
                pass
        except OSError:
            pass
        _, status = os.waitpid(self.pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0, f"exit status {status}"
        os.close(self.terminal)


def statements_are_typed_and_remembered(address, home):
    session = Session(address, {"HOME": home})
    session.type("help\r", "trial_balance")
    session.type("create_accounts id=1 ledger=700\r", "\n", "-> ")
    session.type("  code=10, id=2 ledger=700 code=10;\r", "2 created, 0 not")
    session.type("lookup_accounts id=15" + LEFT + BACKSPACE + "\r", "\n", "-> ")
    session.type(";\r", "not found: 5")
    session.type("nonsense of some kind" + CTRL_C, "\n")
    session.type("lookup_accounts\r", "\n", "-> ")
    session.type("id=" + CTRL_C, "\n")
    session.type("pay me; quit;\r", "expected one of")
    session.type("lookup_accounts id=2;\r", "1 account (")
    session.end("exit\r")

    path = os.path.join(home, ".tael_history")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    session = Session(address, {"HOME": home})
    session.type(UP + UP + "\r", "id:              2")
    session.type("help lookup_accounts;\r", "for instance")
    session.end(CTRL_D)
    with open(path, encoding="utf-8") as file:
        history = file.read().replace("\\040", " ")
    assert "create_accounts id=1 ledger=700   code=10, id=2 ledger=700 code=10;\n" in history, history
    assert "nonsense" not in history, history


def the_history_has_its_place(address, home):
    state = os.path.join(home, "state")
    os.mkdir(state)
    os.remove(os.path.join(home, ".tael_history"))
    session = Session(address, {"HOME": home, "XDG_STATE_HOME": state})
    session.type("help query_accounts;\r", "for instance")
    session.end(CTRL_D)
    assert os.path.exists(os.path.join(state, "tael_history"))
    session = Session(address, {})  # no HOME: the history lasts as long as the session
    session.type("help query_accounts;\r", "for instance")
    session.type(UP + "\r", "for instance")
    session.end(CTRL_D)
    session = Session(address, {"HOME": "/nonexistent"})
    session.type("help query_accounts;\r", "for instance")
    session.end(CTRL_D)
    assert not os.path.exists(os.path.join(home, ".tael_history"))


def server_start(directory):
    subprocess.run([TAEL, "format", "--accounts-max", "1000", "--transfers-max", "1000", "--segment-size", "4M", directory],
                   check=True, stdout=subprocess.DEVNULL)
    server = subprocess.Popen([TAEL, "start", "--listen", "127.0.0.1:0", directory], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
    for line in server.stdout:
        if line.startswith("listening on "):
            return server, line.split()[-1]
    sys.exit("the server does not listen")


def main():
    signal.alarm(100)
    with tempfile.TemporaryDirectory() as work:
        server, address = server_start(os.path.join(work, "ledger"))
        try:
            statements_are_typed_and_remembered(address, work)
            the_history_has_its_place(address, work)
        finally:
            server.kill()
            server.wait()


main()
