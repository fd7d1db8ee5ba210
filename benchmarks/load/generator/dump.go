package main

import (
	"bufio"
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"
)

// dump writes requests to a file, each after its length as a little-endian uint32: input for in-process benchmarks.
func dump(arguments []string) (any, error) {
	flags := flag.NewFlagSet("dump", flag.ContinueOnError)
	out := flags.String("out", "requests.bin", "file to write")
	requests := flags.Int("requests", 100, "how many")
	spans := flags.Int("spans", 512, "spans in a request")
	body := flags.Int("body", 0, "bytes of messages in a span")
	conversations := flags.Uint64("conversations", 10_000, "distinct conversations")
	tenants := flags.Uint64("tenants", 100, "distinct tenants")
	seed := flags.Uint64("seed", 1, "of the traffic's shape")
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	file, err := os.Create(*out)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	writer := bufio.NewWriter(file)
	shape := rand.New(rand.NewPCG(*seed, 0))
	walk := &walk{
		conversations: *conversations, tenants: *tenants, next: &atomic.Uint64{},
		random: rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0)),
	}
	for range *requests {
		t, err := newTemplate(shape, *spans, *body)
		if err != nil {
			return nil, err
		}
		t.stamp(walk)
		if err := binary.Write(writer, binary.LittleEndian, uint32(len(t.data))); err != nil {
			return nil, err
		}
		if _, err := writer.Write(t.data); err != nil {
			return nil, err
		}
	}
	return map[string]any{"file": *out, "requests": *requests, "spans": *requests * *spans}, writer.Flush()
}
