"""Urgent callers go before patient ones, and one at a time."""

from __future__ import annotations

import threading
import time

from idiolect.engine.turns import Turns


def test_an_urgent_caller_waits_for_one_turn_at_most() -> None:
    turns, done, order = Turns(), threading.Event(), []
    inside = 0

    def patient() -> None:
        nonlocal inside
        while not done.is_set():
            with turns.take():
                inside += 1
                assert inside == 1
                order.append("patient")
                time.sleep(0.002)
                inside -= 1

    threads = [threading.Thread(target=patient) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        while not order:
            time.sleep(0.001)
        before = len(order)
        with turns.take(urgent=True):
            assert inside == 0
            waited = len(order) - before
        assert waited <= 2  # the one that was inside, and one that entered before the count
    done.set()
    for thread in threads:
        thread.join()
