"""Mistakes that a user can mend: each is one line saying what was wrong and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Shown as `error: ...` without a traceback; the program ends with exit status 2."""


def in_one_line(error: Exception) -> str:
    """What an error is and says."""
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not in `known`, with the nearest one that is."""
    folded = {candidate.casefold(): candidate for candidate in sorted(known)}
    near = get_close_matches(name.casefold(), folded, n=1)
    listed = ", ".join(folded.values()) or "none"
    hint = f"did you mean {folded[near[0]]!r}?" if near else f"known: {listed}"
    return UserError(f"no {kind} named {name!r}; {hint}")
