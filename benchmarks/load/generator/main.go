// Command load is the load generator of the whole-process benchmarks. It sends OTLP over gRPC to a server on this
// machine, and always stops by itself.
//
//	load send  -target 127.0.0.1:4317 -spans 512 -body 2048 -inflight 8 -duration 5s   full speed, or -rate N spans/s
//	load probe -target 127.0.0.1:4317 -listen 127.0.0.1:9000 -count 300                span sent -> webhook received
//	load drain -listen 127.0.0.1:4400                                                  a server that drops everything
//	load dump  -spans 512 -requests 100 -out requests.bin                              length-prefixed requests in a file
//
// Every command prints one JSON object. It is written in Go because a generator in Python is itself the bottleneck at
// ten spans a request.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"time"
)

// maxRun bounds every command, so that a forgotten one does not run on.
const maxRun = 15 * time.Minute

func main() {
	commands := map[string]func([]string) (any, error){"send": send, "probe": probe, "drain": drain, "dump": dump}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: load send|probe|drain|dump [flags]")
		os.Exit(2)
	}
	time.AfterFunc(maxRun, func() {
		fmt.Fprintln(os.Stderr, "load: stopped after", maxRun)
		os.Exit(3)
	})
	result, err := commands[os.Args[1]](os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// requireLoopback refuses addresses of other machines: a load generator must never be pointed at one by mistake.
func requireLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is no host:port: %w", address, err)
	}
	if host == "localhost" {
		return nil
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("%q is not on this machine; only 127.0.0.1 and localhost are accepted", address)
	}
	return nil
}
