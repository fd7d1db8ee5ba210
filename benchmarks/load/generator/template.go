package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// template is a serialised request whose ids, times, conversations and tenants are overwritten in place before each
// send, so that no two spans are duplicates and the generator costs next to nothing. One goroutine owns it.
type template struct {
	data  []byte
	spans []offsets
	usd   float64 // by the prices of `models`
}

// offsets says where the bytes stand that change from one send to the next.
type offsets struct {
	traceID, spanID, start, end, conversation, tenant, responseID int
	latency                                                       uint64
}

// newTemplate serialises a request of `spans` spans and finds the places to patch by the random values in them: they
// do not depend on the order in which the encoder writes fields.
func newTemplate(random *rand.Rand, spans, body int) (*template, error) {
	calls := make([]call, spans)
	messages := make([]*trace.Span, spans)
	result := &template{spans: make([]offsets, spans)}
	for i := range calls {
		calls[i] = randomCall(random, body)
		messages[i] = calls[i].span()
		result.usd += calls[i].model.cost(calls[i].input, calls[i].output, calls[i].cached)
	}
	data, err := proto.Marshal(requestOf(messages))
	if err != nil {
		return nil, err
	}
	result.data = data
	from := 0
	for i, c := range calls {
		o, err := locate(data, from, c)
		if err != nil {
			return nil, fmt.Errorf("span %d: %w", i, err)
		}
		o.latency = uint64(200*time.Millisecond) + random.Uint64N(uint64(4*time.Second))
		result.spans[i] = o
		from = o.traceID
	}
	return result, nil
}

func locate(data []byte, from int, c call) (offsets, error) {
	missing := false
	find := func(sentinel []byte) int {
		at := bytes.Index(data[from:], sentinel)
		missing = missing || at < 0
		return from + at
	}
	fixed := func(value uint64) []byte { return binary.LittleEndian.AppendUint64(nil, value) }
	result := offsets{
		traceID: find(c.traceID), spanID: find(c.spanID), start: find(fixed(c.start)), end: find(fixed(c.end)),
		conversation: find([]byte(c.conversation)) + len("conv-"), tenant: find([]byte(c.tenant)) + len("tenant-"),
		responseID: find([]byte(c.responseID)) + len("chatcmpl-"),
	}
	if missing {
		return result, errors.New("a value to patch was not found in the serialised request")
	}
	return result, nil
}

// walk chooses the conversation of each span: at random, or one after the other so that n spans touch n of them.
type walk struct {
	conversations, tenants uint64
	sequential             bool
	next                   *atomic.Uint64
	random                 *rand.Rand
}

func (w *walk) step() (conversation, tenant uint64) {
	if w.sequential {
		conversation = (w.next.Add(1) - 1) % w.conversations
	} else {
		conversation = w.random.Uint64N(w.conversations)
	}
	return conversation, conversation % w.tenants
}

// stamp makes every span of the request a new one that has just ended.
func (t *template) stamp(w *walk) {
	end := uint64(time.Now().UnixNano())
	for i := range t.spans {
		o := &t.spans[i]
		binary.LittleEndian.PutUint64(t.data[o.traceID:], w.random.Uint64()|1)
		binary.LittleEndian.PutUint64(t.data[o.traceID+8:], w.random.Uint64())
		binary.LittleEndian.PutUint64(t.data[o.spanID:], w.random.Uint64()|1)
		binary.LittleEndian.PutUint64(t.data[o.start:], end-o.latency)
		binary.LittleEndian.PutUint64(t.data[o.end:], end)
		conversation, tenant := w.step()
		putDecimal(t.data[o.conversation:o.conversation+9], conversation)
		putDecimal(t.data[o.tenant:o.tenant+5], tenant)
		putHex(t.data[o.responseID:o.responseID+16], w.random.Uint64())
	}
}

func putDecimal(to []byte, value uint64) {
	for i := len(to) - 1; i >= 0; i-- {
		to[i] = byte('0' + value%10)
		value /= 10
	}
}

func putHex(to []byte, value uint64) {
	const digits = "0123456789abcdef"
	for i := range to {
		to[i] = digits[value&15]
		value >>= 4
	}
}
