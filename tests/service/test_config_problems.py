"""Bad files and what is said of them, word for word."""

# ruff: noqa: E501  # one case a line

from pathlib import Path

import pytest

from tocsin.errors import ConfigError
from tocsin.service.config import needs_restart
from tocsin.service.loading import Loaded, Loader, load, load_text

RULE = "rules:\n- {name: r, metric: cost, condition: gt, threshold: 1%s}\n"


def problems_of(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, file="c.yaml", environ=environ)
    return [problem.removeprefix("c.yaml:") for problem in caught.value.problems]


def loaded(text: str) -> Loaded:
    return load_text(text, file="c.yaml", environ={})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1:1: the file is empty; write at least 'rules: []'"),
        ("# nothing\n", "1:1: the file is empty; write at least 'rules: []'"),
        ("- a\n", "1:1: should be a mapping, 'key: value' lines"),
        ("rules: {}\n", "1:8: should be a list of rules, each begun with '- name:'"),
        ("rules: [5]\n", "1:9: rule 1: should be a mapping, 'key: value' lines"),
        ("rule: []\n", "1:1: unknown key 'rule'; did you mean 'rules'?"),
        ("contact_point: {}\n", "1:1: unknown key 'contact_point'; did you mean 'contact_points'?"),
        ("routes: {}\n", "1:9: should be a list, like [a, b]"),
        ("routes: [{contact_points: nobody}]\n", "1:1: routes.0.contact_points: there is no contact point 'nobody'; add it or take it out"),
        ("contact_points: {a: {type: log, mute_timings: nights}}\n", "1:1: contact_points.a.mute_timings: there is no 'nights'; add it under mute_timings"),
        ("forward: {otlp: {endpoint: 'http://localhost:4317'}}\n", "1:1: forward.otlp.endpoint: localhost:4317 is where Tocsin itself receives, so that every request would come back for ever; give the next collector's address, or move the receiver"),
        ("self_alerts: {notify: [nobody]}\n", "1:1: self_alerts.notify: there is no contact point 'nobody'; add it or take it out"),
        ("templates: []\n", "1:12: should be a mapping, 'key: value' lines"),
        ("timezone: Europe/Zürich\n", "1:11: 'Europe/Zürich' is no time zone; did you mean 'Europe/Zurich'?"),
        ("timezone: zurich\n", "1:11: 'zurich' is no time zone; did you mean 'Europe/Zurich'?"),
        ("timezone: nowhere/at/all\n", "1:11: 'nowhere/at/all' is no time zone; write one like Europe/Zurich, or UTC"),
        ("sql: {metrics: {x: a b}}\n", "1:20: should be a metric's name, like latency, an attribute's key, like app.my.number, or evaluation:NAME"),
        ("storage: {url: x}\n", "1:16: write a PostgreSQL address, like postgresql://user:password@host:5432/name"),
        ("api: {endpoint: 8417}\n", "1:17: should be text"),
        ("api: {base_path: tocsin}\n", "1:18: 'tocsin' is no path; write one that begins with '/', like /tocsin"),
        ("trace_url: https://x.example\n", "1:12: should contain {trace_id}, like https://jaeger.example/trace/{trace_id}"),
        ("trace_url: x/{trace_id}\n", "1:12: should be a URL that begins with http:// or https://"),
        ("log: {level: warn}\n", "1:14: 'warn' is not one of debug, info, warning, error; did you mean 'warning'?"),
        ("log:\n  levle: info\n", "2:3: unknown key 'levle'; did you mean 'level'?"),
        ("network: {allow_private: perhaps}\n", "1:26: should be true or false"),
        ("sampling: adjusted\n", "1:11: 'adjusted' is not one of adjust, ignore; did you mean 'adjust'?"),
        ("trace: {grace: 5}\n", "1:16: '5' is no duration; write a number and a unit, like 30s, 5m or 1h30m"),
        ("limits: {groups: 0}\n", "1:18: should be at least 1"),
        ("limits: {groups: many}\n", "1:18: should be a whole number"),
        ("rule_files: rules/*.yaml\n", "1:13: should be a list, like [a, b]"),
        ("rule_files: [nowhere.yaml]\n", "nowhere.yaml:1:1: no such file; create it, or fix the path"),
        ("rule_files: ['${env:X:-rules}/*.yaml']\n", "1:14: a rule file's path can't come from outside, as it could not be shown; write the path itself"),
        ("receivers: {otlp: {grcp: {}}}\n", "1:20: unknown key 'grcp'; did you mean 'grpc'?"),
        ("prices: {overrides: {m: {inptu: 2}}}\n", "1:26: unknown key 'inptu'; did you mean 'input'?"),
        ("contact_points: {a: {type: log, min_severity: hihg}}\n", "1:47: contact point 'a': 'hihg' is not one of low, medium, high, critical; did you mean 'high'?"),
        ("contact_points: {a: {type: log, timout: 1s}}\n", "1:33: contact point 'a': unknown key 'timout'; did you mean 'timeout'?"),
        ("contact_points: {a: {type: pagerduty}}\n", "1:21: contact point 'a': 'routing_key' is missing; add it"),
        ("contact_points: {a: slack}\n", "1:21: contact point 'a': should be a mapping, 'key: value' lines"),
        (RULE % ", notify: oncall", "2:64: rule 'r': no contact point 'oncall'; add it under contact_points"),
        ("contact_points: {oncall: {type: log}}\n" + RULE % ", notify: [oncal]", "3:65: rule 'r': no contact point 'oncal'; did you mean 'oncall'?"),
        (RULE % ", tresholds: 2", "2:56: rule 'r': unknown key 'tresholds'; did you mean 'threshold'?"),
        (RULE % ", cooldwn: 2m", "2:56: rule 'r': unknown key 'cooldwn'; did you mean 'cooldown'?"),
        (RULE % ", severity: urgent", "2:66: rule 'r': 'urgent' is not one of low, medium, high, critical"),
        (RULE % ", window: year", "2:64: rule 'r': 'year' is no window; write a duration, like 1h or 90d, or one of day, week, month"),
        (RULE % ", mode: shadwo", "2:62: rule 'r': 'shadwo' is not one of live, shadow; did you mean 'shadow'?"),
        (RULE % ", timezone: UTC", "2:56: rule 'r': a sliding window is the same in every zone; write window: day, week or month, or remove 'timezone'"),
        (RULE % ", window: day, timezone: Zürich", "2:79: rule 'r': 'Zürich' is no time zone; did you mean 'Europe/Zurich'?"),
        (RULE % ", baseline: {window: 7d}", "2:38: rule 'r': 'condition' should be below_baseline or above_baseline, as the rule has a 'baseline'"),
        (RULE % ", forecast: true", "2:56: rule 'r': only what ends can be foretold; write window: day, week or month"),
        (RULE % ", forecast: true, window: month, aggregate: avg", "2:56: rule 'r': the pace of a sum can be foretold, not of avg; write aggregate: sum or count"),
        (RULE % ", bound: upper_bound", "2:56: rule 'r': 'bound' belongs to a rule with 'sql'; remove it, or write the query"),
        (RULE % ", query: select", "2:56: rule 'r': unknown key 'query'; here it is 'sql'"),
        (RULE % ", window: month, aggregate: rate", "2:82: rule 'r': a month that goes on has no rate; write aggregate: sum, or a window like 30d"),
        (RULE % ", window: week, no_data: alert", "2:79: rule 'r': every week begins without a sample; write a sliding window, like window: 7d"),
        (RULE % ", window: 5", "2:64: rule 'r': '5' is no duration; write a number and a unit, like 30s, 5m or 1h30m"),
        (RULE % ", for: null", "2:61: rule 'r': nothing is written here; write a value, or remove the key"),
        (RULE % ", enabled: maybe", "2:65: rule 'r': should be true or false"),
        (RULE % ", min_samples: 0", "2:69: rule 'r': should be at least 1"),
        (RULE % ", spans: tols", "2:63: rule 'r': 'tols' is not one of llm, embeddings, tool, retrieval, agent, chain, memory, evaluation, any; did you mean 'tool'?"),
        (RULE % ", group_by: [a, b c]", "2:70: rule 'r': 'b c' is no label; write a short name, like conversation, or an attribute's key"),
        (RULE % ", group_by: [a, b or a]", "2:66: rule 'r': 'a' stands here twice; name each label once"),
        (RULE % ", filters: {tenant: }", "2:73: rule 'r': no value; write '*' for any value, or '!*' for samples without it"),
        (RULE % ", filters: {tenant: []}", "2:74: rule 'r': an empty list, which nothing passes; name a value, or remove the label"),
        (RULE % ", filters: {tenant: [a, [b]]}", "2:78: rule 'r': should be one value, not a list or a mapping"),
        (RULE % ", filters: {a b: c}", "2:66: rule 'r': 'a b' is no label; write a short name, like conversation, or an attribute's key"),
        (RULE % ", filters: {n: '>many'}", "2:69: rule 'r': '>many' compares with no number; write one, or '=' before text that begins with the sign"),
        (RULE % ", runbook_url: wiki", "2:69: rule 'r': should be a URL that begins with http:// or https://"),
        (RULE % ", levels: [{severity: low}]", "2:65: rule 'r': 'threshold' is missing; add it"),
        (RULE % ", actions: [{blok: a}]", "2:66: rule 'r': 'block' is missing; add it"),
        (RULE % ", aggregate: p100", "2:67: rule 'r': 'p100' is not one of sum, avg, min, max, count, stddev, rate, last, p50 … p99.9"),
        (RULE % ", attribute: a b", "2:67: rule 'r': should be an attribute's key: 1 to 255 characters without spaces, like app.my.number"),
        ("rules: [{name: a/b, metric: cost, condition: gt, threshold: 1}]", "1:16: rule 'a/b': should be 1 to 120 printable characters without '/' and without spaces at its ends"),
        ("rules: [{metric: cost, condition: gt, threshold: 1}]", "1:9: rule 1: 'name' is missing; add it"),
        ("rules: [{name: r, metric: coost, condition: gt, threshold: 1}]", "1:27: rule 'r': 'coost' is not one of cost, latency, error_rate, success_rate, tokens, input_tokens, output_tokens, cached_tokens, reasoning_tokens, count, cost_per_trace, time_to_first_token, judge_score, relevance_score, top_score, retrieved_count, unpriced_ratio, cost_mismatch; did you mean 'cost'?"),
        ("rules: [{name: r, metric: a.b, condition: gt, threshold: 1}]", "1:27: rule 'r': 'a.b' is no metric; to measure an attribute, write 'attribute: a.b' instead"),
        ("rules: [{name: r, metric: cost, threshold: 1}]", "1:9: rule 'r': 'condition' is missing; add it"),
        ("rules:\n- name: r\n  metric: cost\n  condition: >\n  threshold: 1\n", "4:14: rule 'r': nothing is written here; a bare '>' begins a text block in YAML: write gt, or quote it: '>'"),
    ],
)  # fmt: skip
def test_says_where_what_and_what_to_do(text: str, problem: str) -> None:
    assert problem in problems_of(text)


def test_tells_every_problem_of_every_file_in_order(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "b.yaml").write_text(
        "rules:\n- {name: one, metric: cost, condition: gt, threshold: 5%}\nx: 1\n"
    )
    (tmp_path / "rules" / "a.yaml").write_text("rules: [\n")
    main = tmp_path / "main.yaml"
    main.write_text(
        "rule_files: [rules/*.yaml]\nlog: {level: x}\n"
        "rules:\n- {name: one, metric: cost, condition: gt, threshold: 1, notify: [nobody]}\n- {name: two}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(main, environ={})
    shown = [problem.removeprefix(f"{tmp_path}/") for problem in caught.value.problems]
    assert [problem.split(": ")[0] for problem in shown] == [
        "main.yaml:2:14",
        "main.yaml:4:67",
        "main.yaml:5:3",
        "rules/a.yaml:2:1",
        "rules/b.yaml:2:10",
        "rules/b.yaml:2:55",
        "rules/b.yaml:3:1",
    ]
    assert shown[4] == (
        f"rules/b.yaml:2:10: rule 'one': project 'default' has a rule of this name at {main}:4; rename one"
    )
    assert shown[6] == "rules/b.yaml:3:1: unknown key 'x'; remove it; a rule file holds only 'rules'"


def test_rules_of_other_projects_may_share_a_name() -> None:
    rules = "- {name: r, project: %s, metric: cost, condition: gt, threshold: 1}\n"
    assert len(loaded("rules:\n" + rules % "a" + rules % "b").rules) == 2


def test_ten_thousand_mistakes_are_not_all_told() -> None:
    found = problems_of("rules:\n" + "- {}\n" * 150)
    assert len(found) == 101
    assert found[-1] == "… and 50 more problems"


def test_a_disabled_rule_is_checked_and_not_run() -> None:
    found = loaded(RULE % ", enabled: false")
    assert (len(found.configuration.rules), found.rules) == (1, ())
    assert problems_of(RULE % ", enabled: false, window: 5")


def test_doubtful_things_are_warned_of() -> None:
    found = loaded(RULE % ", group_by: conversaton, filters: {tennant: x, app.tennant: y}, spans: tool")
    assert found.warnings == (
        "c.yaml:2:3: rule 'r': notifies nobody: its alerts are only recorded",
        "c.yaml:2:89: rule 'r': 'tennant' is taken for an attribute's key; did you mean 'tenant'?",
        "c.yaml:2:66: rule 'r': 'conversaton' is taken for an attribute's key; did you mean 'conversation'?",
    )


def test_a_pattern_that_finds_nothing_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("rule_files: ['rules/*.yaml']\n")
    assert load(tmp_path / "c.yaml").warnings == (f"{tmp_path}/c.yaml:1:14: no file matches 'rules/*.yaml'",)


def test_a_bare_rule_file_can_be_checked_alone(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULE % ", notify: oncall")
    assert len(Loader(file, environ={}).check().rules) == 1
    with pytest.raises(ConfigError, match="no contact point 'oncall'"):
        load(file)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xff\xfe\x00", "1:1: not UTF-8; save the file as UTF-8"),
        (b"a: 1\nb: \xc3\x28", "2:4: not UTF-8; save the file as UTF-8"),
        (b"#" * (10 * 1024 * 1024 + 1), "1:1: is larger than 10240 KiB; make it smaller"),
        (b"\xef\xbb\xbfrule: 1", "1:1: unknown key 'rule'; did you mean 'rules'?"),
    ],
)  # fmt: skip
def test_bytes_that_are_no_configuration(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "c.yaml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "c.yaml")
    assert caught.value.problems == (f"{tmp_path}/c.yaml:{says}",)


def test_a_directory_or_device_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a directory; name a file"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="not a regular file"):
        load(Path("/dev/zero"))


def test_brackets_in_a_directorys_name_are_no_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "a[b]*"
    folder.mkdir()
    (folder / "c.yaml").write_text("rule_files: ['*.yaml']\n")
    (folder / "r.yaml").write_text(RULE % "")
    assert [rule.name for rule in load(folder / "c.yaml").rules] == ["r"]


def test_what_needs_a_restart_is_named() -> None:
    old = loaded("api: {endpoint: 127.0.0.1:1}\nlog: {level: info}\n").configuration
    new = loaded(
        "api: {endpoint: 127.0.0.1:2}\nstorage: {directory: x}\nreceivers: {otlp: {grpc: {read_timeout: 5s}, http: null}}\n"
        "log: {level: debug}\ntrace_url: https://x.example/{trace_id}\n"
    ).configuration
    assert needs_restart(old, new) == (
        "receivers.otlp.grpc.read_timeout",
        "receivers.otlp.http",
        "api.endpoint",
        "storage.directory",
    )
    assert needs_restart(old, old) == ()
