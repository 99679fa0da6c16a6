package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	windowBytes     = 1 << 20
	firstWindow     = 65535
	streamID        = 1
	writeBufferSize = 64 << 10
)

// window counts what the peer still admits, on the stream and on the connection.
type window struct {
	mutex      sync.Mutex
	changed    *sync.Cond
	stream     int
	connection int
	closed     error
}

func newWindow() *window {
	created := &window{stream: firstWindow, connection: firstWindow}
	created.changed = sync.NewCond(&created.mutex)
	return created
}

func (window *window) add(stream, connection int) {
	window.mutex.Lock()
	window.stream += stream
	window.connection += connection
	window.mutex.Unlock()
	window.changed.Broadcast()
}

func (window *window) close(err error) {
	window.mutex.Lock()
	window.closed = err
	window.mutex.Unlock()
	window.changed.Broadcast()
}

// take waits until `count` bytes are admitted; `idle` runs before it waits.
func (window *window) take(count int, idle func() error) error {
	window.mutex.Lock()
	defer window.mutex.Unlock()
	for window.stream < count || window.connection < count {
		if window.closed != nil {
			return window.closed
		}
		window.mutex.Unlock()
		err := idle()
		window.mutex.Lock()
		if err != nil {
			return err
		}
		if window.closed == nil && (window.stream < count || window.connection < count) {
			window.changed.Wait()
		}
	}
	window.stream -= count
	window.connection -= count
	return nil
}

// runFrames opens one stream per connection. A message has to fit the peer's initial window.
func runFrames(plan plan) error {
	return together(plan.connections, func(int) error { return chatInFrames(plan) })
}

func chatInFrames(plan plan) error {
	socket, err := net.Dial("tcp", plan.address)
	if err != nil {
		return err
	}
	defer socket.Close()
	var (
		writer   = bufio.NewWriterSize(socket, writeBufferSize)
		framer   = http2.NewFramer(writer, bufio.NewReaderSize(socket, writeBufferSize))
		writing  sync.Mutex
		window   = newWindow()
		sent     = make(chan error, 1)
		expected = framed(plan)
	)
	framer.SetReuseFrames()

	writer.WriteString(http2.ClientPreface)
	framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: windowBytes})
	framer.WriteWindowUpdate(0, windowBytes)
	if err := framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: streamID, BlockFragment: requestHead(plan), EndHeaders: true,
	}); err != nil {
		return err
	}
	go func() { sent <- sendMessages(plan, framer, writer, &writing, window, expected) }()
	err = receiveReplies(plan, framer, writer, &writing, window, expected)
	window.close(errors.Join(errors.New("the stream is over"), err))
	if err != nil {
		return err
	}
	return <-sent
}

// framed returns the pattern with gRPC's prefixes.
func framed(plan plan) [][]byte {
	messages := make([][]byte, len(plan.pattern))
	for n, message := range plan.pattern {
		messages[n] = binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
		messages[n] = append(messages[n], message...)
	}
	return messages
}

func requestHead(plan plan) []byte {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", plan.path}, {":authority", plan.address},
		{"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	return block.Bytes()
}

func sendMessages(
	plan plan, framer *http2.Framer, writer *bufio.Writer, writing *sync.Mutex, window *window, messages [][]byte,
) error {
	flush := func() error {
		writing.Lock()
		defer writing.Unlock()
		return writer.Flush()
	}
	for n := range plan.messages {
		message := messages[n%len(messages)]
		if err := window.take(len(message), flush); err != nil {
			return err
		}
		writing.Lock()
		err := framer.WriteData(streamID, n == plan.messages-1, message)
		writing.Unlock()
		if err != nil {
			return err
		}
	}
	return flush()
}

func receiveReplies(
	plan plan, framer *http2.Framer, writer *bufio.Writer, writing *sync.Mutex, window *window, messages [][]byte,
) error {
	var (
		initial    = firstWindow
		number     = 0
		rest       = messages[0]
		uncredited = 0
	)
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return err
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if frame.IsAck() {
				continue
			}
			if value, found := frame.Value(http2.SettingInitialWindowSize); found {
				window.add(int(value)-initial, 0)
				initial = int(value)
			}
			writing.Lock()
			err = errors.Join(framer.WriteSettingsAck(), writer.Flush())
			writing.Unlock()
		case *http2.PingFrame:
			if frame.IsAck() {
				continue
			}
			writing.Lock()
			err = errors.Join(framer.WritePing(true, frame.Data), writer.Flush())
			writing.Unlock()
		case *http2.WindowUpdateFrame:
			if frame.StreamID == 0 {
				window.add(0, int(frame.Increment))
			} else {
				window.add(int(frame.Increment), 0)
			}
		case *http2.DataFrame:
			data := frame.Data()
			uncredited += int(frame.Length)
			for len(data) > 0 {
				if number == plan.messages {
					return errors.New("more bytes came back than were sent")
				}
				length := min(len(data), len(rest))
				if !bytes.Equal(data[:length], rest[:length]) {
					return fmt.Errorf("reply %d differs from what was sent", number)
				}
				data, rest = data[length:], rest[length:]
				if len(rest) == 0 {
					number++
					rest = messages[number%len(messages)]
				}
			}
			if uncredited > windowBytes/4 {
				writing.Lock()
				err = errors.Join(
					framer.WriteWindowUpdate(0, uint32(uncredited)),
					framer.WriteWindowUpdate(streamID, uint32(uncredited)),
					writer.Flush(),
				)
				writing.Unlock()
				uncredited = 0
			}
		case *http2.HeadersFrame:
			if frame.StreamEnded() {
				if number != plan.messages {
					return fmt.Errorf("the stream ended after %d of %d replies", number, plan.messages)
				}
				return nil
			}
		case *http2.RSTStreamFrame:
			return fmt.Errorf("the stream was reset: %s", frame.ErrCode)
		case *http2.GoAwayFrame:
			return fmt.Errorf("the connection was refused: %s %s", frame.ErrCode, frame.DebugData())
		}
		if err != nil {
			return err
		}
	}
}
