// Nats is the load on a nats-server: one connection that publishes and, each with a connection of its
// own, subscribers that count what they get. The client is nats.go as it is.
//
// Every line of its input is a number of messages: it publishes as many, waits until every subscriber
// has all of them, and prints one JSON object: messages, deliveries, bytes, seconds. A subscriber that
// misses a message, or gets one out of order, ends the program.
//
// A nats-server does not hold a publisher back for its subscribers, so that this program does: it is
// never more than a window of messages ahead of the slowest of them.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	subject = "bench.fanout"
	// A window has as many steps, each of which all subscribers reach before the next window does.
	stepsPerWindow = 4
)

// subscriber counts, and tells when it has got to the end of a step.
type subscriber struct {
	next  uint64
	bytes uint64
}

// load is what the publisher and the subscribers share.
type load struct {
	subscribers []*subscriber
	size        int
	step        uint64
	// arrived counts the subscribers that are through with a step; steps take turns.
	arrived [2 * stepsPerWindow]atomic.Int64
	// through holds a token for each step that all subscribers have got to the end of.
	through chan struct{}
}

func main() {
	var (
		address     string
		subscribers int
		size        int
		window      int
		timeout     time.Duration
	)
	flag.StringVar(&address, "address", "", "host:port")
	flag.IntVar(&subscribers, "subscribers", 10, "")
	flag.IntVar(&size, "size", 128, "bytes of a message")
	flag.IntVar(&window, "window", 1024, "messages that may be on their way to a subscriber")
	flag.DurationVar(&timeout, "timeout", 60*time.Second, "for each line of input")
	flag.Parse()

	publisher, err := connect(address)
	if err != nil {
		fail(err)
	}
	load := &load{
		size: size, step: uint64(window / stepsPerWindow), through: make(chan struct{}, 2*stepsPerWindow),
	}
	for range subscribers {
		if err := load.subscribe(address); err != nil {
			fail(err)
		}
	}
	fmt.Println(`{"ready":true}`)

	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		messages, err := strconv.ParseUint(input.Text(), 10, 64)
		if err != nil {
			fail(err)
		}
		timer := time.AfterFunc(timeout, func() { fail(fmt.Errorf("not done within %s", timeout)) })
		report, err := load.run(publisher, messages)
		if err != nil {
			fail(err)
		}
		timer.Stop()
		json.NewEncoder(os.Stdout).Encode(report)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func connect(address string) (*nats.Conn, error) {
	return nats.Connect("nats://"+address, nats.NoReconnect(), nats.ErrorHandler(
		func(_ *nats.Conn, _ *nats.Subscription, err error) { fail(err) },
	))
}

func (load *load) subscribe(address string) error {
	connection, err := connect(address)
	if err != nil {
		return err
	}
	subscriber := &subscriber{}
	load.subscribers = append(load.subscribers, subscriber)
	if _, err := connection.Subscribe(subject, func(message *nats.Msg) {
		number := binary.BigEndian.Uint64(message.Data)
		if number != subscriber.next || len(message.Data) != load.size {
			fail(fmt.Errorf("message %d of %d bytes came where %d was due", number, len(message.Data), subscriber.next))
		}
		subscriber.next++
		subscriber.bytes += uint64(len(message.Data))
		if subscriber.next%load.step == 0 {
			load.reach(subscriber.next/load.step - 1)
		}
	}); err != nil {
		return err
	}
	// The server has heard of the subscription when it answers this.
	return connection.Flush()
}

func (load *load) reach(step uint64) {
	arrived := &load.arrived[step%uint64(len(load.arrived))]
	if arrived.Add(1) == int64(len(load.subscribers)) {
		arrived.Store(0)
		load.through <- struct{}{}
	}
}

// run publishes whole steps, at least as many messages as asked for.
func (load *load) run(publisher *nats.Conn, messages uint64) (map[string]any, error) {
	var (
		first   = load.subscribers[0].next
		payload = make([]byte, load.size)
		steps   = (messages + load.step - 1) / load.step
		bytes   uint64
	)
	for _, subscriber := range load.subscribers {
		bytes -= subscriber.bytes
	}
	start := time.Now()
	for step := range steps {
		if step >= stepsPerWindow {
			<-load.through
		}
		for number := range load.step {
			binary.BigEndian.PutUint64(payload, first+step*load.step+number)
			if err := publisher.Publish(subject, payload); err != nil {
				return nil, err
			}
		}
	}
	for range min(steps, stepsPerWindow) {
		<-load.through
	}
	seconds := time.Since(start).Seconds()
	for _, subscriber := range load.subscribers {
		bytes += subscriber.bytes
	}
	published := steps * load.step
	return map[string]any{
		"messages":   published,
		"deliveries": published * uint64(len(load.subscribers)),
		"bytes":      bytes,
		"seconds":    seconds,
	}, nil
}
