package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

type probeOptions struct {
	target, listen, prefix, feature string
	count                           int
	output                          int64
	interval, wait                  time.Duration
	same                            bool
}

// hit is one alert that a probe span caused. Times are Unix nanoseconds of this machine's clock.
type hit struct {
	Conversation string  `json:"conversation"`
	Rule         string  `json:"rule"`
	Value        float64 `json:"value"`
	Samples      int     `json:"samples"`
	Sent         int64   `json:"sent"`     // just before the export call
	Acked        int64   `json:"acked"`    // when it returned
	Received     int64   `json:"received"` // when the webhook's body had been read
}

type probeResult struct {
	Sent      int            `json:"sent"`
	Errors    map[string]int `json:"errors"`
	Detection percentiles    `json:"detection_ms"` // span sent -> webhook received
	Ack       percentiles    `json:"acknowledged_ms"`
	Engine    percentiles    `json:"arrival_to_detection_ms"` // as the webhook itself says
	Hits      []hit          `json:"hits"`
}

// probe sends spans that each cross a rule's threshold, and is itself the webhook's receiver: both ends are on one
// clock. `-same` sends all of them in one conversation, so that only their sum crosses.
func probe(arguments []string) (any, error) {
	o, err := parseProbe(arguments)
	if err != nil {
		return nil, err
	}
	clients, err := dial(o.target, 1)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return nil, err
	}
	board := &board{sent: map[string]*hit{}, errors: map[string]int{}}
	server := &http.Server{Handler: board, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	if err := board.fire(o, clients[0]); err != nil {
		return nil, err
	}
	expected := o.count
	if o.same {
		expected = 1
	}
	for deadline := time.Now().Add(o.wait); board.received() < expected && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	return board.result(o.count), nil
}

func parseProbe(arguments []string) (probeOptions, error) {
	var o probeOptions
	flags := flag.NewFlagSet("probe", flag.ContinueOnError)
	flags.StringVar(&o.target, "target", "127.0.0.1:4317", "host:port of the server, on this machine")
	flags.StringVar(&o.listen, "listen", "127.0.0.1:9000", "host:port where webhooks are received")
	flags.StringVar(&o.prefix, "prefix", "probe", "start of the conversations' names")
	flags.StringVar(&o.feature, "feature", "probe", "the attribute app.feature, for rules that filter by it")
	flags.IntVar(&o.count, "count", 300, "spans to send, at most 100000")
	flags.Int64Var(&o.output, "output-tokens", 200_000_000, "of a span; a million costs $10")
	flags.DurationVar(&o.interval, "interval", 25*time.Millisecond, "mean time between spans")
	flags.DurationVar(&o.wait, "wait", 10*time.Second, "for the last webhooks, at most 2m")
	flags.BoolVar(&o.same, "same", false, "one conversation for all spans")
	if err := flags.Parse(arguments); err != nil {
		return o, err
	}
	if o.count < 1 || o.count > 100_000 || o.wait > 2*time.Minute {
		return o, errors.New("-count is 1 to 100000, -wait at most 2m")
	}
	return o, requireLoopback(o.listen)
}

// board remembers what was sent and what came back.
type board struct {
	mutex  sync.Mutex
	sent   map[string]*hit
	hits   []*hit
	engine []float64
	errors map[string]int
}

func (b *board) fire(o probeOptions, client *grpc.ClientConn) error {
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	warm := probeCall(random, o, "warm-up", 1)
	if err := export(client, warm); err != nil { // opens the connection outside the measurement
		return fmt.Errorf("the server does not take spans: %w", err)
	}
	var group sync.WaitGroup
	for i := range o.count {
		name := o.prefix
		if !o.same {
			name = fmt.Sprintf("%s-%06d", o.prefix, i)
		}
		data := probeCall(random, o, name, o.output)
		group.Go(func() { b.exportOne(client, name, data) })
		// Between half and one and a half of the interval: never in step with a timer of the server.
		time.Sleep(o.interval/2 + time.Duration(random.Int64N(int64(o.interval)+1)))
	}
	group.Wait()
	return nil
}

func probeCall(random *rand.Rand, o probeOptions, conversation string, output int64) []byte {
	c := randomCall(random, 0)
	c.model, c.input, c.cached, c.output, c.failed = models[0], 1, 0, output, false
	c.conversation, c.tenant, c.feature = conversation, "tenant-probe", o.feature
	c.end = uint64(time.Now().UnixNano())
	c.start = c.end - uint64(time.Second)
	data, err := proto.Marshal(requestOf([]*trace.Span{c.span()}))
	if err != nil {
		panic(err) // our own message
	}
	return data
}

func export(client *grpc.ClientConn, data []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var answer []byte
	return client.Invoke(ctx, exportMethod, data, &answer)
}

func (b *board) exportOne(client *grpc.ClientConn, name string, data []byte) {
	entry := &hit{Conversation: name, Sent: time.Now().UnixNano()}
	b.mutex.Lock()
	b.sent[name] = entry
	b.mutex.Unlock()
	err := export(client, data)
	acked := time.Now().UnixNano()
	b.mutex.Lock()
	defer b.mutex.Unlock()
	entry.Acked = acked
	if err != nil {
		b.errors[err.Error()]++
	}
}

// ServeHTTP takes a webhook of version 1.
func (b *board) ServeHTTP(response http.ResponseWriter, request *http.Request) {
	var body struct {
		Event   string                `json:"event"`
		Rule    struct{ Name string } `json:"rule"`
		Group   map[string]string     `json:"group"`
		Value   float64               `json:"value"`
		Samples int                   `json:"samples"`
		Delay   map[string]*float64   `json:"delay_ms"`
	}
	data, err := io.ReadAll(request.Body)
	received := time.Now().UnixNano()
	if err == nil {
		err = json.Unmarshal(data, &body)
	}
	if err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	b.mutex.Lock()
	defer b.mutex.Unlock()
	entry := b.sent[body.Group["conversation"]]
	if body.Event != "firing" || entry == nil {
		return
	}
	seen := *entry
	seen.Rule, seen.Value, seen.Samples, seen.Received = body.Rule.Name, body.Value, body.Samples, received
	b.hits = append(b.hits, &seen)
	if delay := body.Delay["arrival_to_detection"]; delay != nil {
		b.engine = append(b.engine, *delay)
	}
}

func (b *board) received() int {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return len(b.hits)
}

func (b *board) result(count int) probeResult {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	result := probeResult{Sent: count, Errors: b.errors, Hits: []hit{}}
	var detection, acked []float64
	for _, h := range b.hits {
		seen := *h
		seen.Acked = b.sent[h.Conversation].Acked
		result.Hits = append(result.Hits, seen)
		detection = append(detection, float64(seen.Received-seen.Sent)/1e6)
		acked = append(acked, float64(seen.Acked-seen.Sent)/1e6)
	}
	result.Detection, result.Ack, result.Engine = percentilesOf(detection), percentilesOf(acked), percentilesOf(b.engine)
	return result
}
