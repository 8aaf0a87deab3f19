"""Laws of the page allocator: no page has two owners, none is lost, and what moved kept its content."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.engine.pages import Lease, Pages

operation = st.tuples(
    st.sampled_from(["grow", "new", "release"]), st.integers(0, 7), st.integers(0, 6), st.integers(0, 9)
)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 40), st.lists(operation, max_size=60), st.booleans())
def test_any_history_keeps_the_books(count: int, history: list[tuple[str, int, int, int]], can_move: bool) -> None:
    memory: dict[int, tuple[int, int]] = {}  # page -> (owner, which of its pages)

    def move(old: list[int], new: list[int]) -> None:
        content = [memory.pop(page) for page in old]
        memory.update(zip(new, content, strict=True))

    pages = Pages(count, move if can_move else None)
    leases: dict[int, Lease] = {}
    for what, who, n, room in history:
        lease = leases.setdefault(who, Lease())
        before = (list(lease.pages), pages.free)
        if what == "release" or (what == "new" and len(lease)):
            for page in lease.pages:
                del memory[page]
            pages.release(lease)
            pages.release(lease)  # twice is once
            assert pages.free == before[1] + len(before[0])
            continue
        fits = n <= pages.free
        assert pages.grow(lease, n, room) == fits
        assert len(lease) == len(before[0]) + (n if fits else 0)
        for i, page in enumerate(lease.pages[len(before[0]) :], len(before[0])):
            assert page not in memory
            memory[page] = (who, i)
        held = [p for other in leases.values() for p in other.pages]
        assert len(held) == len(set(held)) == count - pages.free
        assert all(0 <= p < count for p in held)
        for owner, other in leases.items():
            assert [memory[p] for p in other.pages] == [(owner, i) for i in range(len(other))]
            consecutive = (
                other.pages == list(range(other.pages[0], other.pages[0] + len(other))) if other.pages else True
            )
            assert consecutive or not other.contiguous
    for lease in leases.values():
        pages.release(lease)
    assert pages.free == count


def test_sequences_that_grow_side_by_side_stay_contiguous() -> None:
    pages = Pages(64)
    first, second = Lease(), Lease()
    for lease in (first, second):
        pages.grow(lease, 2, room=10)
    for _ in range(10):
        pages.grow(first, 1)
        pages.grow(second, 1)
    assert first.contiguous and second.contiguous


def test_a_sequence_that_outgrew_its_place_moves_to_a_free_run() -> None:
    moves: list[tuple[list[int], list[int]]] = []
    pages = Pages(64, lambda old, new: moves.append((old, new)))
    first, second = Lease(), Lease()
    pages.grow(first, 4)
    pages.grow(second, 4)
    old = list(first.pages)
    assert pages.grow(first, 1)
    assert first.contiguous and moves == [(old, first.pages[:4])]
    assert pages.free == 64 - 9
