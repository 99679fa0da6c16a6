// Lookalike is an honest grpc-go client that an overzealous server would take for an attacker: at
// full rate it cancels one call in twenty, hedges another one in ten (two attempts, of which the
// slower is cancelled), and sends messages so large that grpc-go measures the path by PINGs.
//
// It prints one JSON object: calls that were answered, calls and attempts that it cancelled itself,
// and the errors that it cannot explain, the first of them in words.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const say = "/millrace.echo.v1.Echo/Say"

// raw passes messages through as they are.
type raw struct{}

func (raw) Marshal(value any) ([]byte, error) { return *value.(*[]byte), nil }
func (raw) Unmarshal(data []byte, value any) error {
	*value.(*[]byte) = data
	return nil
}
func (raw) Name() string { return "proto" }

var (
	answered   atomic.Int64
	cancelled  atomic.Int64
	hedged     atomic.Int64
	errorCount atomic.Int64
	firstError atomic.Pointer[string]
)

func unexpected(err error) {
	errorCount.Add(1)
	text := err.Error()
	firstError.CompareAndSwap(nil, &text)
}

// call asks for an echo of the message; an end that the caller wanted is none of its errors.
func call(ctx context.Context, connection *grpc.ClientConn, message []byte) bool {
	var reply []byte
	err := connection.Invoke(ctx, say, &message, &reply)
	switch {
	case err == nil && bytes.Equal(reply, message):
		answered.Add(1)
		return true
	case err == nil:
		unexpected(fmt.Errorf("a reply of %d bytes differs from what was sent", len(reply)))
	case status.Code(err) == codes.Canceled && ctx.Err() != nil:
		cancelled.Add(1)
	default:
		unexpected(err)
	}
	return false
}

// cancelSoon begins a call that would never end, and cancels it once it is under way.
func cancelSoon(connection *grpc.ClientConn, message []byte) {
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(
		context.Background(), "mode", "never-ends"))
	timer := time.AfterFunc(time.Duration(rand.IntN(2000))*time.Microsecond, cancel)
	call(ctx, connection, message)
	timer.Stop()
	cancel()
}

// hedge sends two attempts and cancels the slower one: the first never ends in every other case.
func hedge(connection *grpc.ClientConn, message []byte) {
	hedged.Add(1)
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	slow := ctx
	if rand.IntN(2) == 0 {
		slow = metadata.AppendToOutgoingContext(ctx, "mode", "never-ends")
	}
	group.Go(func() {
		if call(slow, connection, message) {
			cancel()
		}
	})
	group.Go(func() {
		if call(ctx, connection, message) {
			cancel()
		}
	})
	group.Wait()
	cancel()
}

// echo is an EchoRequest, which EchoReply repeats: field 2, bytes.
func echo(size int) []byte {
	message := []byte{2<<3 | 2}
	for rest := size; ; rest >>= 7 {
		if rest < 128 {
			message = append(message, byte(rest))
			break
		}
		message = append(message, byte(rest)|128)
	}
	return append(message, bytes.Repeat([]byte{7}, size)...)
}

func main() {
	address := flag.String("address", "", "host:port")
	seconds := flag.Float64("seconds", 10, "how long to go on")
	connections := flag.Int("connections", 2, "")
	lanes := flag.Int("lanes", 24, "concurrent calls of a connection")
	flag.Parse()

	small, large := echo(64), echo(200_000)
	end := time.Now().Add(time.Duration(*seconds * float64(time.Second)))
	var group sync.WaitGroup
	for range *connections {
		connection, err := grpc.NewClient(
			"passthrough:///"+*address,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})),
			// A lost connection is to be seen, not hidden.
			grpc.WithDisableRetry(),
		)
		if err != nil {
			fmt.Fprintln(os.Stderr, "lookalike:", err)
			os.Exit(1)
		}
		defer connection.Close()
		for lane := range *lanes {
			group.Go(func() {
				for number := 0; time.Now().Before(end) && errorCount.Load() < 100; number++ {
					switch {
					case number%20 == 0:
						cancelSoon(connection, small)
					case number%10 == 5:
						hedge(connection, small)
					case lane == 0:
						call(context.Background(), connection, large)
					default:
						call(context.Background(), connection, small)
					}
				}
			})
		}
	}
	group.Wait()
	report := map[string]any{
		"answered":  answered.Load(),
		"cancelled": cancelled.Load(),
		"hedged":    hedged.Load(),
		"errors":    errorCount.Load(),
	}
	if text := firstError.Load(); text != nil {
		report["firstError"] = *text
	}
	json.NewEncoder(os.Stdout).Encode(report)
}
