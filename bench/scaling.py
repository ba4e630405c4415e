#!/usr/bin/env python3
"""The model of docs/scaling.md: transfers a second by workers and by cores, from what the harness measured on two.

  scaling.py                 prints the tables
  scaling.py --check FILE    fails where one of their rows does not stand in FILE

The figures are medians of `./dev bench --filter 'step/|relay/|handover/'` and of a server's counters; the document says of how many."""
import sys
from math import ceil

EVENTS = 2048  # of a step
STEPS_PER_BATCH = 4  # of 8189 transfers
PASSES = ("route", "intern", "apply", "write")
WORKERS = (1, 2, 4, 8, 16, 32, 64)
CORES = (1, 2, 4, 8, 16, 32, 64)
NEAR, BARE, FAR = 28, 60, 135  # ns a cache line takes from core to core: measured, assumed, measured

# step/W/turns/plain: ns an event, the longest share of each pass, one thread making all shares.
TURNS = {
    "10k": {1: (23.7, 30.5, 10.9, 9.1), 2: (12.0, 15.2, 7.8, 5.4), 4: (6.1, 8.0, 4.4, 2.9), 8: (3.2, 5.1, 2.6, 1.6),
            16: (1.67, 2.89, 1.52, 1.01), 32: (0.95, 2.02, 1.03, 0.73), 64: (0.91, 1.35, 0.72, 0.59)},
    "1M": {1: (35.1, 51.6, 13.6, 9.5), 2: (18.0, 27.2, 8.8, 5.5), 4: (9.5, 14.6, 4.8, 3.0), 8: (5.1, 8.2, 2.8, 1.7),
           16: (2.78, 4.96, 1.86, 1.06), 32: (1.54, 3.03, 1.28, 0.85), 64: (1.48, 1.97, 0.88, 0.62)},
    "10M": {1: (41.9, 61.7, 18.7, 9.5), 2: (21.2, 29.8, 9.7, 5.6), 4: (11.2, 15.9, 6.8, 3.1), 8: (5.9, 9.1, 3.4, 1.7),
            16: (3.25, 5.43, 2.09, 1.13), 32: (1.84, 3.34, 1.43, 0.85), 64: (1.91, 2.19, 1.02, 0.67)},
}
# step/2/threads/plain: the same by two workers on two processors, barriers included.
THREADS = {
    NEAR: {"10k": (16.0, 16.2, 9.1, 7.6), "1M": (21.7, 29.1, 8.8, 7.9), "10M": (24.2, 28.6, 8.9, 7.8)},
    FAR: {"10k": (38.3, 28.2, 23.8, 7.9), "1M": (42.9, 38.6, 27.1, 8.3), "10M": (55.3, 47.5, 21.6, 8.3)},
}
SEQUENTIAL = {"10k": 68, "1M": 93, "10M": 119}  # one worker: parallel/2, one_ns; rules/plain
RELAY = {"10k": (42, 65), "1M": (55, 73), "10M": (79, None)}  # two workers, near and far: parallel/2
RELAY_SIDES = {  # claim and apply where the worker ahead finds all accounts, then where it finds none
    "10k": (37.4, 36.7, 25.3, 46.3), "1M": (58.5, 46.1, 28.1, 62.4), "10M": (58.9, 57.6, 29.5, 85.4)}
RELAY_FAR = 1.33  # of near, where far was not measured
HOT = {NEAR: 90, FAR: 173}  # step/2/threads/hot/1M: a tenth is listed
LEG = 256
LEADER = 0.15
BARRIER = {NEAR: 142, FAR: 656}  # handover/barrier/spinning
WORD = {NEAR: 6.9, FAR: 32}  # handover/words: (63 - 1) / 62
RESIDUE = {NEAR: 128, FAR: 227}  # a listed event of step/2/threads/hot
IRREGULAR = (11.4, 2.6)  # what other passes take more where some failed: by a worker's share, and for each worker
STREAM_NS = 2.3  # handover/memory/stream: a line past the caches, by one core or by two that share a way to memory
STREAMED = 2 + 1 + 12 / 64  # lines: body, history, trace
CORES_A_WAY = 8  # that share one: a cluster of cores with a level-3 cache of its own

NET_NS, LOG_NS = 24.5, 16.7  # a transfer, the kernel's part included: a server's counters, batches of 8189
LOG_BYTES = 128.2


def between(figures, line):
    """A figure that was measured near and far, for lines in between."""
    share = (line - NEAR) / (FAR - NEAR)
    return figures[NEAR] + (figures[FAR] - figures[NEAR]) * share


def touched(entries, density):
    """Lines of an array with so many entries a line that a worker touches whose events are scattered with this density."""
    return EVENTS / entries * (1 - (1 - density) ** entries)


def lines(workers):
    """By pass: the lines that a worker reads of others, or takes back to write, in a step."""
    one, others = 1 / workers, 1 - 1 / workers
    either = 1 - others * others  # events one of whose accounts is the worker's
    ids = 3 * EVENTS / 64 + touched(8, one)  # owners of ids and accounts, all of them; hashes of its own ids
    accounts = 2 * touched(16, one) + touched(8, either) + touched(16, either) + touched(64, either)
    events = EVENTS * either
    return {
        # Events as they came: two lines. Arrays that others have read are written again: 40 bytes an event.
        "route": EVENTS * one * 2 * (1 if workers > 1 else 0) + EVENTS * one * 40 / 64 * (1 if workers > 1 else 0),
        "intern": (ids + accounts + events) * others,
        # Amounts; balances for others, 32 bytes a half, go to lines that those have read.
        "apply": touched(8, either) * others + EVENTS * one * others / 2,
        # Those balances; where each box begins and ends, and its first line in part.
        "write": EVENTS * one * others / 2 + 3 * (workers - 1),
    }


def streamed(workers):
    """The write pass where the way to memory limits it: ns an event."""
    return STREAMED * STREAM_NS / ceil(workers / CORES_A_WAY)


def line_costs():
    """By pass, near and far: ns that a line costs, most of its way being hidden. From two workers, 10k and 1M accounts."""
    costs = {}
    for number, name in enumerate(PASSES):
        costs[name] = {}
        for line in (NEAR, FAR):
            more = [THREADS[line][a][number] - TURNS[a][2][number] - BARRIER[line] / EVENTS for a in ("10k", "1M")]
            if name == "write" and line == NEAR:
                more = [THREADS[line][a][number] - streamed(2) - BARRIER[line] / EVENTS for a in ("10k", "1M")]
            costs[name][line] = max(0, sum(more) / len(more) * EVENTS / lines(2)[name])
    return costs


def parts(accounts, workers, line, listed=0.0, ways=None):
    """What an event of a step takes, by what takes it: ns."""
    costs, counts = line_costs(), lines(workers)
    own = dict(zip(PASSES, TURNS[accounts][workers]))
    limit = streamed(workers) if ways is None else STREAMED * STREAM_NS / ways
    barriers = 3 + 1 / STEPS_PER_BATCH
    barrier = between(BARRIER, line) + 2 * between(WORD, line) * (workers - 2)
    return {
        "work": sum(own.values()),
        "stream": max(0, limit - own["write"]),
        "lines": sum(between(costs[name], line) * counts[name] for name in PASSES) / EVENTS,
        "barriers": barriers * barrier / EVENTS,
        "leader": LEADER,
        "residue": listed * between(RESIDUE, line) + (IRREGULAR[0] / workers + IRREGULAR[1] if listed > 0 else 0),
    }


def event_ns(accounts, workers, line, listed=0.0):
    if workers == 1:
        return SEQUENTIAL[accounts]
    if workers == 2:
        near, far = RELAY[accounts]
        return between({NEAR: near, FAR: far or near * RELAY_FAR}, line)
    return sum(parts(accounts, workers, line, listed).values())


def row(*cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def rate(ns):
    return f"{1e3 / ns:.0f}"


def engine_rows():
    for line in (NEAR, BARE, FAR):
        for accounts in TURNS:
            for listed in (0, 0.1):
                cells = [rate(event_ns(accounts, w, line, listed)) if line != NEAR or w <= CORES_A_WAY else "–" for w in WORKERS]
                yield row(line, accounts, f"{listed:.0%}", *cells)


def part_rows():
    for workers in (4, 8, 16, 32, 64):
        found = parts("1M", workers, BARE, 0.1)
        yield row(workers, *(f"{found[name]:.1f}" for name in ("work", "stream", "lines", "barriers", "leader", "residue")))


def line_rows():
    costs = line_costs()
    for name in PASSES:
        yield row(name, *(f"{lines(w)[name] * w / EVENTS:.1f}" for w in (2, 4, 8, 16, 32, 64)),
                  *(f"{costs[name][line]:.1f}" for line in (NEAR, FAR)))


def workers_of(cores):
    """As cli/core_map.h has it, but for its bound of 12."""
    return 1 if cores <= 2 else cores - 1 if cores == 3 else cores - 2


def server_ns(accounts, cores):
    """By role: what a transfer takes."""
    if cores == 1:
        return {"all": SEQUENTIAL[accounts] + NET_NS + LOG_NS}
    engine = event_ns_any(accounts, workers_of(cores))
    if cores == 2:
        return {"net, log": NET_NS + LOG_NS, "workers": engine}
    return {"net": NET_NS, "log": LOG_NS, "workers": engine}


def event_ns_any(accounts, workers):
    """For numbers of workers that were not measured: along 1 / workers between their neighbours."""
    if workers in WORKERS:
        return event_ns(accounts, workers, BARE)
    low = max(w for w in WORKERS if w < workers)
    high = min(w for w in WORKERS if w > workers)
    share = (1 / low - 1 / workers) / (1 / low - 1 / high)
    return event_ns(accounts, low, BARE) + (event_ns(accounts, high, BARE) - event_ns(accounts, low, BARE)) * share


def server_rows():
    for cores in CORES:
        cells = []
        for accounts in TURNS:
            roles = server_ns(accounts, cores)
            slowest = max(roles, key=roles.get)
            cells.append(f"{rate(roles[slowest])} ({slowest})")
        yield row(cores, workers_of(cores), *cells)


def check_rows():
    """The model against what two workers measured: steps with 10 million accounts, which it does not know, and the relay."""
    for line, name in ((NEAR, "near"), (FAR, "far")):
        for accounts in TURNS:
            ways = 1 if line == NEAR else 2
            found = parts(accounts, 2, line, ways=ways)
            measured = sum(THREADS[line][accounts]) + LEADER
            yield row("steps", accounts, name, f"{found['work']:.0f}", f"{sum(found.values()):.0f}", f"{measured:.0f}")
        found = parts("1M", 2, line, 0.1, ways)
        yield row("steps, 10 % listed", "1M", name, f"{found['work']:.0f}", f"{sum(found.values()):.0f}", HOT[line])
    for accounts in TURNS:
        claim_all, apply_all, claim_none, apply_none = RELAY_SIDES[accounts]
        # The worker ahead finds such a share of the accounts that both end at the same time.
        share = (apply_none - claim_none) / (claim_all - claim_none + apply_none - apply_all)
        alone = claim_none + share * (claim_all - claim_none)
        for line, name in ((NEAR, "near"), (FAR, "far")):
            measured = RELAY[accounts][0 if line == NEAR else 1]
            yield row("relay", accounts, name, f"{alone:.0f}", f"{alone + BARRIER[line] / LEG:.0f}", measured or "–")


TABLES = {
    "lines an event, by workers; ns a line, near and far": line_rows,
    "ns an event by what takes it, 1M accounts, a line 60 ns, 10 % listed, by workers": part_rows,
    "M transfers/s of the engine: line, accounts, listed, by workers": engine_rows,
    "M transfers/s of a server by cores, workers": server_rows,
    "the model against two workers: work alone, model, measured": check_rows,
}


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--check":
        with open(sys.argv[2], encoding="utf-8") as stream:
            text = stream.read().splitlines()
        missing = [line for rows in TABLES.values() for line in rows() if line not in text]
        for line in missing:
            print(f"{sys.argv[2]} lacks: {line}")
        sys.exit(1 if missing else 0)
    if len(sys.argv) != 1:
        sys.exit(__doc__)
    for title, rows in TABLES.items():
        print(f"\n{title}\n")
        for line in rows():
            print(line)


if __name__ == "__main__":
    main()
