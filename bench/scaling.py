#!/usr/bin/env python3
"""The table of docs/scaling.md: transfers a second by workers, from what the harness measured. The figures below are those of the
document; `./dev bench --filter 'step/|handover/'` measures them anew (medians of 5, two cores, a virtual machine)."""

WORKERS = (2, 4, 8, 16, 32, 64)
# ns an event: the slowest worker's share of each pass, all workers taking turns on one processor: no line goes between processors.
TURNS = {
    "10k": {2: 43.0, 4: 22.4, 8: 12.0, 16: 8.0, 32: 4.9, 64: 3.9},
    "1M": {2: 58.1, 4: 31.0, 8: 17.3, 16: 10.7, 32: 6.9, 64: 5.2},
    "10M": {2: 74.7, 4: 33.4, 8: 19.5, 16: 12.2, 32: 8.0, 64: 5.6},
}
STEP_EVENTS = 2048
BARRIERS = 3  # intern, apply, write with the next step's routing
BARRIER_NS = {28: 153, 138: 600}  # of two workers; far: assumed, in proportion to the line
LINES_EXPOSED = 0.58  # of a line's way an event with two workers: 59.4 ns with threads, 43.0 by turns, the barriers 0.2, near
RESIDUE_NS = 70  # a listed event, by the leader alone


def event_ns(accounts, workers, line_ns, listed):
    """What an event takes all workers together: passes, lines from other processors, barriers, residue."""
    # With w workers each has 1/w of the events, and (w - 1)/w of their lines are another's; half of a half with two.
    lines = 4 * LINES_EXPOSED * line_ns * (1 - 1 / workers) / workers
    barrier = BARRIERS * (BARRIER_NS[line_ns] + line_ns * (workers - 2)) / STEP_EVENTS
    return TURNS[accounts][workers] + lines + barrier + listed * RESIDUE_NS


def main():
    for line_ns in (28, 138):
        for listed in (0, 0.1):
            print(f"a line {line_ns} ns, {listed:.0%} listed: workers", *WORKERS)
            for accounts in TURNS:
                print("|", accounts, "|", " | ".join(f"{1e3 / event_ns(accounts, w, line_ns, listed):.0f}" for w in WORKERS), "|")


if __name__ == "__main__":
    main()
