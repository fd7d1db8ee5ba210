"""Rules of fields: metric, aggregate, window and threshold; what does not go together refused."""

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Final

from tocsin.model.settings import nanoseconds
from tocsin.rules.baseline import baseline_question, name_of
from tocsin.rules.calendar import Calendar, Period
from tocsin.rules.config import Against, RuleConfig
from tocsin.rules.filters import Filter, parse_match
from tocsin.rules.levels import RISING, LevelReader
from tocsin.rules.measures import Aggregate, Condition, Metric, NoData, Sampling, Scope, unit_text
from tocsin.rules.problems import Mistakes
from tocsin.rules.question import Question, RuleContext, classes_of
from tocsin.rules.thresholds import parse_threshold
from tocsin.rules.vector import Expression, Language, Projected, Series

__all__ = ["default_aggregate", "filters_of", "measured_question"]

_SECOND_NS: Final = 1_000_000_000
_HOUR_NS: Final = 3600 * _SECOND_NS
_LONGEST_DAYS: Final = 366
_AVERAGED: Final = frozenset(
    {
        Metric.LATENCY,
        Metric.TIME_TO_FIRST_TOKEN,
        Metric.ERROR_RATE,
        Metric.SUCCESS_RATE,
        Metric.UNPRICED_RATIO,
        Metric.COST_MISMATCH,
        Metric.COST_PER_TRACE,
        Metric.JUDGE_SCORE,
        Metric.RELEVANCE_SCORE,
        Metric.TOP_SCORE,
        Metric.RETRIEVED_COUNT,
        Metric.ATTRIBUTE,
    }
)
_RATIOS: Final = frozenset({Metric.ERROR_RATE, Metric.SUCCESS_RATE, Metric.UNPRICED_RATIO})
_FROM_ATTRIBUTES: Final = frozenset(
    {Metric.JUDGE_SCORE, Metric.RELEVANCE_SCORE, Metric.TOP_SCORE, Metric.RETRIEVED_COUNT, Metric.ATTRIBUTE}
)
_SINGLE: Final = (Aggregate.SUM, Aggregate.MIN, Aggregate.MAX, Aggregate.LAST)
"""Aggregates that are the sample itself where there is only one."""
_COUNTED: Final = (Aggregate.SUM, Aggregate.COUNT)
_LEAST_ELAPSED_NS: Final = {Period.DAY: _HOUR_NS, Period.WEEK: 12 * _HOUR_NS, Period.MONTH: 24 * _HOUR_NS}
"""Before so much of a period has passed there is no pace to go by."""


def default_aggregate(metric: Metric) -> Aggregate:
    """Return how samples are combined where the rule does not say: a mean of what can't be added up."""
    return Aggregate.AVG if metric in _AVERAGED else Aggregate.SUM


def filters_of(config: RuleConfig, mistakes: Mistakes) -> tuple[Filter, ...]:
    """Return the filters of a rule of any kind."""
    found = []
    for label, texts in config.filters.items():
        if label == "trace":
            mistakes.tell(("filters", label), "a rule can't be about one trace; use group_by: trace", at_key=True)
        parsed = [
            mistakes.attempt(("filters", label, at), partial(parse_match, text), None) for at, text in enumerate(texts)
        ]
        found.append(Filter(label, tuple(match for match in parsed if match is not None)))
    return tuple(found)


def measured_question(config: RuleConfig, context: RuleContext, mistakes: Mistakes) -> Question:
    """Return what a rule of fields asks; where mistakes were added it is not to be used."""
    return _Reader(config, context, mistakes).question()


class _Reader:
    """One rule on its way."""

    def __init__(self, config: RuleConfig, context: RuleContext, mistakes: Mistakes) -> None:
        self.config = config
        self.tell: Callable[..., None] = mistakes.tell
        self.mistakes = mistakes
        self.sampling = config.sampling or context.sampling
        self.metric, self.attribute = self._measured()
        self.scope = self._scope()
        self.calendar = self._calendar(context)
        window = config.window
        self.window_ns = None if window is None or isinstance(window, Period) else nanoseconds(window)
        self.aggregate, self.quantile = self._aggregate()

    def question(self) -> Question:
        config = self.config
        self._check_window()
        filters = filters_of(config, self.mistakes)
        series = Series(
            self.metric,
            self.attribute,
            self.aggregate,
            self.quantile,
            self.window_ns or 0,
            config.group_by,
            filters,
            spans=classes_of(config),
            scope=self.scope,
            sampling=self.sampling,
            calendar=self.calendar,
        )
        if isinstance(config.condition, Against) or config.baseline is not None:
            return baseline_question(config, series, self.mistakes)
        condition = config.condition or Condition.GT
        parse = partial(parse_threshold, metric=self.metric, aggregate=self.aggregate)
        question = Question(
            metric=self.metric,
            attribute=self.attribute,
            aggregate=self.aggregate,
            quantile=self.quantile,
            scope=self.scope,
            spans=series.spans,
            window_ns=self.window_ns,
            calendar=self.calendar,
            group_by=config.group_by,
            filters=filters,
            condition=condition,
            levels=LevelReader(config, condition, parse, self.mistakes).levels(),
            min_samples=config.min_samples,
            no_data=config.no_data or NoData.KEEP,
        )
        if config.forecast:
            self._forecast(question, series)
        return question

    def _measured(self) -> tuple[Metric, str | None]:
        config = self.config
        if config.attribute is not None and config.metric is not None:
            self.tell(("attribute",), "'metric' and 'attribute' both say what is measured; keep one", at_key=True)
        if config.measured is not None:
            return config.measured
        if config.condition is not Condition.ABSENT:
            self.tell((), "nothing is measured; add 'metric', like metric: cost, or 'attribute'")
        return Metric.COUNT, None

    def _scope(self) -> Scope:
        scope = self.config.scope
        if self.metric is Metric.COST_PER_TRACE:
            if scope is Scope.SPAN:
                self.tell(("scope",), "cost_per_trace is a mean over traces; write scope: trace, or leave it out")
            return Scope.TRACE
        if self.metric is Metric.TIME_TO_FIRST_TOKEN and scope is Scope.TRACE:
            self.tell(("scope",), "time_to_first_token is known of spans only; write scope: span, or use latency")
        return scope or Scope.SPAN

    def _calendar(self, context: RuleContext) -> Calendar | None:
        config = self.config
        if isinstance(config.window, Period):
            return Calendar(config.window, config.timezone or context.timezone)
        if config.timezone is not None:
            text = "a sliding window is the same in every zone; write window: day, week or month, or remove 'timezone'"
            self.tell(("timezone",), text, at_key=True)
        if config.forecast:
            self.tell(("forecast",), "only what ends can be foretold; write window: day, week or month", at_key=True)
        return None

    def _aggregate(self) -> tuple[Aggregate, float | None]:
        word = self.config.aggregate
        if word is None:
            return default_aggregate(self.metric), None
        if word.startswith("p"):
            aggregate, quantile = Aggregate.QUANTILE, float(Decimal(word[1:]) / 100)
        else:
            aggregate, quantile = Aggregate(word), None
        if self.metric in _RATIOS and aggregate is not Aggregate.AVG:
            text = f"{self.metric} is a share of the samples; write aggregate: avg, or leave it out"
            self.tell(("aggregate",), text)
        elif self.metric is Metric.COUNT and aggregate not in (*_COUNTED, Aggregate.RATE):
            self.tell(("aggregate",), "count is 1 for every sample; write aggregate: sum or rate, or leave it out")
        elif self.metric is Metric.COST_PER_TRACE and aggregate is not Aggregate.AVG:
            text = "cost_per_trace is a mean; leave aggregate out, or write metric: cost with scope: trace"
            self.tell(("aggregate",), text)
        return aggregate, quantile

    def _check_window(self) -> None:
        if self.calendar is not None:
            self._check_calendar(self.calendar.period)
        elif self.window_ns is None:
            self._check_without_window()
        elif self.window_ns < _SECOND_NS:
            self.tell(("window",), "a window is at least 1s; write 1s or more, or leave it out to judge each sample")
        elif self.window_ns > _LONGEST_DAYS * 24 * _HOUR_NS:
            self.tell(("window",), f"a window is at most {_LONGEST_DAYS}d; write less")
        if self.config.sampling is Sampling.ADJUST and self.window_ns is None and self.calendar is None:
            self.tell(("sampling",), "adjusting for sampled traffic needs a 'window'; add one, or leave it out")

    def _check_calendar(self, period: Period) -> None:
        sliding = {Period.DAY: "1d", Period.WEEK: "7d", Period.MONTH: "30d"}[period]
        if self.config.condition is Condition.ABSENT:
            text = f"every {period} begins without a sample; write a sliding window, like window: {sliding}"
            self.tell(("window",), text)
        if self.config.no_data is NoData.ALERT:
            text = f"every {period} begins without a sample; write a sliding window, like window: {sliding}"
            self.tell(("no_data",), text)
        if self.aggregate is Aggregate.RATE:
            text = f"a {period} that goes on has no rate; write aggregate: sum, or a window like {sliding}"
            self.tell(("aggregate",), text)

    def _check_without_window(self) -> None:
        config = self.config
        if config.condition is Condition.ABSENT:
            self.tell(("condition",), "'absent' needs a 'window' that had no sample; add one, like window: 10m")
        elif isinstance(config.condition, Against):
            self.tell(("condition",), "a baseline needs a 'window' to compare with it; add one, like window: 1d")
        elif self.metric is Metric.COUNT:
            self.tell(("metric",), "a single sample counts 1; add a 'window' to count in, like window: 5m")
        elif self.metric is Metric.COST_PER_TRACE:
            text = "a mean over traces needs a 'window'; add one, or write metric: cost with scope: trace"
            self.tell(("metric",), text)
        elif config.aggregate is not None and not self._single():
            text = f"{config.aggregate} of a single sample means nothing; add a 'window', or leave aggregate out"
            self.tell(("aggregate",), text)
        if config.min_samples > 1:
            self.tell(("min_samples",), "without a 'window' there is one sample; add a window, or leave it out")
        if config.no_data is NoData.ALERT:
            self.tell(("no_data",), "without a 'window' nothing can be missing; add a window, or leave it out")

    def _single(self) -> bool:
        """Whether the aggregate means something for one sample; a trace combines its spans by it."""
        combines = self.scope is Scope.TRACE and self.metric in _FROM_ATTRIBUTES
        return self.aggregate in _SINGLE or (combines and self.aggregate is Aggregate.AVG)

    def _forecast(self, question: Question, series: Series) -> None:
        """Turn a question about what was spent into one about what will have been."""
        if self.calendar is None:
            return
        if question.condition not in RISING:
            text = f"a forecast grows, so that only gt and gte can be foretold, not {question.condition.value!r}"
            self.tell(("forecast",), text, at_key=True)
        if series.aggregate not in _COUNTED:
            text = f"the pace of a sum can be foretold, not of {series.aggregate.value}; write aggregate: sum or count"
            self.tell(("forecast",), text, at_key=True)
        if self.config.min_samples > 1:
            self.tell(("min_samples",), "a forecast counts time, not samples; remove 'min_samples'", at_key=True)
        period = self.calendar.period
        question.expression = Expression(
            Language.FORECAST,
            f"{name_of(series)} by the end of the {period}",
            Projected(series, _LEAST_ELAPSED_NS[period]),
            unit=unit_text(series.metric, series.aggregate),
        )
        question.metric, question.attribute = Metric.EXPRESSION, None
        question.aggregate, question.spans, question.filters = Aggregate.LAST, None, ()
        question.scope, question.calendar, question.min_samples = Scope.SPAN, None, 0
        question.no_data = self.config.no_data or NoData.OK
