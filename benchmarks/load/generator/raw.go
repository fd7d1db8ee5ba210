package main

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
)

const exportMethod = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

// raw passes messages as the bytes they are: what is measured is the server, not this program's encoder.
type raw struct{}

func (raw) Marshal(message any) (mem.BufferSlice, error) {
	switch message := message.(type) {
	case []byte:
		return mem.BufferSlice{mem.SliceBuffer(message)}, nil
	default:
		return nil, fmt.Errorf("raw codec: cannot send a %T", message)
	}
}

func (raw) Unmarshal(data mem.BufferSlice, message any) error {
	switch message := message.(type) {
	case *[]byte:
		*message = data.Materialize()
		return nil
	case *dropped:
		*message = dropped(data.Len())
		return nil
	default:
		return fmt.Errorf("raw codec: cannot receive a %T", message)
	}
}

// Name is that of the standard codec, so that the content type is what every server expects.
func (raw) Name() string { return "proto" }

// dropped is a received message of which only the length is kept.
type dropped int

func dial(target string, connections int) ([]*grpc.ClientConn, error) {
	if err := requireLoopback(target); err != nil {
		return nil, err
	}
	clients := make([]*grpc.ClientConn, connections)
	for i := range clients {
		client, err := grpc.NewClient("passthrough:///"+target, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{}), grpc.WaitForReady(true)))
		if err != nil {
			return nil, err
		}
		clients[i] = client
	}
	return clients, nil
}
