"""What has no meaning for a rule is refused, at the place where it stands, with what works instead."""

import pytest

from tocsin.rules.promql import compile_promql
from tocsin.rules.promql.functions import SUPPORTED, advice_for
from tocsin.rules.refusals import QueryError, Refusal


def refusals(text: str, *group_by: str) -> tuple[Refusal, ...]:
    with pytest.raises(QueryError) as raised:
        compile_promql(text, tuple((label,) for label in group_by))
    return raised.value.refusals


REFUSED = [
    # Functions.
    ("irate(x[5m]) > 1", "irate", "use rate over a short range"),
    ("idelta(x[5m]) > 1", "idelta", "avg_over_time of two windows"),
    ("delta(x[5m]) > 1", "delta", "with the same and offset"),
    ("deriv(x[5m]) > 1", "deriv", "compare two windows"),
    ("predict_linear(x[5m], 60) > 1", "predict_linear", "`forecast: true`"),
    ("holt_winters(x[5m], 0.5, 0.5) > 1", "holt_winters", "`baseline:`"),
    ("double_exponential_smoothing(x[5m], 0.5, 0.5) > 1", "double_exponential_smoothing", "`baseline:`"),
    ("changes(x[5m]) > 1", "changes", "use rate or increase"),
    ("resets(x[5m]) > 1", "resets", "use rate or increase"),
    ('label_replace(x, "a", "b", "c", "d") > 1', "label_replace", "use short names"),
    ('label_join(x, "a", "b", "c") > 1', "label_join", "use short names"),
    ("timestamp(x) > 1", "timestamp", "absent_over_time"),
    ("hour() > bool 8", "hour", "mute timings"),
    ("x > on () day_of_week()", "day_of_week", "mute timings"),
    ("sin(x) > 1", "sin", "no trigonometry"),
    ("histogram_avg(x) > 1", "histogram_avg", "use histogram_quantile"),
    ("first_over_time(x[5m]) > 1", "first_over_time", "last_over_time with offset"),
    ("mad_over_time(x[5m]) > 1", "mad_over_time", "stddev_over_time"),
    ("sort_by_label(x) > 1", "sort_by_label", "leave it out"),
    ("nonsense(x) > 1", "nonsense", "no function is called nonsense()"),
    ("avg_over_tme(x[5m]) > 1", "avg_over_tme", "did you mean avg_over_time()?"),
    # Aggregations.
    ('count_values("a", x) > 1', "count_values", "compare with each value"),
    ("limitk(3, x) > 1", "limitk", "use topk or bottomk"),
    ("limit_ratio(0.5, x) > 1", "limit_ratio", "use topk or bottomk"),
    ("max(avg_over_time(x[5m])) > 1", "max", "max_over_time"),
    ("count(x) > 1", "count", "count_over_time"),
    ("sum(x) > 1", "sum", "sum(increase(…))"),
    ("topk(3, x) > 1", "topk", "name it in group_by"),
    # Modifiers.
    ("x @ 12 > 1", "@ 12", "use offset"),
    ("x @ start() > 1", "@ start()", "use offset"),
    ("rate(x[5m] @ end()) > 1", "@ end()", "use offset"),
    ("x offset -5m > 1", "offset -5m", "use a positive one"),
    ("x offset 2y > 1", "offset 2y", "at most 366d"),
    ("rate(x[10ms]) > 1", "[10ms]", "1s to 366d"),
    ("rate(x[2y]) > 1", "[2y]", "1s to 366d"),
    ("max_over_time(rate(x[5m])[1h:1m]) > 1", "[1h:1m]", "which no window keeps"),
    ("x[5m]", "[5m]", "say which one"),
    ("x + fill(0) y > 1", "fill", "what is missing is not filled in"),
    # Matchers.
    ('x{a="b" or a="c"} > 1', 'x{a="b" or a="c"}', "use a regular expression"),
    ('{a="b"} > 1', '{a="b"}', "name it before the braces"),
    ('{__name__=~"a|b"} > 1', '__name__=~"a|b"', "a rule measures one metric"),
    ('x{a=~"b|"} > 1', 'a=~"b|"', "as well"),
    ('x{a=~"(?=b)"} > 1', '"(?=b)"', "not an RE2 expression"),
    ('x{trace="4bf9"} > 1', 'trace="4bf9"', "group by it instead"),
    ('x{job="api"} > 1', 'job="api"', "use service"),
    ('x{span_name="GET"} > 1', 'span_name="GET"', "use operation"),
    ('rate(calls_total{status_code="STATUS_CODE_OK"}[5m]) > 1', 'status_code="STATUS_CODE_OK"', "failed or did not"),
    ('rate(gen_ai_client_token_usage_sum{gen_ai_token_type=~"in.*"}[5m]) > 1', 'gen_ai_token_type=~"in.*"', "with ="),
    # Buckets.
    ('rate(x_bucket{le="0.5"}[5m]) > 1', 'le="0.5"', "compare a percentile"),
    ("rate(x_bucket[5m]) > 1", "x_bucket[5m]", "use histogram_quantile"),
    ("sum by (le) (rate(x_bucket[5m])) > 1", "x_bucket[5m]", "histogram_quantile"),
    ("sum by (le) (rate(x[5m])) * on (le) y > 1", "le", "histogram_quantile"),
    ("histogram_quantile(0.9, sum by (model) (rate(x_bucket[5m]))) > 1", "sum by (model) (rate(x_bucket[5m]))", "le"),
    ("histogram_quantile(0.9, avg by (le) (rate(x_bucket[5m]))) > 1", "avg", "only ever added up"),
    ("histogram_quantile(0.9, x_bucket) > 1", "x_bucket", "takes rate or increase"),
    ("histogram_quantile(95, rate(x_bucket[5m])) > 1", "95", "no share"),
    ("histogram_quantile(scalar(y), rate(x_bucket[5m])) > 1", "scalar(y)", "written here"),
    ("quantile_over_time(1.5, x[5m]) > 1", "1.5", "no share"),
    # Metrics.
    ("x_sum > 1", "x_sum", "use increase(x_sum[5m])"),
    ("avg_over_time(x_total[5m]) > 1", "x_total[5m]", "quoted: {"),
    ("count > 1", "count", "sum_over_time(count[5m])"),
    ("cost_per_trace > 1", "cost_per_trace", "avg_over_time(cost_per_trace[1h])"),
    ("max_over_time(error_rate[5m]) > 1", "error_rate[5m]", "avg_over_time(error_rate[5m])"),
    ("job:x:rate5m > 1", "job:x:rate5m", "recording rule"),
    ("a_b_c_d_e_f_g_h > 1", "a_b_c_d_e_f_g_h", 'quote its own name: {"a.b.c.d.e.f.g.h"}'),
    ("sum by (a_b_c_d_e_f_g_h) (rate(x[5m])) > 1", "a_b_c_d_e_f_g_h", "may stand for 128 attributes"),
    ("rate(gen_ai_client_token_usage_count[5m]) > 1", "gen_ai_client_token_usage_count[5m]", "counts input and output"),
    ("gen_ai_server_time_per_output_token > 1", "gen_ai_server_time_per_output_token", "time_to_first_token"),
    ("sum by (gen_ai_token_type) (rate(x[5m])) > 1", "gen_ai_token_type", "a rule for input_tokens"),
    ("sum by (status_code) (rate(x[5m])) > 1", "status_code", "error_rate"),
    # Labels that do not go together.
    ("sum by (model) (rate(x[5m])) / sum(rate(y[5m])) > 1", "/", "/ on ()"),
    ("sum by (model) (rate(x[5m])) / on () sum(rate(y[5m])) > 1", "/", "write group_left"),
    ("sum by (model) (rate(x[5m])) and sum(rate(y[5m])) > 1", "and", "and on ()"),
    ("sum by (model) (rate(x[5m])) or vector(0)", "or", "no groups of one rule"),
    ("sum by (model) (rate(x[5m])) * on (tenant) sum by (model) (rate(y[5m])) > 1", "*", "differ in model"),
    ("sum by (model) (rate(x[5m])) * on () group_left (plan) sum(rate(y[5m])) > 1", "group_left (plan)", "no plan"),
    # What is no alert.
    ("5", "5", "a number without labels is no alert"),
    ("time()", "time()", "a number without labels is no alert"),
    ('"text"', '"text"', "no alert"),
    # No PromQL.
    ("", "", "nothing is written here"),
    ("x > 5 and", "d", "it ends too early"),
    ("sum(x", "(", "unclosed"),
    ("x) > 5", ")", "unexpected right parenthesis"),
    ("x y", "y", "can't stand here"),
    ("x > > 5", ">", "can't stand here"),
    ("x ! 5", "!", "not PromQL"),
    ("1 > 2", "1 > 2", "BOOL"),
    ("rate(x) > 1", "rate", "expected type matrix"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "advice"), REFUSED)
def test_what_has_no_meaning_is_refused_where_it_stands(text: str, place: str, advice: str) -> None:
    first = refusals(text)[0]
    assert text[first.begin : first.end] == place
    assert advice in first.text
    assert first.clause or not text


def test_every_mistake_is_told() -> None:
    text = 'irate(x[5m]) + y @ 5 + rate(z_bucket{le="1"}[5m]) > changes(x[5m])'
    found = refusals(text)
    assert [text[each.begin : each.end] for each in found] == ["irate", "@ 5", 'le="1"', "changes"]


def test_a_mistake_in_the_third_line_is_found_there() -> None:
    text = "avg_over_time(latency[5m]) > 5\nand\n  # the second term\n  irate(x[5m]) > 1"
    assert text[: refusals(text)[0].begin].count("\n") == 3


def test_a_label_of_the_rule_that_the_result_lacks_is_refused() -> None:
    found = refusals("sum by (tenant) (rate(cost[5m])) > 1", "model")
    assert "grouped by model, which the result lacks" in found[0].text


def test_long_and_deep_texts_are_refused_before_the_parser_recurses() -> None:
    assert "too many" in refusals("(" * 50_000 + "x" + ")" * 50_000)[0].text
    assert "nested more than" in refusals("(" * 150 + "x" + ")" * 150)[0].text
    assert "nested more than" in refusals(" + ".join(["x"] * 300))[0].text


def test_no_supported_function_has_advice_against_it() -> None:
    assert not [name for name in SUPPORTED if "has no equivalent" in advice_for(name)]
