"""L-BFGS for many small problems at once: each is solved as if alone, but all are evaluated in one batch."""

import concurrent.futures
import contextlib
import queue
import threading

import numpy as np


def minimize_batch(function, starts, iterations, together, done=lambda: None):
    """Minimise a function for each row of `starts` (problems, numbers) by L-BFGS-B; returns minima of that shape.

    function     (rows, values (len(rows), numbers)) -> (errors (len(rows),), gradients (len(rows), numbers)) of the
                 problems `rows`
    iterations   at most, for each problem
    together     problems that are solved at the same time
    done         called after each problem

    Each problem runs SciPy's optimizer unchanged, with its own line searches and stopping criterion, in a thread that
    waits for every value; when all wait, one call of `function` answers them. The result does not depend on the speed
    of the threads: the problems alone decide which of them ask in which round.
    """
    from scipy.optimize import minimize

    events, stopped = queue.SimpleQueue(), threading.Event()

    def solve(k):
        def objective(values):
            answer = concurrent.futures.Future()
            events.put((k, values.copy(), answer))
            while True:         # Ctrl-C can come within set_result, between the result and its announcement
                with contextlib.suppress(concurrent.futures.TimeoutError):
                    return answer.result(timeout=1)
                if stopped.is_set():
                    raise concurrent.futures.CancelledError
        try:
            return minimize(objective, starts[k], jac=True, method="L-BFGS-B", options={"maxiter": iterations}).x
        finally:
            events.put((k, None, None))

    with concurrent.futures.ThreadPoolExecutor(together) as pool:
        try:
            solutions = [pool.submit(solve, k) for k in range(len(starts))]
            unfinished, waiting = len(starts), {}
            while unfinished:
                k, values, answer = events.get()
                if answer:
                    waiting[k] = values, answer
                else:
                    unfinished -= 1
                    done()
                if waiting and len(waiting) == min(together, unfinished):
                    _answer(function, waiting)
        except BaseException:
            stopped.set()       # otherwise the threads would wait for answers, and the pool for the threads
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return np.array([solution.result() for solution in solutions])


def _answer(function, waiting):
    """Evaluate `function` once for all problems of `waiting`, {row: (values, Future)}, and empty it."""
    rows = sorted(waiting)
    results = function(np.array(rows), np.array([waiting[row][0] for row in rows]))
    for row, error, gradient in zip(rows, *results):
        waiting.pop(row)[1].set_result((error, gradient))
