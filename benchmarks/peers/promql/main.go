// Answers PromQL with Prometheus' own engine over series that come with the question, for tests that compare with it.
//
// A line of JSON in, a line of JSON out, in the same order:
//
//	{"series": [{"labels": {"__name__": "x"}, "samples": [[1000, "1.5"], …]}], "questions": [{"expr": "x", "at": 2000}]}
//	{"answers": [{"error": ""|"…", "elements": [{"labels": {…}, "value": "1.5"}]}]}
//
// Times are Unix milliseconds. Values are texts, because JSON has neither NaN nor Inf.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

type seriesText struct {
	Labels  map[string]string `json:"labels"`
	Samples [][2]any          `json:"samples"`
}

type question struct {
	Expr string `json:"expr"`
	At   int64  `json:"at"`
}

type request struct {
	Series    []seriesText `json:"series"`
	Questions []question   `json:"questions"`
}

type element struct {
	Labels map[string]string `json:"labels"`
	Value  string            `json:"value"`
}

type answer struct {
	Error    string    `json:"error"`
	Elements []element `json:"elements"`
}

type sample struct {
	t int64
	f float64
}

func (s sample) ST() int64                     { return 0 }
func (s sample) T() int64                      { return s.t }
func (s sample) F() float64                    { return s.f }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }

// memory is a storage that holds one request's series.
type memory []storage.Series

func (m memory) Querier(_, _ int64) (storage.Querier, error) {
	return &storage.MockQuerier{SelectMockFunction: m.selected}, nil
}

func (m memory) selected(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	var found []storage.Series
	for _, each := range m {
		if !slices.ContainsFunc(matchers, func(one *labels.Matcher) bool {
			return !one.Matches(each.Labels().Get(one.Name))
		}) {
			found = append(found, each)
		}
	}
	return &seriesSet{series: found, at: -1}
}

type seriesSet struct {
	series []storage.Series
	at     int
}

func (s *seriesSet) Next() bool                        { s.at++; return s.at < len(s.series) }
func (s *seriesSet) At() storage.Series                { return s.series[s.at] }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }

func stored(texts []seriesText) (memory, error) {
	found := memory{}
	for _, text := range texts {
		samples := make([]chunks.Sample, 0, len(text.Samples))
		for _, pair := range text.Samples {
			value, err := strconv.ParseFloat(fmt.Sprint(pair[1]), 64)
			if err != nil {
				return nil, err
			}
			samples = append(samples, sample{int64(pair[0].(float64)), value})
		}
		found = append(found, storage.NewListSeries(labels.FromMap(text.Labels), samples))
	}
	return found, nil
}

func answered(engine *promql.Engine, series memory, asked question) answer {
	ctx := context.Background()
	query, err := engine.NewInstantQuery(ctx, series, nil, asked.Expr, time.UnixMilli(asked.At))
	if err != nil {
		return answer{Error: err.Error()}
	}
	defer query.Close()
	result := query.Exec(ctx)
	if result.Err != nil {
		return answer{Error: result.Err.Error()}
	}
	switch value := result.Value.(type) {
	case promql.Vector:
		found := []element{}
		for _, each := range value {
			found = append(found, element{each.Metric.Map(), written(each.F)})
		}
		return answer{Elements: found}
	case promql.Scalar:
		return answer{Elements: []element{{map[string]string{}, written(value.V)}}}
	default:
		return answer{Error: fmt.Sprintf("a %s", result.Value.Type())}
	}
}

func written(value float64) string { return strconv.FormatFloat(value, 'g', -1, 64) }

func main() {
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples:           1 << 24,
		Timeout:              time.Minute,
		LookbackDelta:        5 * time.Minute,
		EnableAtModifier:     true,
		EnableNegativeOffset: true,
		Parser:               parser.NewParser(parser.Options{}),
	})
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 1<<28)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked request
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		series, err := stored(asked.Series)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		answers := []answer{}
		for _, each := range asked.Questions {
			answers = append(answers, answered(engine, series, each))
		}
		if err := out.Encode(map[string]any{"answers": answers}); err != nil {
			os.Exit(2)
		}
	}
}
