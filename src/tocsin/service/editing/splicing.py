"""One change of a YAML text: a value set or removed, every other character as it was.

Each change is proved: the new text is read again, and must mean what was asked for, there and everywhere else. Where
the smallest change does not (an anchor was in the way, or a merge), the rule or contact point that is changed is
written anew; where that does not do either, the change is refused, and a person has to make it.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

from tocsin.rules.document import Document, parse
from tocsin.service.editing.layout import Piece, layout_of
from tocsin.service.editing.wording import Value, block_lines, flow, is_block

__all__ = ["REMOVED", "Path", "SpliceError", "plain_of", "spliced"]

Path = tuple[str | int, ...]
_STEP = 2


class _Removed:
    """Stands for no value."""


REMOVED = _Removed()


class SpliceError(ValueError):
    """A text can't be changed by a program; the text says why, and what to do."""


@dataclass(slots=True)
class _Cuts:
    """Changes of a text, in offsets of what it was."""

    text: str
    cuts: list[tuple[int, int, str]] = field(default_factory=list)

    def replace(self, begin: int, end: int, by: str) -> None:
        self.cuts.append((begin, end, by))

    def result(self) -> str:
        text = self.text
        for begin, end, by in sorted(self.cuts, key=lambda cut: (cut[0], cut[1]), reverse=True):
            text = text[:begin] + by + text[end:]
        return text

    def line_end(self, at: int) -> int:
        """Return the offset of the line break at or after `at`, or of the text's end; right behind one, that one's."""
        if at and self.text[at - 1] == "\n":
            return at - 1
        found = self.text.find("\n", at)
        return len(self.text) if found < 0 else found

    def add_lines(self, after: int, lines: list[str]) -> None:
        """Add whole lines below the line that holds the character before `after`."""
        at = self.line_end(after)
        self.replace(at, at, "".join("\n" + line for line in lines))


def plain_of(text: str) -> object:
    """Return the plain values of a text, references to the outside as they are written.

    Raises:
        SpliceError: it is no YAML that Tocsin reads.
    """
    document, problems = parse(text, "")
    if problems:
        raise SpliceError("the file is not in order; correct it by hand first")
    return document.root.plain()


def spliced(text: str, path: Path, value: Value, *, whole: int = 2) -> str:
    """Return a text with the value at a path set, added (a new key, or a list's next item) or `REMOVED`.

    Args:
        text: YAML, its lines ended by a line feed each, or each by carriage return and line feed.
        path: to the value; all but its last step must be there, or be a key with nothing in it.
        value: what shall be there.
        whole: how many steps of the path lead to what may be written anew where the smallest change does not do.

    Raises:
        SpliceError: it can't be done without changing what it means elsewhere.
    """
    windows = text.count("\r\n") * 2 > text.count("\n")
    plain = text.replace("\r\n", "\n")
    before = plain_of(plain)
    wanted = _applied(before, path, value)
    upper = path[:whole]
    attempts = [(path, value, False)]
    if upper != path or not isinstance(value, _Removed):
        attempts.append((upper, _found(wanted, upper), True))
    for where, what, anew in attempts:
        changed = _attempt(plain, before, where, what, anew=anew)
        if changed is not None and _same(_reread(changed), wanted):
            return changed.replace("\n", "\r\n") if windows else changed
    raise SpliceError(
        "this can't be changed without changing what stands elsewhere in the file (an anchor, an alias or a merge); "
        "change it by hand"
    )


def _attempt(text: str, before: object, path: Path, value: Value, *, anew: bool) -> str | None:
    cuts = _Cuts(text)
    try:
        root = layout_of(text)
        if root is None:
            lines = block_lines(_applied(None, path, value), 0)[1]
            cuts.replace(len(text), len(text), ("" if not text or text.endswith("\n") else "\n") + "\n".join(lines))
            return cuts.result() + "\n"
        if isinstance(value, _Removed):
            _remove(cuts, root, path)
        else:
            _set(cuts, root, before, path, value, anew=anew)
    except (LookupError, ValueError):
        return None
    return cuts.result()


def _set(cuts: _Cuts, root: Piece, before: object, path: Path, value: Value, *, anew: bool) -> None:
    piece = root.at(path)
    if piece is not None:
        _change(cuts, piece, _found(before, path), value, anew=anew)
        return
    parent = root.at(path[:-1])
    if parent is None and isinstance(path[-1], int) and len(path) == 2 and not root.is_flow:
        cuts.add_lines(root.end, [f"{path[0]}:", *_item_lines(value, _STEP)])
    elif parent is None:
        # What should hold it is not there: it is added with this in it.
        inner: Value = [value] if isinstance(path[-1], int) else {path[-1]: value}
        _set(cuts, root, before, path[:-1], inner, anew=anew)
    elif isinstance(path[-1], int):
        _append(cuts, parent, value)
    else:
        _add(cuts, parent, path[-1], value)


def _change(cuts: _Cuts, piece: Piece, before: object, after: Value, *, anew: bool) -> None:
    if _same(before, after) and not anew:
        return
    mappings = isinstance(before, Mapping) and isinstance(after, Mapping)
    if not mappings or anew or not after or piece.entries is None or not piece.entries or piece.is_alias:
        _replace(cuts, piece, after)
        return
    assert isinstance(before, Mapping) and isinstance(after, Mapping)  # noqa: S101, PT018  # said above
    gone = [key for key in before if key not in after]
    if gone and (piece.is_flow or len(gone) == len(piece.entries)):
        _replace(cuts, piece, after)
        return
    for key in gone:
        _cut_entry(cuts, piece, key)
    for key, value in after.items():
        if key not in piece.entries:
            if key not in before or not _same(before[key], value):  # else it comes from a merge
                _add(cuts, piece, key, value)
        elif not _same(before[key], value):
            _change(cuts, piece.entries[key], before[key], value, anew=False)


def _replace(cuts: _Cuts, piece: Piece, value: Value) -> None:
    """Write a value anew, what stands before and behind it on its lines as it was."""
    if piece.is_anchored:
        raise ValueError("others refer to it")
    text, key = cuts.text, piece.key
    ends_line = piece.end > piece.begin and text[piece.end - 1] == "\n"
    was_block = (piece.entries is not None or piece.items is not None) and not piece.is_flow
    if key is None:
        _replace_item(cuts, piece, value)
        return
    indent = _indent_below(piece)
    head, below = block_lines(value, indent) if is_block(value) and not _in_flow(cuts, piece) else (flow(value), [])
    behind = text.index(":", key.end) + 1
    if was_block or piece.begin == piece.end:
        cuts.replace(behind, behind, f" {head}" if head else "")
        if was_block:
            first = cuts.line_end(behind)
            if piece.begin > first:
                cuts.replace(first, piece.end, "".join("\n" + line for line in below))
                return
            cuts.replace(behind, piece.end, "")
        if below:
            cuts.add_lines(max(behind, piece.end), below)
        return
    if head:
        cuts.replace(piece.begin, piece.end, head + ("\n" if ends_line and not below else ""))
    else:
        cuts.replace(behind, piece.end, "")
    if below and ends_line:
        cuts.replace(piece.end, piece.end, "".join("\n" + line for line in below) + "\n")
    elif below:
        cuts.add_lines(piece.end, below)


def _replace_item(cuts: _Cuts, piece: Piece, value: Value) -> None:
    """Write an item of a list anew, behind its dash."""
    if piece.is_flow or not isinstance(value, Mapping) or not value:
        cuts.replace(piece.begin, piece.end, flow(value))
        return
    lines = block_lines(value, piece.column)[1]
    end = piece.end - 1 if cuts.text[piece.end - 1] == "\n" else piece.end
    cuts.replace(piece.begin, end, "\n".join(lines).lstrip(" "))


def _in_flow(cuts: _Cuts, piece: Piece) -> bool:
    """Whether a value stands inside of brackets."""
    layout = layout_of(cuts.text)
    while layout is not None:
        if layout.is_flow and layout.begin < piece.begin < layout.end:
            return True
        inside = [*(layout.entries or {}).values(), *(layout.items or [])]
        layout = next((each for each in inside if each.begin <= piece.begin <= each.end and each is not layout), None)
    return False


def _indent_below(piece: Piece) -> int:
    """Return the column of the lines below a key: where they are, or a step further in."""
    assert piece.key is not None  # noqa: S101  # asked of values only
    if piece.entries and not piece.is_flow:
        return max(next(iter(piece.entries.values())).key.column, piece.key.column + 1)  # type: ignore[union-attr]  # of a mapping
    if piece.items and not piece.is_flow:
        return piece.column
    return piece.key.column + _STEP


def _add(cuts: _Cuts, parent: Piece, key: str, value: Value) -> None:
    if parent.entries is None:
        if parent.begin != parent.end and cuts.text[parent.begin : parent.end] not in ("null", "~"):
            raise ValueError("no mapping")
        _replace(cuts, parent, {key: value})
        return
    if not parent.entries:
        _replace(cuts, parent, {key: value})
        return
    if parent.is_flow:
        last = list(parent.entries.values())[-1]
        cuts.replace(last.end, last.end, f", {flow({key: value})[1:-1]}")
        return
    first = next(iter(parent.entries.values())).key
    assert first is not None  # noqa: S101  # of a mapping
    lines = block_lines({key: value}, first.column)[1]
    cuts.add_lines(parent.end, lines)


def _append(cuts: _Cuts, parent: Piece, value: Value) -> None:
    if parent.items is None or (not parent.items and parent.key is not None):
        if parent.items is None and cuts.text[parent.begin : parent.end] not in ("", "null", "~"):
            raise ValueError("no list")
        assert parent.key is not None  # noqa: S101  # said above
        behind = cuts.text.index(":", parent.key.end) + 1
        cuts.replace(behind, parent.end if parent.end > behind else behind, "")
        cuts.add_lines(max(behind, parent.end), _item_lines(value, parent.key.column + _STEP))
        return
    if parent.is_flow:
        cuts.replace(parent.items[-1].end, parent.items[-1].end, f", {flow(value)}")
        return
    cuts.add_lines(parent.end, _item_lines(value, parent.column))


def _item_lines(value: Value, indent: int) -> list[str]:
    if not isinstance(value, Mapping) or not value:
        return [f"{' ' * indent}- {flow(value)}"]
    lines = block_lines(value, indent + _STEP)[1]
    return [f"{' ' * indent}- {lines[0].lstrip(' ')}", *lines[1:]]


def _remove(cuts: _Cuts, root: Piece, path: Path) -> None:
    parent, last = root.at(path[:-1]), path[-1]
    if parent is None:
        raise LookupError(path)
    if isinstance(last, str):
        if parent.entries is not None and len(parent.entries) == 1 and parent.key is not None:
            _say_empty(cuts, parent, "{}")
        _cut_entry(cuts, parent, last)
        return
    assert parent.items is not None  # noqa: S101  # a number leads into a list
    if len(parent.items) == 1:
        _say_empty(cuts, parent, "[]")
    if parent.is_flow:
        _cut_flow(cuts, parent.items, last)
    else:
        item = parent.items[last]
        begin = cuts.text.rfind("\n", 0, item.begin) + 1
        while cuts.text[begin : begin + parent.column + 1] != " " * parent.column + "-":
            begin = cuts.text.rfind("\n", 0, begin - 1) + 1
        cuts.replace(begin, min(cuts.line_end(item.end) + 1, len(cuts.text)), "")


def _say_empty(cuts: _Cuts, parent: Piece, brackets: str) -> None:
    """Write that a block has nothing in it, behind its key; comments in it stay."""
    if not parent.is_flow and parent.key is not None:
        behind = cuts.text.index(":", parent.key.end) + 1
        cuts.replace(behind, behind, f" {brackets}")


def _cut_entry(cuts: _Cuts, parent: Piece, key: str) -> None:
    assert parent.entries is not None  # noqa: S101  # asked of mappings only
    values = list(parent.entries.values())
    at = list(parent.entries).index(key)
    piece = values[at]
    assert piece.key is not None  # noqa: S101  # of a mapping
    if parent.is_flow:
        _cut_flow(cuts, values, at)
        return
    line = cuts.text.rfind("\n", 0, piece.key.begin) + 1
    if cuts.text[line : piece.key.begin].strip(" "):  # behind a dash: the next key takes its place there
        following = values[at + 1].key
        assert following is not None  # noqa: S101  # of a mapping
        cuts.replace(piece.key.begin, following.begin, "")
        return
    end = max(piece.end, piece.key.end)
    cuts.replace(line, min(cuts.line_end(end) + 1, len(cuts.text)), "")


def _cut_flow(cuts: _Cuts, values: list[Piece], at: int) -> None:
    def begin_of(piece: Piece) -> int:
        return piece.begin if piece.key is None else piece.key.begin

    if at + 1 < len(values):
        cuts.replace(begin_of(values[at]), begin_of(values[at + 1]), "")
    elif at:
        cuts.replace(values[at - 1].end, values[at].end, "")
    else:
        cuts.replace(begin_of(values[at]), values[at].end, "")


def _reread(text: str) -> object:
    document: Document
    document, problems = parse(text, "")
    return REMOVED if problems else document.root.plain()


def _found(data: object, path: Path) -> object:
    for step in path:
        data = data[step]  # type: ignore[index]  # a path through dicts and lists
    return data


def _applied(before: object, path: Path, value: Value) -> object:
    after = copy.deepcopy(before)
    if after is None:
        after = {}
    holder: object = after
    for depth, step in enumerate(path[:-1]):
        if isinstance(holder, dict) and isinstance(step, str):
            if holder.get(step) is None:
                holder[step] = [] if isinstance(path[depth + 1], int) else {}
            holder = holder[step]
        elif isinstance(holder, list) and isinstance(step, int) and step < len(holder):
            holder = holder[step]
        else:
            raise SpliceError("there is no such place in the file")
    last = path[-1]
    if isinstance(holder, dict) and isinstance(last, str):
        if isinstance(value, _Removed):
            if last not in holder:
                raise SpliceError("there is no such key in the file")
            del holder[last]
        else:
            holder[last] = value
    elif isinstance(holder, list) and isinstance(last, int) and last <= len(holder):
        if isinstance(value, _Removed):
            del holder[last]
        elif last == len(holder):
            holder.append(value)
        else:
            holder[last] = value
    else:
        raise SpliceError("there is no such place in the file")
    return after


def _same(left: object, right: object) -> bool:
    """Whether two values are the same, true and 1 being different."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, str) or isinstance(right, str):
        return isinstance(left, str) and isinstance(right, str) and left == right
    return left == right
