/* How the loops of cli/loop.c wake each other. Net, the log and the worker hand work round as cli/server.c joins them, each on a loop of
 * its own, or two of them on one:
 *
 *   net ── requests ──► log ── blocks ──► worker
 *       ◄── replies ───     ◄─ applied ──            applied is a watermark, the others are rings
 *
 * Requests come from outside, when they like. When net has had all replies (with NO_REPLIES, when it has had all requests) it says
 * that it is closed. When the log knows that, and all is applied, it sets `ended`, and all loops end. With FAILS the log may fail at any
 * turn; then the end of its loop has the others end. (`asked`, which has them print, is a word like `ended`.)
 *
 * What is checked: nobody waits for ever (that is an invalid end state; the second after which a loop looks by itself is left
 * out). Before it comes to that: no loop waits, with no bell that it will hear, while there is something for it and whoever
 * handed that over has ended its role's turn. All replies arrive, unless the log fails.
 *
 * Memory is what C promises, not what x86 does. A look at a word may miss what was written to it, however long ago, unless an exchange of
 * `asleep` has brought it along:
 *   S1, S2, S3  exchanges of one loop's `asleep` come one after the other, and each (acquire and release) has all that was before
 *               those before it. A plain store in between has nothing of that.
 * A bell brings nothing along here, and a ring's entry nothing but itself: they do, but nothing depends on it.
 *
 * A bell is an eventfd: a counter, of which nothing matters but that it is not 0 from a write until a read. A loop with an io_uring has a
 * read of its bell under way, which completes when the loop asks for it, or later; it is then made anew. A loop without one polls, and
 * then reads. A wait may end early besides, since something else completes or is due. */

/* Which loop polls a role. */
#if defined(WORKER_APART)
#define LOOPS 2
#define LOG 0
#define NET 0
#define WORKER 1
#elif defined(LOG_APART)
#define LOOPS 2
#define LOG 0
#define NET 1
#define WORKER 1
#else
#define LOOPS 3
#define LOG 0
#define NET 1
#define WORKER 2
#endif
#define HAS_RING(loop) (loop == NET || loop == LOG)

#ifndef REQUESTS_MAX
#define REQUESTS_MAX 2
#endif
#ifdef NO_REPLIES
#define HAS_ALL (outside == 0)
#else
#define HAS_ALL (taken[REPLIES] == REQUESTS_MAX)
#endif

/* Words, each with one writer and one reader. `ended` is one word, but what a loop knows of it is its own. */
#define REQUESTS 0
#define REPLIES 1
#define BLOCKS 2
#define APPLIED 3
#define CLOSED 4
#define ENDED 5
#define WORDS (ENDED + LOOPS)
#define WRITER(word) (word == REQUESTS || word == CLOSED -> NET : (word == APPLIED -> WORKER : LOG))
#define READER(word) (word >= ENDED -> word - ENDED : (word == REPLIES -> NET : (word == BLOCKS -> WORKER : LOG)))

byte written[WORDS]; /* how many entries, how far, or whether */
byte carried[WORDS]; /* how much of that the reader's next exchange of its `asleep` brings along */
byte seen[WORDS]; /* how much of it the reader can't miss any more */
byte taken[WORDS]; /* how much of it the reader has acted on */
bool told[WORDS]; /* as an edge's; tails wrap around, here at 2 */
#define TAIL(word) (written[word] % 2)

bool asleep[LOOPS];
byte outside = REQUESTS_MAX; /* requests that net has yet to see */

/* The kernel. */
bool bell[LOOPS]; /* is not 0 */
bool listens[LOOPS]; /* a read of it is under way */

/* What goes on, for the assertions. */
bool waits[LOOPS];
byte ringing[LOOPS]; /* so many took its `asleep` down and have yet to ring */
bool telling[LOOPS]; /* it has handed something over in this role's turn, and may have yet to tell */

hidden byte i, next;

#define IS_HEARD(loop) (bell[loop] && (!HAS_RING(loop) || listens[loop]))
#define IS_LOST(word) \
    (waits[READER(word)] && !IS_HEARD(READER(word)) && ringing[READER(word)] == 0 && taken[word] < written[word] && \
     !telling[WRITER(word)])

inline assert_none_lost() {
    for (i : 0 .. WORDS - 1) {
        assert(!IS_LOST(i))
    }
    i = 0
}

/* What is rare, but must happen. */
#define LAST_LOOK_FINDS 1
#define LAST_LOOK_ENDS 2
#define IN_VAIN 3 /* a ring: the worker is awake and has found it already */
#define ANOTHER_RINGS 4
#define RINGS_ITSELF 5
#define BELL_LEFT 6 /* from before, to one that is about to sleep */
#define MISSED 7 /* what was written, until the exchange before the last look */
#ifndef NEVER_EVENT
#define NEVER_EVENT 0
#endif
#define HAPPENS(event, condition) assert(NEVER_EVENT != event || !(condition))

/* --- asleep --- */

/* All that exchanges before this one had. */
inline acquire(me) {
    for (i : 0 .. WORDS - 1) {
        if
        :: READER(i) == me ->
            if
            :: carried[i] > seen[i] -> HAPPENS(MISSED, i == BLOCKS); seen[i] = carried[i]
            :: else
            fi;
            carried[i] = 0 /* this is as good as what it had */
        :: else
        fi
    }
    i = 0
}

/* All that `me` has written for `to`, for exchanges after this one. */
inline release(me, to) {
    for (i : 0 .. WORDS - 1) {
        if
        :: WRITER(i) == me && READER(i) == to && written[i] > seen[i] -> carried[i] = written[i]
        :: else
        fi
    }
    i = 0
}

/* Exchanges after a plain store have nothing of what those before it had. */
inline forget(me) {
    for (i : 0 .. WORDS - 1) {
        if
        :: READER(i) == me -> carried[i] = 0
        :: else
        fi
    }
    i = 0
}

inline raise(me) {
    HAPPENS(BELL_LEFT, bell[me]);
    asleep[me] = true; /* S1 */
#ifdef FAULT_S1_STORED
    forget(me)
#else
    acquire(me)
#endif
}

inline take_down(me) {
    asleep[me] = false; /* S3 */
#ifdef FAULT_S3_STORED
    forget(me)
#else
    acquire(me)
#endif
}

/* S2, where `asleep` is up. */
inline exchange_up(me, to) {
    HAPPENS(RINGS_ITSELF, to == me);
    asleep[to] = false;
#ifndef FAULT_S2_RELAXED
    release(me, to);
#endif
    ringing[to]++
}

/* S2, where it is down. */
inline exchange_down(me, to) {
    HAPPENS(ANOTHER_RINGS, waits[to] && ringing[to] > 0);
#if !defined(FAULT_S2_RELAXED) && !defined(FAULT_S2_LOOKS_FIRST)
    release(me, to)
#endif
}

inline ring(to) {
    HAPPENS(IN_VAIN, to == WORKER && !waits[to] && taken[BLOCKS] == written[BLOCKS] && written[ENDED] == 0);
#if defined(FAULT_BELL_NOT_KEPT)
    bell[to] = waits[to];
#elif !defined(FAULT_DOWN_NOT_RUNG)
    bell[to] = true;
#endif
    ringing[to]--
}

inline wake(me, to) {
    if
    :: d_step { asleep[to] -> exchange_up(me, to) }
        d_step { ring(to) }
    :: d_step { !asleep[to] -> exchange_down(me, to) }
    fi
}

inline wake_all(me) {
    wake(me, 0);
    wake(me, 1);
#if LOOPS > 2
    wake(me, 2)
#endif
}

#ifdef FAULT_TOLD_GREATER
#define HAS_MOVED(word) (TAIL(word) > told[word])
#else
#define HAS_MOVED(word) (TAIL(word) != told[word])
#endif

/* Roles on one loop have no edges between them. */
inline edge_tell(me, word, to) {
    if
    :: d_step { to != me && HAS_MOVED(word) && asleep[to] -> told[word] = TAIL(word); exchange_up(me, to) }
        d_step { ring(to) }
    :: d_step { to != me && HAS_MOVED(word) && !asleep[to] -> told[word] = TAIL(word); exchange_down(me, to) }
    :: to == me || !HAS_MOVED(word)
    fi
}

/* --- words --- */

inline write(me, word, value) {
    written[word] = value;
    telling[me] = true;
    if
    :: READER(word) == me -> seen[word] = written[word]
    :: else
    fi
}

inline end_write(me) {
    for (next : ENDED .. WORDS - 1) {
        write(me, next, 1)
    }
    next = 0
}

/* Takes the next one: `found`. */
inline pop(word) {
    if
    :: seen[word] == taken[word] -> found = false /* missed, or not there */
    :: seen[word] == taken[word] && written[word] > seen[word] -> seen[word]++; found = true
    :: seen[word] > taken[word] -> found = true
    fi;
    if
    :: found -> taken[word]++; worked = true
    :: else
    fi
}

/* Whether what is written once has been: `found`. */
inline look(word) {
    if
    :: seen[word] == 0 -> found = false
    :: seen[word] == 0 && written[word] > 0 -> seen[word] = 1; found = true
    :: seen[word] > 0 -> found = true
    fi;
    if
    :: found -> taken[word] = 1
    :: else
    fi
}

inline look_ended(me) {
    look(ENDED + me);
    is_over = is_over || found;
    found = false
}

/* --- roles --- */

/* A role's poll: `worked` where it did something; `found` where it has written a word that is no edge's, and wakes by itself. */

inline net_poll(me) {
    if
    :: outside > 0 -> outside--; worked = true; write(me, REQUESTS, written[REQUESTS] + 1)
    :: true /* it completes later */
    fi;
    pop(REPLIES);
    found = HAS_ALL && written[CLOSED] == 0;
    if
    :: found -> write(me, CLOSED, 1)
    :: else
    fi
}

inline net_wake(me) {
    wake(me, LOG)
}

inline net_edges_tell(me) {
    edge_tell(me, REQUESTS, LOG)
}

inline log_poll(me) {
    pop(APPLIED);
#ifndef NO_REPLIES
    if
    :: found -> write(me, REPLIES, written[REPLIES] + 1)
    :: else
    fi;
#endif
    pop(REQUESTS);
    if
    :: found -> write(me, BLOCKS, written[BLOCKS] + 1)
    :: else
    fi;
    found = false;
    if
    :: written[ENDED] == 0 -> look(CLOSED); found = found && taken[APPLIED] == REQUESTS_MAX
    :: else
    fi;
    if
    :: found -> end_write(me)
    :: else
    fi
}

inline log_wake(me) {
    wake_all(me)
}

inline log_edges_tell(me) {
    edge_tell(me, REPLIES, NET);
    edge_tell(me, BLOCKS, WORKER)
}

inline worker_poll(me) {
    pop(BLOCKS);
    if
    :: found -> write(me, APPLIED, written[APPLIED] + 1)
    :: else
    fi;
    found = false
}

inline worker_wake(me) {
    skip
}

inline worker_edges_tell(me) {
    edge_tell(me, APPLIED, LOG)
}

/* --- turns --- */

/* The bell's read has completed, and is seen, or will be. */
inline completions_dispatch(me) {
    if
    :: HAS_RING(me) && IS_HEARD(me) ->
        bell[me] = false;
#ifdef FAULT_BELL_NOT_QUEUED
        listens[me] = false;
#endif
        work = true
    :: true
    fi
}

inline turn_begin(me) {
    if
    :: !is_last -> look_ended(me)
    :: else
    fi;
    completions_dispatch(me);
#ifdef FAILS
    if
    :: me == LOG -> is_over = true
    :: true
    fi
#endif
}

inline turn_end(me) {
    telling[me] = false;
    work = work || worked;
    worked = false;
    found = false;
    assert_none_lost()
}

#if defined(FAULT_HANDED_UNSAID) || defined(FAULT_TOLD_BEFORE)
#define IS_TOLD false
#else
#define IS_TOLD worked
#endif
#ifdef FAULT_TOLD_BEFORE
#define TELL_BEFORE(me, role) role##_edges_tell(me);
#else
#define TELL_BEFORE(me, role)
#endif

/* A poll is one step, with what comes before it in a turn and, where it finds nothing, what comes after it. That is as good as a step for
 * each access: what it hands over first may be missed until it has handed over all, and what was written before the step may be missed
 * in it. */
#define ROLE_TURN(me, role, begin, then) \
role##_turn: \
    TELL_BEFORE(me, role) \
    atomic { \
        begin; \
        if \
        :: is_over \
        :: else -> role##_poll(me) \
        fi; \
        if \
        :: found -> goto role##_alerts \
        :: !found && worked -> goto role##_tells \
        :: !found && !worked -> then \
        fi \
    } \
role##_alerts: \
    role##_wake(me); \
role##_tells: \
    if \
    :: IS_TOLD -> role##_edges_tell(me) \
    :: else \
    fi; \
    atomic { \
        turn_end(me); \
        then \
    }

inline wait_begin(me) {
#ifdef FAULT_BELL_CLEARED
    bell[me] = false;
#endif
    waits[me] = true;
    assert_none_lost()
}

inline wait_end(me) {
    IS_HEARD(me) || (me == NET && outside > 0) -> waits[me] = false;
    if
    :: !HAS_RING(me) -> bell[me] = false
    :: else
    fi
}

#ifdef FAULT_ASLEEP_AFTER_LOOK
#define RAISE_FIRST(me)
#define RAISE_LAST(me) raise(me)
#else
#define RAISE_FIRST(me) raise(me);
#define RAISE_LAST(me) skip
#endif
#ifdef FAULT_ENDED_NOT_LOOKED_AT
#define LOOK_LAST(me) skip
#else
#define LOOK_LAST(me) look_ended(me)
#endif

/* Behind a turn. If it wasn't the last look, the loop goes on, having found something or spinning, or is about to sleep. If it was, it waits
 * where there was nothing, or the wait ends at once. */
#define TURN_OVER(me, first_turn) \
    if \
    :: is_over && !is_last -> goto over \
    :: !is_over && !is_last -> work = false; goto first_turn \
    :: !is_over && !is_last && !work -> goto rest \
    :: is_last -> \
        HAPPENS(LAST_LOOK_FINDS, work && me == WORKER); \
        LOOK_LAST(me); \
        RAISE_LAST(me); \
        HAPPENS(LAST_LOOK_ENDS, is_over && !work); \
        if \
        :: true -> goto awake \
        :: !work && !is_over -> wait_begin(me); goto waiting \
        fi \
    fi

#ifdef FAULT_NO_LAST_LOOK
#define LAST_LOOK(me, first_turn) TURN_OVER(me, first_turn)
#else
#define LAST_LOOK(me, first_turn) goto first_turn
#endif

#define REST(me, first_turn) \
rest: \
    atomic { \
        RAISE_FIRST(me) \
        is_last = true; \
        LAST_LOOK(me, first_turn) \
    } \
waiting: \
    atomic { wait_end(me) } \
awake: \
    atomic { \
        take_down(me); \
        is_last = false; \
        work = false; \
        goto first_turn \
    } \
over: \
    skip

/* --- loops --- */

inline end(me) {
#ifdef FAILS
    if
    :: me == LOG ->
        atomic { end_write(me) }
        wake_all(me);
        atomic { turn_end(me) }
    :: else
    fi
#else
    assert(HAS_ALL);
    assert(taken[APPLIED] == REQUESTS_MAX)
#endif
}

/* It has two roles where another loop has none. */
proctype log_loop() {
    bool found, worked, work, is_over, is_last;
#ifdef WORKER_APART
    ROLE_TURN(LOG, net, turn_begin(LOG), goto log_turn)
    ROLE_TURN(LOG, log, skip, TURN_OVER(LOG, net_turn))
    REST(LOG, net_turn);
#else
    ROLE_TURN(LOG, log, turn_begin(LOG), TURN_OVER(LOG, log_turn))
    REST(LOG, log_turn);
#endif
    end(LOG)
}

proctype net_loop() {
    bool found, worked, work, is_over, is_last;
#ifdef LOG_APART
    ROLE_TURN(NET, net, turn_begin(NET), goto worker_turn)
    ROLE_TURN(NET, worker, skip, TURN_OVER(NET, net_turn))
#else
    ROLE_TURN(NET, net, turn_begin(NET), TURN_OVER(NET, net_turn))
#endif
    REST(NET, net_turn);
    end(NET)
}

proctype worker_loop() {
    bool found, worked, work, is_over, is_last;
    ROLE_TURN(WORKER, worker, turn_begin(WORKER), TURN_OVER(WORKER, worker_turn))
    REST(WORKER, worker_turn);
    end(WORKER)
}

init {
    atomic {
        for (next : 0 .. LOOPS - 1) {
            listens[next] = true
        }
        next = 0;
        run log_loop();
#ifndef WORKER_APART
        run net_loop();
#endif
#ifndef LOG_APART
        run worker_loop()
#endif
    }
}
