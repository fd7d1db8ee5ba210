"""A file that is parsed rule by rule is the file that is parsed whole."""

import time
from pathlib import Path

from hypothesis import event, given, settings
from hypothesis import strategies as st

from tocsin.errors import ConfigError
from tocsin.rules.document import Document, Node, Substitution, parse
from tocsin.rules.items import ItemMemory, split_items
from tocsin.rules.problems import Mistake
from tocsin.service.loading import Loader
from tocsin.service.reading import Reading
from tocsin.service.references import References

ITEMS = [
    "- name: a\n  metric: cost\n",
    "- name: b\n  metric: cost\n  filters:\n    x: [1,\n       2]\n",
    "- name: c\n\n  # a comment\n  summary: |\n    text\n    - name: not a rule\n\n",
    "- {name: d, condition: gt}\n",
    "- name: 'e\n- name: f'\n",
    "-\n  name: g\n",
    "- - h\n  - i\n",
    "- name: &anchor j\n  project: k\n",
    "- name: *anchor\n",
    "- <<: {name: l}\n  window: 5m\n",
    "- name: m\n  name: n\n",
    "- name: [o\n",
    "- name: ]\n",
    "- description: ${env:A}\n",
    "- description: ${env:MISSING}\n",
    "- name: !p q\n",
    "-name: r\n",
    "  - deeper: s\n",
    "\n# between\n",
    "other: 1\n",
    "---\n",
    "rules:\n",
    "\tx\n",
    '- name: "t\n  - u\n  v"\n',
    "- name: >\n  w\n- x\n",
    "- y",
    "- z: 1 # why\n",
]
HEADS = [
    "rules:\n",
    "log: {level: info}\nrules: # mine\n",
    "rules: &r\n",
    "rules: [\n",
    "a: |\n  x\nrules:\n\n# c\n",
    "rules:\n  ",
]
files = st.tuples(st.sampled_from(HEADS), st.lists(st.sampled_from(ITEMS[:4] * 6 + ITEMS), min_size=1, max_size=12))


def substitute(text: str) -> Substitution:
    return References(Path(), {"A": "put in"}, Reading()).substitute(text)


def laid_out(node: Node, shift: int = 0) -> object:
    """A tree with every place in it."""
    if node.entries is not None:
        return [(key, (at[0] + shift, at[1]), laid_out(value, shift)) for key, (at, value) in node.entries.items()]
    if node.items is not None:
        return (node.line + shift, node.column, [laid_out(item, shift) for item in node.items])
    return (node.line + shift, node.column, node.value, node.secrets)


def places(document: Document) -> object:
    rules = document.at(("rules",)) if document.root.child("rules") else None
    if rules is None or rules.items is None or not document.shifts:
        return laid_out(document.root)
    shifted = [laid_out(node, shift) for node, shift in zip(rules.items, document.shifts, strict=True)]
    assert document.root.entries is not None
    return [
        (key, at, (value.line, value.column, shifted) if value is rules else laid_out(value))
        for key, (at, value) in document.root.entries.items()
    ]


@settings(max_examples=300)
@given(st.lists(files, min_size=2, max_size=4))
def test_any_edits_give_what_a_fresh_parse_gives(versions: list[tuple[str, list[str]]]) -> None:
    memory = ItemMemory()
    for head, items in versions:
        text = head + "".join(items)
        parsed = memory.parse(text, "f", substitute)
        document, problems = parse(text, "f", substitute)
        assert parsed.problems == problems
        if not problems:
            assert places(parsed.document) == places(document)
            assert parsed.document.root.plain() == document.root.plain()
            assert parsed.document.secrets == document.secrets
            assert parsed.document.is_whole == document.is_whole


@given(st.data())
@settings(max_examples=60)
def test_small_edits_give_what_a_fresh_parse_gives(data: st.DataObject) -> None:
    """As people edit: most of the file stays, so that most of it comes from memory."""
    memory = ItemMemory()
    items = [f"- name: r{number}\n  metric: cost\n" for number in range(40)]
    for _ in range(4):
        at = data.draw(st.integers(0, len(items) - 1))
        match data.draw(st.sampled_from(["change", "insert", "delete", "move"])):
            case "change":
                items[at] = data.draw(st.sampled_from(ITEMS))
            case "insert":
                items.insert(at, data.draw(st.sampled_from(ITEMS)))
            case "delete":
                del items[at]
            case _:
                items.append(items.pop(at))
        text = "rules:\n" + "".join(items)
        parsed = memory.parse(text, "f", substitute)
        document, problems = parse(text, "f", substitute)
        event(f"from memory: {bool(parsed.document.shifts)}")
        assert parsed.problems == problems
        if not problems:
            assert places(parsed.document) == places(document)


def test_after_a_broken_edit_the_repair_comes_from_memory() -> None:
    memory = ItemMemory()
    good = "rules:\n" + "- name: x\n" * 9
    assert not memory.parse(good, "f").document.shifts
    assert memory.parse(good + "- ]\n", "f").problems
    repaired = memory.parse("# c\n" + good, "f").document
    assert repaired.shifts
    assert [str(repaired.problem(Mistake(("rules", at), ""))) for at in (0, 8)] == ["f:3:3: ", "f:11:3: "]


def test_is_cut_at_its_dashes() -> None:
    text = "a: 1\nrules:\n  # first\n  - x\n\n  # c\n  - y:\n    - z\n"
    assert split_items(text) == ("a: 1\nrules:\n", [(3, "  - x\n\n  # c"), (6, "  - y:\n    - z\n")])
    for other in (
        "rules: []\n",
        "rules:\n- x\nlog: {}\n",
        "rules:\nx: 1\n",
        "rules:\n",
        "x: 1\n",
        "rules:\n  - a\n - b\n",
    ):
        assert split_items(other) is None


def outcome(loader: Loader) -> object:
    try:
        loaded = loader.load()
    except ConfigError as error:
        return error.problems
    return loaded.rules, loaded.warnings, loaded.configuration


def test_an_edited_file_has_the_rules_and_problems_of_a_fresh_one(tmp_path: Path) -> None:
    main = tmp_path / "c.yaml"
    kept = Loader(main)
    rules = [f"- {{name: r{n}, metric: cost, condition: gt, threshold: {n}}}\n" for n in range(30)]
    edits = [
        "",
        "- {name: new, metric: cost, condition: gt, threshold: 5%}\n",
        "- {name: r29, metric: cost, condition: gt, threshold: 1}\n",
        "\n\n- name: new\n  metric: cost\n  condtion: gt\n  notify: [nobody]\n",
        "- {name: new, metric: latency, condition: gt, threshold: 5s, group_by: modl}\n",
        "",
    ]
    for at, edit in enumerate(edits):
        main.write_text("log: {level: debug}\nrules:\n" + "".join([*rules[: 20 - at], edit, *rules[20 - at :]]))
        assert outcome(kept) == outcome(Loader(main))
    main.write_text("sampling: adjust\nrules:\n" + "".join(rules))
    assert outcome(kept) == outcome(Loader(main))


def test_an_edit_of_one_rule_of_thousands_is_quick(tmp_path: Path) -> None:
    main = tmp_path / "c.yaml"
    rules = [f"- name: r{n}\n  metric: cost\n  condition: gt\n  threshold: {n}\n" for n in range(2000)]
    loader = Loader(main)

    def seconds() -> float:
        main.write_text("rules:\n" + "".join(rules))
        began = time.process_time()
        assert len(loader.load().rules) == len(rules)
        return time.process_time() - began

    first = seconds()
    rules.insert(1000, "- {name: new, metric: cost, condition: gt, threshold: 1}\n")
    assert seconds() < first / 4
