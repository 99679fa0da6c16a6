// Sender is a client that batches nothing on the server's behalf: every message leaves in a DATA
// frame of its own, and every reply is compared with what was sent.
//
// Two transports: "grpc" is grpc-go as it is; "frames" writes HTTP/2 frames with
// golang.org/x/net/http2, which costs the generator's core less.
//
// It prints one JSON object: messages, seconds, bytes.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// raw passes messages through as they are.
type raw struct{}

func (raw) Marshal(value any) ([]byte, error) { return *value.(*[]byte), nil }
func (raw) Unmarshal(data []byte, value any) error {
	*value.(*[]byte) = data
	return nil
}
func (raw) Name() string { return "proto" }

type plan struct {
	address     string
	path        string
	connections int
	streams     int
	messages    int
	// pattern holds the messages; message number n of a stream is pattern[n % len(pattern)].
	pattern [][]byte
}

func main() {
	var (
		plan      plan
		transport string
		input     string
		timeout   time.Duration
	)
	flag.StringVar(&plan.address, "address", "", "host:port")
	flag.StringVar(&plan.path, "path", "", "/package.Service/Method")
	flag.IntVar(&plan.connections, "connections", 8, "")
	flag.IntVar(&plan.streams, "streams", 4, "per connection (transport grpc)")
	flag.IntVar(&plan.messages, "messages", 1000, "per stream")
	flag.StringVar(&transport, "transport", "grpc", "grpc or frames")
	flag.StringVar(&input, "input", "", "file of gRPC frames, sent over and over")
	flag.DurationVar(&timeout, "timeout", 30*time.Second, "")
	flag.Parse()

	time.AfterFunc(timeout, func() { fail(fmt.Errorf("not done within %s", timeout)) })
	content, err := os.ReadFile(input)
	if err != nil {
		fail(err)
	}
	for len(content) > 0 {
		length := int(content[1])<<24 | int(content[2])<<16 | int(content[3])<<8 | int(content[4])
		plan.pattern = append(plan.pattern, content[5:5+length])
		content = content[5+length:]
	}

	run := runGrpc
	if transport == "frames" {
		run = runFrames
		plan.streams = 1
	}
	start := time.Now()
	if err := run(plan); err != nil {
		fail(err)
	}
	elapsed := time.Since(start).Seconds()
	total := plan.connections * plan.streams * plan.messages
	received := 0
	for n := range plan.messages {
		received += 5 + len(plan.pattern[n%len(plan.pattern)])
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"messages": total,
		"seconds":  elapsed,
		"bytes":    received * plan.connections * plan.streams,
	})
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "sender:", err)
	os.Exit(1)
}

// together runs one function per number at once and returns the first error.
func together(count int, run func(number int) error) error {
	errors := make(chan error, count)
	var group sync.WaitGroup
	for number := range count {
		group.Go(func() {
			if err := run(number); err != nil {
				errors <- err
			}
		})
	}
	group.Wait()
	close(errors)
	return <-errors
}

func runGrpc(plan plan) error {
	return together(plan.connections, func(int) error {
		connection, err := grpc.NewClient(
			"passthrough:///"+plan.address,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})),
		)
		if err != nil {
			return err
		}
		defer connection.Close()
		return together(plan.streams, func(int) error { return chat(connection, plan) })
	})
}

func chat(connection *grpc.ClientConn, plan plan) error {
	description := grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	stream, err := connection.NewStream(context.Background(), &description, plan.path)
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		for n := range plan.messages {
			if err := stream.SendMsg(&plan.pattern[n%len(plan.pattern)]); err != nil {
				sent <- err
				return
			}
		}
		sent <- stream.CloseSend()
	}()
	var reply []byte
	for n := range plan.messages {
		if err := stream.RecvMsg(&reply); err != nil {
			return fmt.Errorf("reply %d: %w", n, err)
		}
		if !bytes.Equal(reply, plan.pattern[n%len(plan.pattern)]) {
			return fmt.Errorf("reply %d differs from what was sent", n)
		}
	}
	if err := stream.RecvMsg(&reply); err != io.EOF {
		return fmt.Errorf("where the end was due: %v", err)
	}
	return <-sent
}
