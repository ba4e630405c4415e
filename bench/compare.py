#!/usr/bin/env python3
"""Compares two sets of benchmark runs (Google Benchmark's JSON): compare.py A.json[,A2.json...] B.json[,B2.json...]

A line a benchmark: the median of A and of B with their spread, and B / A: below 1, B is faster. Figures are ns for one item where
a benchmark counts items, otherwise for one turn. Ratios mean something only where A and B ran by turns on the same machine."""
import json
import statistics
import sys


def label(name):
    return "/".join(part for part in name.split("/") if part != "manual_time" and not part.startswith("iterations:"))


def read(files):
    """For each benchmark its ns, and its share of the machine's limit where it has one, one of each a repetition."""
    runs = {}
    for file in files.split(","):
        with open(file, encoding="utf-8") as stream:
            for row in json.load(stream)["benchmarks"]:
                if row["run_type"] != "iteration" or row.get("error_occurred"):
                    continue
                ns = 1e9 / row["items_per_second"] if "items_per_second" in row else row["real_time"]
                times, shares = runs.setdefault(label(row["name"]), ([], []))
                times.append(ns)
                if "share" in row:
                    shares.append(row["share"])
    return runs


def show(times):
    median = statistics.median(times)
    spread = (max(times) - min(times)) / 2 / median * 100
    return f"{median:12.1f} ±{spread:3.0f}%"


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    before, after = read(sys.argv[1]), read(sys.argv[2])
    print(f"{'ns, median':32}{'A':>12}      {'B':>13}       B / A   share A, B")
    for name in [name for name in before if name in after]:
        (a, a_shares), (b, b_shares) = before[name], after[name]
        ratio = statistics.median(b) / statistics.median(a)
        shares = f"{statistics.median(a_shares):.2f} {statistics.median(b_shares):.2f}" if a_shares and b_shares else ""
        print(f"{name:32}{show(a)}{show(b)}{ratio:11.3f}   {shares}")
    for name in sorted(before.keys() ^ after.keys()):
        print(f"{name}: only in {'A' if name in before else 'B'}")


main()
