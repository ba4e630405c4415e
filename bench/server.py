#!/usr/bin/env python3
"""What this machine does: a server and its log, durable, beside what the disk and the sockets do by themselves.

usage: server.py [--dir DIR] [--rounds N] [--transfers N] [--only REGEX]

Everything is run once a round, in turn, so that what else happens to the machine happens to all of it. Printed are medians of
the rounds and, in brackets, the least and the most. Nothing else should run on the machine. Called by `./dev bench --server`,
which builds and installs what is needed; the programs are those in build/release."""
import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TAEL = f"{ROOT}/build/release/cli/tael"
ECHO = f"{ROOT}/build/release/bench/echo"
LOG_WRITE = f"{ROOT}/build/release/bench/log_write"
START_SECONDS = 300
MIB = 1 << 20

results = {}  # figures of every round, by what was run


def output(command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def note(what, **figures):
    for name, value in figures.items():
        results.setdefault(what, {}).setdefault(name, []).append(value)


def median(what, name):
    return statistics.median(results[what][name])


# --- the machine by itself ---


def sockets(connections):
    text = output([ECHO, str(connections), "3"])
    rate, p50, p99 = map(float, re.search(r": (\d+) requests/s, p50 (\d+) us, p99 (\d+) us", text).groups())
    note(f"sockets alone, {connections} connections", per_s=rate, p50_us=p50, p99_us=p99)


def disk(directory, size_kib, depth):
    """Writes over what is there already, each durable when it ends, as the log does."""
    file = f"{directory}/fio"
    common = ["fio", "--name=disk", f"--filename={file}", "--size=512M", "--rw=write", "--ioengine=io_uring", "--direct=1"]
    if not os.path.exists(file):
        output([*common, "--bs=1M"])
    text = output([*common, f"--bs={size_kib}k", f"--iodepth={depth}", "--sync=dsync", "--overwrite=1", "--time_based",
                   "--runtime=3", "--output-format=json"])
    write = json.loads(text)["jobs"][0]["write"]
    at = write["clat_ns"]["percentile"]
    note(f"fio, {size_kib} KiB, {depth} in flight", per_s=write["iops"], mb_per_s=write["bw_bytes"] / 1e6,
         p50_us=at["50.000000"] / 1e3, p99_us=at["99.000000"] / 1e3)


def log_alone(directory, size_kib):
    """Eight times what is prepared when it begins: almost all is written to segments that are prepared meanwhile."""
    text = output([LOG_WRITE, f"{directory}/log", str(size_kib), "8", "2048"])
    shutil.rmtree(f"{directory}/log")
    rate, mb, p50, p99, waited = map(float, re.search(
        r"(\d+) blocks/s, (\d+) MB/s durable, p50 (\d+) us, p99 (\d+) us; waited (\d+) ms", text).groups())
    note(f"log alone, {size_kib} KiB, 8 in flight", per_s=rate, mb_per_s=mb, p50_us=p50, p99_us=p99, waited_ms=waited)


# --- a server under load ---


def load(what, *options):
    """One run of `tael bench` on a ledger of its own."""
    run = subprocess.run([TAEL, "bench", "--json", *map(str, options)], stdout=subprocess.PIPE, text=True)
    if run.returncode != 0:
        sys.exit(f"tael bench {' '.join(map(str, options))}: {run.stdout}")
    answer = json.loads(run.stdout)
    latency = answer["latency_us"]
    note(what, per_s=answer["transfers_per_s"], p50_us=latency["p50"], p99_us=latency["p99"], p999_us=latency["p999"],
         generator_cpu=answer["generator_cpu"], generator_busy=answer["generator_busy"], server_cpu=answer["server_cpu"])


def loads(transfers):
    for accounts in 10000, 1000000:
        for sessions in 1, 4:
            load(f"{sessions} x 8189, {accounts} accounts", "--sessions", sessions, "--accounts", accounts,
                 "--transfers", transfers)
    for sessions, batch, clients in (1, 1, 1), (64, 1, 1), (1024, 1, 2), (16, 100, 1):
        load(f"{sessions} x {batch}", "--sessions", sessions, "--batch", batch, "--clients", clients, "--seconds", 4,
             "--warm-up", 1, "--transfers-max", 16000000)


def loads_at_half():
    """Latency from when a batch was meant to be sent, at half of what the closed loops reach."""
    for sessions, batch, of in ((4, 8189, "4 x 8189, 10000 accounts"), (64, 1, "64 x 1"), (1024, 1, "1024 x 1"),
                                (16, 100, "16 x 100")):
        rate = int(median(of, "per_s") / 2)
        load(f"{sessions} x {batch} at half of that", "--sessions", sessions, "--batch", batch, "--rate", rate, "--seconds",
             4, "--warm-up", 1, "--transfers-max", 32000000)


# --- servers that are started here ---


def port_free():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    running = []  # a run that fails leaves none behind

    def __init__(self, directory, *options):
        self.address = f"127.0.0.1:{port_free()}"
        self.process = subprocess.Popen([TAEL, "start", *options, "--listen", self.address, directory],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        Server.running.append(self)

    def await_listening(self):
        host, port = self.address.split(":")
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            try:
                socket.create_connection((host, int(port))).close()
                return
            except OSError:
                time.sleep(0.01)
        sys.exit("the server does not start")

    def memory_mib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) / 1024

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait()
        Server.running.remove(self)


def idle(directory):
    for what, options in ("idle, default", []), ("idle, --lazy-memory", ["--lazy-memory"]):
        ledger = f"{directory}/idle"
        output([TAEL, "format", ledger])
        server = Server(ledger, *options)
        server.await_listening()
        time.sleep(4)
        before = server.cpu_seconds()
        time.sleep(2)
        note(what, memory_mib=server.memory_mib(), cpu_seconds_in_2_s=server.cpu_seconds() - before)
        server.end()
        shutil.rmtree(ledger)


def node(directory):
    ledger = f"{directory}/node"
    output([TAEL, "format", ledger])
    server = Server(ledger)
    server.await_listening()
    time.sleep(4)
    environment = dict(os.environ, NODE_PATH=f"{ROOT}/build/client/node_modules")
    text = output(["node", f"{ROOT}/bench/node_client.js", server.address, "100", "5000"], env=environment)
    for what, rate, p50, p99 in re.findall(r"(.*): ([\d,]+) transfers a second, p50 ([\d.]+) ms, p99 ([\d.]+) ms", text):
        note(f"Node client, {what}", per_s=int(rate.replace(",", "")), p50_us=float(p50) * 1e3, p99_us=float(p99) * 1e3)
    server.end()
    shutil.rmtree(ledger)


def repl(server, statements):
    """Waits for the server if need be."""
    return output([TAEL, "repl", "--json", "--to", server.address, "--command", statements], stderr=subprocess.DEVNULL)


def size_of(directory):
    return sum(os.path.getsize(f"{at}/{name}") for at, _, names in os.walk(directory) for name in names)


def again(directory, transfers):
    """A ledger that was killed with all these transfers in its log: how long until it acknowledges the next, and its replay."""
    ledger = f"{directory}/again"
    output([TAEL, "bench", "--start", ledger, "--transfers", str(transfers), "--warm-up", "0", "--accounts", "1000000"])
    log_bytes = size_of(f"{ledger}/log")
    server = Server(ledger)
    server.await_listening()
    debit, credit = (account["id"] for account in json.loads(repl(server, "query_accounts limit=2;"))["results"])
    server.end(signal.SIGKILL)
    begun = time.monotonic()
    server = Server(ledger)
    transfer = (f"create_transfers id={10**30} debit_account_id={debit} credit_account_id={credit} amount=1 ledger=1 "
                "code=1;")
    answer = repl(server, transfer)
    seconds = time.monotonic() - begun
    memory = server.memory_mib()
    server.end()
    begun = time.monotonic()
    verified = json.loads(output([TAEL, "verify", "--json", ledger]))
    verify_seconds = time.monotonic() - begun
    if '"status": "created"' not in answer:
        sys.exit(f"the transfer after the restart was not created: {answer}")
    note("killed and started again", transfers=verified["transfers"], seconds_to_answer=seconds, memory_mib=memory,
         log_mib=log_bytes / MIB)
    note("verify, digest and all", per_s=verified["transfers"] / verify_seconds)
    shutil.rmtree(ledger)


# --- all of it ---


def show():
    for what, figures in results.items():
        parts = []
        for name, values in figures.items():
            middle, least, most = statistics.median(values), min(values), max(values)
            parts.append(f"{name} {middle:,.4g} [{least:,.4g}..{most:,.4g}]" if least != most else f"{name} {middle:,.4g}")
        print(f"{what}\n    " + "  ".join(parts))
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", default=f"{ROOT}/build", help="where ledgers are made, on the disk to be measured")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--transfers", type=int, default=10_000_000, help="of a run with full batches")
    parser.add_argument("--only", default=".", help="steps whose name matches")
    parser.add_argument("--json", help="all figures of all rounds, to this file")
    options = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="bench-", dir=options.dir)
    os.environ["TMPDIR"] = directory  # for the ledgers that `tael bench` makes
    steps = [("sockets", lambda: [sockets(count) for count in (1, 64, 1024)]),
             ("disk", lambda: [disk(directory, *what) for what in ((4, 1), (4, 2), (256, 8), (1024, 8))]),
             ("log", lambda: [log_alone(directory, size) for size in (256, 1024)]),
             ("loads", lambda: loads(options.transfers)),
             ("loads", loads_at_half),
             ("node", lambda: node(directory)),
             ("again", lambda: again(directory, options.transfers)),
             ("idle", lambda: idle(directory))]
    try:
        for round_number in range(options.rounds):
            for name, step in steps:
                if not re.search(options.only, name):
                    continue
                if sys.stderr.isatty():
                    print(f"round {round_number + 1} of {options.rounds}: {name}", file=sys.stderr)
                step()
    finally:
        for server in list(Server.running):
            server.end(signal.SIGKILL)
        shutil.rmtree(directory, ignore_errors=True)
        show()
        if options.json:
            with open(options.json, "w", encoding="utf-8") as stream:
                json.dump(results, stream, indent=1)


if __name__ == "__main__":
    main()
