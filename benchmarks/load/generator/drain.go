package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
)

// drain answers every call with an empty message and keeps nothing: the floor under every gRPC server in Go.
func drain(arguments []string) (any, error) {
	flags := flag.NewFlagSet("drain", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:4400", "host:port, on this machine")
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	if err := requireLoopback(*listen); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(raw{}), grpc.MaxRecvMsgSize(64<<20),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			var message dropped
			for {
				if err := stream.RecvMsg(&message); errors.Is(err, io.EOF) {
					return nil
				} else if err != nil {
					return err
				}
				if err := stream.SendMsg([]byte{}); err != nil {
					return err
				}
			}
		}))
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		select {
		case <-stop:
		case <-time.After(maxRun):
		}
		server.Stop()
	}()
	fmt.Fprintln(os.Stderr, "drain: ready on", listener.Addr())
	if err := server.Serve(listener); err != nil {
		return nil, err
	}
	return map[string]string{"drained": listener.Addr().String()}, nil
}
