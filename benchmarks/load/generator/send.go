package main

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

type sendOptions struct {
	target                                  string
	connections, inflight, spans, body      int
	conversations, tenants, total, attempts int
	rate                                    float64
	duration                                time.Duration
	sequential                              bool
	seed                                    uint64
}

// sendResult is the JSON that `load send` prints. Latencies are those of one request, in milliseconds; at a fixed rate
// they count from the time at which the request was due, so that a stalled server is not flattered.
type sendResult struct {
	Spans     int            `json:"spans"`        // sent, each counted once however often it was offered
	Acked     int            `json:"acknowledged"` // of them
	Rejected  int64          `json:"rejected"`     // by partial success
	Requests  int            `json:"requests"`
	Refused   int            `json:"refused"` // attempts answered UNAVAILABLE and repeated
	Errors    map[string]int `json:"errors"`  // requests given up, by status
	Bytes     int64          `json:"bytes"`
	Seconds   float64        `json:"seconds"`
	PerSecond float64        `json:"spans_per_second"`
	USD       float64        `json:"usd"` // what the acknowledged spans cost by the generator's prices
	Latency   percentiles    `json:"latency_ms"`
}

func send(arguments []string) (any, error) {
	options, err := parseSend(arguments)
	if err != nil {
		return nil, err
	}
	clients, err := dial(options.target, options.connections)
	if err != nil {
		return nil, err
	}
	workers, err := newWorkers(options, clients)
	if err != nil {
		return nil, err
	}
	runtime.GC() // what the templates left behind is not collected while the server is measured
	return run(options, workers), nil
}

func parseSend(arguments []string) (sendOptions, error) {
	var o sendOptions
	flags := flag.NewFlagSet("send", flag.ContinueOnError)
	flags.StringVar(&o.target, "target", "127.0.0.1:4317", "host:port of the server, on this machine")
	flags.IntVar(&o.connections, "connections", 2, "HTTP/2 connections")
	flags.IntVar(&o.inflight, "inflight", 8, "requests in flight at once, over all connections")
	flags.IntVar(&o.spans, "spans", 512, "spans in a request")
	flags.IntVar(&o.body, "body", 0, "bytes of messages in a span")
	flags.IntVar(&o.conversations, "conversations", 10_000, "distinct conversations, up to 1e9")
	flags.IntVar(&o.tenants, "tenants", 100, "distinct tenants, up to 1e5")
	flags.IntVar(&o.total, "total", 0, "stop after this many spans; 0: by time alone")
	flags.IntVar(&o.attempts, "attempts", 200, "how often a refused request is offered")
	flags.Float64Var(&o.rate, "rate", 0, "spans a second; 0: as fast as the server answers")
	flags.DurationVar(&o.duration, "duration", 5*time.Second, "stop after this time, at most 10m")
	flags.BoolVar(&o.sequential, "sequential", false, "visit the conversations one after the other")
	flags.Uint64Var(&o.seed, "seed", 1, "of the traffic's shape; ids are always new")
	if err := flags.Parse(arguments); err != nil {
		return o, err
	}
	if o.connections < 1 || o.inflight < 1 || o.spans < 1 || o.conversations < 1 || o.tenants < 1 || o.tenants > 1e5 {
		return o, errors.New("-connections, -inflight, -spans, -conversations and -tenants must be at least 1, -tenants at most 100000")
	}
	if o.duration > 10*time.Minute {
		return o, errors.New("-duration is at most 10m")
	}
	return o, nil
}

// worker sends one request at a time, each a template that only it writes to.
type worker struct {
	client    *grpc.ClientConn
	templates []*template
	walk      walk
	result    sendResult
	latencies []float64
}

// templateBudget bounds the memory of all templates: bodies of 16 kB make one request 8 MiB.
const templateBudget = 128 << 20

func newWorkers(o sendOptions, clients []*grpc.ClientConn) ([]*worker, error) {
	shape := rand.New(rand.NewPCG(o.seed, 0))
	each := max(1, min(64, templateBudget/(o.inflight*o.spans*(o.body+1500))))
	var position atomic.Uint64
	workers := make([]*worker, o.inflight)
	for i := range workers {
		w := &worker{client: clients[i%len(clients)], result: sendResult{Errors: map[string]int{}}}
		w.walk = walk{
			conversations: uint64(o.conversations), tenants: uint64(o.tenants), sequential: o.sequential,
			next: &position, random: rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(i))),
		}
		for range each {
			t, err := newTemplate(shape, o.spans, o.body)
			if err != nil {
				return nil, err
			}
			w.templates = append(w.templates, t)
		}
		workers[i] = w
	}
	return workers, nil
}

func run(o sendOptions, workers []*worker) sendResult {
	ctx, cancel := context.WithTimeout(context.Background(), o.duration+60*time.Second)
	defer cancel()
	pace := &pace{start: time.Now(), stop: o.duration, requests: uint64(o.total+o.spans-1) / uint64(o.spans)}
	if o.rate > 0 {
		pace.interval = time.Duration(float64(o.spans) / o.rate * float64(time.Second))
	}
	var group sync.WaitGroup
	for _, w := range workers {
		group.Go(func() { w.run(ctx, o, pace) })
	}
	group.Wait()
	return merged(workers, time.Since(pace.start))
}

// pace hands out the times at which requests are due.
type pace struct {
	start    time.Time
	stop     time.Duration
	interval time.Duration // 0: at once
	requests uint64        // 0: until time is up
	taken    atomic.Uint64
}

func (p *pace) next() (due time.Time, ok bool) {
	n := p.taken.Add(1) - 1
	if p.requests > 0 && n >= p.requests {
		return due, false
	}
	if p.interval == 0 {
		due = time.Now()
		return due, due.Sub(p.start) < p.stop
	}
	offset := time.Duration(n) * p.interval
	if offset >= p.stop {
		return due, false
	}
	due = p.start.Add(offset)
	time.Sleep(time.Until(due))
	return due, true
}

func (w *worker) run(ctx context.Context, o sendOptions, p *pace) {
	for i := 0; ctx.Err() == nil; i++ {
		due, ok := p.next()
		if !ok {
			return
		}
		t := w.templates[i%len(w.templates)]
		t.stamp(&w.walk)
		w.export(ctx, t, o.attempts)
		w.latencies = append(w.latencies, time.Since(due).Seconds()*1e3)
	}
}

// export offers a request until it is taken, as exporters do on UNAVAILABLE.
func (w *worker) export(ctx context.Context, t *template, attempts int) {
	w.result.Requests++
	w.result.Spans += len(t.spans)
	w.result.Bytes += int64(len(t.data))
	for attempt := 1; ; attempt++ {
		var answer []byte
		err := w.client.Invoke(ctx, exportMethod, t.data, &answer)
		if err == nil {
			rejected := rejectedSpans(answer)
			w.result.Rejected += rejected
			w.result.Acked += len(t.spans) - int(rejected)
			w.result.USD += t.usd
			return
		}
		t.data = append([]byte(nil), t.data...) // a failed call may still be reading the old bytes
		if status.Code(err) != codes.Unavailable || attempt == attempts || ctx.Err() != nil {
			w.result.Errors[status.Code(err).String()+": "+status.Convert(err).Message()]++
			return
		}
		w.result.Refused++
		time.Sleep(20 * time.Millisecond)
	}
}

func rejectedSpans(answer []byte) int64 {
	if len(answer) == 0 {
		return 0
	}
	var response collectortrace.ExportTraceServiceResponse
	if err := proto.Unmarshal(answer, &response); err != nil {
		return 0
	}
	return response.GetPartialSuccess().GetRejectedSpans()
}

func merged(workers []*worker, elapsed time.Duration) sendResult {
	total := sendResult{Errors: map[string]int{}, Seconds: elapsed.Seconds()}
	var latencies []float64
	for _, w := range workers {
		total.Spans += w.result.Spans
		total.Acked += w.result.Acked
		total.Rejected += w.result.Rejected
		total.Requests += w.result.Requests
		total.Refused += w.result.Refused
		total.Bytes += w.result.Bytes
		total.USD += w.result.USD
		for code, count := range w.result.Errors {
			total.Errors[code] += count
		}
		latencies = append(latencies, w.latencies...)
	}
	total.PerSecond = float64(total.Acked) / total.Seconds
	total.Latency = percentilesOf(latencies)
	return total
}
