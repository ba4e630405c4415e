/* The words of engine/team.c: a crew that makes passes together, spinning for a while and then sleeping.
 *
 * Every interleaving of every access to a word. What is checked: nobody waits for ever (that is an invalid end state); each
 * worker makes each pass exactly once, and the one that was meant; the leader goes on only when all have ended it; the
 * dismissal reaches all.
 *
 * Memory is sequentially consistent here. That stands for what the code asks for:
 *   W1/A1, W2/A2   release and acquire: who reads a word sees what came before it. So `pass` may be a plain variable.
 *   S1, S2         whoever writes one word and then reads the other does so in that order, for all to see. Otherwise both might read
 *                  what was before, and a sleeper isn't woken: FAULT_NO_ORDER_... do the two the other way round.
 * Nothing else depends on an order. A release doesn't cover stores past the caches: a pass that makes some fences them before it ends.
 *
 * A futex: `wait` looks at the word and falls asleep in one step, or returns; it may return early besides. `wake` wakes all that
 * sleep on the word by then: the leader's turn has many sleepers. */

#ifndef WORKERS
#define WORKERS 4 /* the leader among them: the others sleep on the turn */
#endif
#ifndef PASSES
#define PASSES 3
#endif

/* Words, by the worker that writes them: the turn, and what each of the others has ended. */
#define TURN 0
byte value[WORKERS];
byte asleep[WORKERS]; /* how many */

/* The kernel: which word a worker sleeps on. */
#define AWAKE 255
byte sleeps_on[WORKERS];

#define DISMISSED 0
byte pass; /* of the turn under way */
byte made[WORKERS]; /* how many passes, by worker */
bool over; /* no pass is begun any more */

hidden byte i;

inline wake(word) {
    d_step {
        for (i : 0 .. WORKERS - 1) {
            if
            :: sleeps_on[i] == word ->
                sleeps_on[i] = AWAKE;
#ifdef FAULT_WAKE_ONE
                i = WORKERS
#endif
            :: else
            fi
        }
        i = 0
    }
}

inline publish(word, number) {
#ifdef FAULT_NO_ORDER_WAKER
    now = asleep[word];
    value[word] = number;
#else
    value[word] = number; /* W1, W2 */
    now = asleep[word]; /* S2 */
#endif
    if
    :: now > 0 -> wake(word)
    :: else
    fi
}

#define SLEEP(word) sleeps_on[me] = word; sleeps_on[me] == AWAKE

/* Until woken, unless the word has another value. */
inline wait(me, word, before) {
    if
    :: atomic { value[word] == before -> sleeps_on[me] = word }
        sleeps_on[me] == AWAKE
    :: value[word] != before
    :: true /* early */
    fi
}

/* Returns when the word is no longer `before`; `now` is what it is. */
inline await(me, word, before) {
    now = value[word]; /* any number of looks while it spins is as good as one */
    if
    :: now != before
    :: else ->
#ifdef FAULT_NO_ORDER_SLEEPER
        /* The kernel's look comes before others can see that somebody sleeps. */
        do
        :: now = value[word];
            if
            :: now != before -> break
            :: else -> asleep[word]++; SLEEP(word); asleep[word]--
            fi
        od
#else
        asleep[word]++; /* S1 */
#ifdef FAULT_NO_LOOK_AGAIN
        /* Falls asleep on what it saw while it was spinning. */
        SLEEP(word);
#endif
        do
        :: now = value[word];
            if
            :: now != before -> break
            :: else ->
#ifdef FAULT_WAIT_BLIND
                SLEEP(word)
#else
                wait(me, word, before)
#endif
            fi
        od;
        asleep[word]--
#endif
    fi
}

proctype leader() {
    byte before, now, worker;
    do
    :: before < PASSES ->
#ifdef FAULT_PASS_AFTER_TURN
        publish(TURN, before + 1);
        pass = before + 1;
#else
        pass = before + 1;
        publish(TURN, before + 1);
#endif
        made[0]++;
        worker = 1;
        do
        :: worker < WORKERS ->
#ifndef FAULT_NO_WAIT
            await(0, worker, before);
            assert(now == before + 1);
#endif
            worker++
        :: else -> break
        od;
        before++;
        worker = 1;
        do
        :: worker < WORKERS -> assert(made[worker] == before); worker++
        :: else -> break
        od
    :: else -> break
    od;
    over = true;
    pass = DISMISSED;
    publish(TURN, before + 1)
}

proctype worker(byte me) {
    byte turn, now;
    do
    :: await(me, TURN, turn);
        turn = now;
        if
        :: pass == DISMISSED -> break
        :: else
        fi;
        assert(pass == turn);
        assert(made[me] + 1 == turn);
        made[me]++;
        publish(me, turn)
    od;
    assert(over);
    assert(made[me] == PASSES)
}

init {
    atomic {
        byte next;
        for (next : 0 .. WORKERS - 1) {
            sleeps_on[next] = AWAKE
        }
        run leader();
        for (next : 1 .. WORKERS - 1) {
            run worker(next)
        }
    }
}
