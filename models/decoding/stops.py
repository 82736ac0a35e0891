"""Finds stop strings in a text that grows. Knows no ids and no client."""

import re
from collections import deque
from collections.abc import Sequence


class Stops:
    """Stop strings to look for, at a cost that does not grow with their number.

    The first one that is complete counts; of several that end together, the longest. So what is
    found does not depend on how the text was cut.

    An automaton (Aho & Corasick, "Efficient string matching", 1975): each node is a beginning of a
    stop string, and the node after a text is the longest one that the text ends with.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._following: list[dict[str, int]] = [{}]
        self._depths = [0]
        # The node of the longest shorter end, and the length of the longest stop that ends here.
        self._shorter = [0]
        self._complete = [0]
        for stop in stops:
            self._add(stop)
        self._link()
        firsts = "".join(map(re.escape, self._following[0]))
        self._firsts = re.compile(f"[{firsts}]") if firsts else None

    def look(self, text: str) -> tuple[int | None, int]:
        """Returns where the first stop string in a text begins, None if there is none, and the
        number of characters at the end that may begin one."""
        node = at = 0
        while at < len(text):
            if not node:
                # Nearly all of a text: a search is much faster than the automaton.
                first = self._firsts.search(text, at) if self._firsts else None
                if first is None:
                    return None, 0
                at = first.start()
            node = self._after(node, text[at])
            at += 1
            if self._complete[node]:
                return at - self._complete[node], 0
        return None, self._depths[node]

    def _add(self, stop: str) -> None:
        node = 0
        for depth, char in enumerate(stop, 1):
            after = self._following[node].get(char)
            if after is None:
                after = self._following[node][char] = len(self._depths)
                self._following.append({})
                self._depths.append(depth)
                self._shorter.append(0)
                self._complete.append(0)
            node = after
        self._complete[node] = len(stop)

    def _link(self) -> None:
        """Finds the shorter ends, of short beginnings first."""
        coming = deque(self._following[0].values())
        while coming:
            node = coming.popleft()
            for char, after in self._following[node].items():
                shorter = self._shorter[after] = self._after(self._shorter[node], char)
                self._complete[after] = self._complete[after] or self._complete[shorter]
                coming.append(after)

    def _after(self, node: int, char: str) -> int:
        while node and char not in self._following[node]:
            node = self._shorter[node]
        return self._following[node].get(char, 0)
