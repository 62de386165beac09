"""How often scopes were opened: the quick bookkeeping gives what TensorFlow's slow one gives."""

from __future__ import annotations

import random

from jscope.tf1._counts import Counts

NAMES = ["", "/x", "a", "a/", "a/b", "a/b/c", "a//b", "ab", "b", "b_1", "a/b_1"]


class Scanned(dict):
    """TensorFlow's: a dict, all of whose names are looked at whenever a scope is left."""

    def add(self, name):
        self[name] = self.get(name, 0) + 1

    def forget_below(self, name):
        self.update({key: 0 for key in self if key.startswith(f"{name}/")})

    def suffix(self, name):
        numbers = (n for n in range(99) if not self.get(f"{name}_{n}" if n else name, 0))
        return f"_{n}" if (n := next(numbers)) else ""


def test_counts_are_those_of_a_scan():
    """Whatever is opened, left, numbered, copied and undone, in any order."""
    for seed in range(60):
        chance, counts, scanned, jumps = random.Random(seed), Counts(), Scanned(), []
        for _ in range(80):
            name, action = chance.choice(NAMES), chance.choice(["add", "add", "suffix", "forget", "jump", "back"])
            if action == "add":
                counts.add(name), scanned.add(name)
            elif action == "suffix":
                assert counts.suffix(name) == scanned.suffix(name)
            elif action == "forget":
                counts.forget_below(name), scanned.forget_below(name)
            elif action == "jump":
                jumps.append((counts.mark(), Scanned(scanned)))
                counts = counts.copied()
            elif jumps:
                time, scanned = jumps.pop()
                counts.go_back(time)
            assert dict(counts) == dict(scanned)


def test_a_copy_is_left_alone():
    """By what is counted, forgotten and undone afterwards."""
    counts = Counts()
    start = counts.mark()
    counts.add("a/b")
    copied = counts.copied()
    counts.forget_below("a")
    counts.add("a/c")
    assert dict(copied) == {"a/b": 1}
    counts.go_back(start)
    assert (dict(copied), dict(counts)) == ({"a/b": 1}, {})


def test_nothing_is_kept_where_nothing_can_be_undone():
    """Only while a jump is open, which may be one that was never left."""
    counts = Counts()
    for name in NAMES:
        counts.add(name)
    outer, _ = counts.mark(), counts.mark()
    counts.add("a")
    counts.go_back(outer)
    counts.forget_below("a")
    assert (counts._marks, counts._changes) == ([], [])
