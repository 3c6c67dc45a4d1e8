package renderer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/go-rod/rod/lib/cdp"
	"github.com/go-rod/rod/lib/proto"
)

const (
	// maxSent is what Chromium takes in one message; a larger one ends the connection.
	maxSent = 100 << 20
	// maxReceived holds the largest file in base64.
	maxReceived = maxFile/3*4 + 1<<10
	// sendTimeout is how long Chromium may leave a message in the pipe.
	sendTimeout = 10 * time.Second
)

var (
	errSentTooLarge     = errors.New("the message is larger than the browser takes")
	errReceivedTooLarge = errors.New("the browser's answer is too large")
)

type response struct {
	result json.RawMessage
	err    error
}

// connection is the DevTools protocol over a pair of pipes: JSON messages, each
// ended by a zero byte. Calls to a target that is gone are never answered, so
// whoever calls must have a context that ends with the target.
type connection struct {
	in      *bufio.Reader
	pipes   [2]*os.File // in and out
	largest int         // message that is read

	sending sync.Mutex

	mu       sync.Mutex
	last     int
	pending  map[int]chan response
	handlers map[proto.TargetSessionID]func(method string, params json.RawMessage)
}

func newConnection(in, out *os.File) *connection {
	return &connection{
		in: bufio.NewReaderSize(in, 1<<16), pipes: [2]*os.File{in, out}, largest: maxReceived,
		pending:  map[int]chan response{},
		handlers: map[proto.TargetSessionID]func(string, json.RawMessage){},
	}
}

// hangUp ends the connection, and read with it. It may be called at any time.
func (c *connection) hangUp() {
	for _, pipe := range c.pipes {
		_ = pipe.Close()
	}
}

// handle sets who gets the events of a session; nil: nobody. The handler must
// not block, since every session waits for it.
func (c *connection) handle(session proto.TargetSessionID, handler func(method string, params json.RawMessage)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if handler == nil {
		delete(c.handlers, session)
		return
	}
	c.handlers[session] = handler
}

// read passes messages on until the pipe ends.
func (c *connection) read() {
	for {
		message, tooLarge, err := c.next()
		if err != nil {
			return
		}
		if tooLarge {
			// Only the beginning is there, and answers begin with their id.
			var id int
			digits, _, _ := bytes.Cut(bytes.TrimPrefix(message, []byte(`{"id":`)), []byte(","))
			if json.Unmarshal(digits, &id) == nil {
				c.answer(id, response{err: errReceivedTooLarge})
			}
			continue
		}
		if id, result, ok := largeAnswer(message); ok {
			c.answer(id, response{result: result})
			continue
		}
		var m struct {
			cdp.Response
			SessionID proto.TargetSessionID `json:"sessionId"`
			Method    string                `json:"method"`
			Params    json.RawMessage       `json:"params"`
		}
		if json.Unmarshal(message, &m) != nil {
			continue
		}
		if m.Method == "" {
			answer := response{result: m.Result}
			if m.Error != nil {
				answer.err = m.Error
			}
			c.answer(m.ID, answer)
			continue
		}
		c.mu.Lock()
		handler := c.handlers[m.SessionID]
		c.mu.Unlock()
		if handler != nil {
			handler(m.Method, m.Params)
		}
	}
}

// largeMessage is from where on a message is taken apart without reading what it holds.
const largeMessage = 8 << 10

// largeAnswer takes a large answer apart as Chromium writes it, its id first and its session last: the JSON
// decoder would go over a file of many megabytes twice. Others are left to that one.
func largeAnswer(message []byte) (id int, result json.RawMessage, ok bool) {
	const before, session = `,"result":`, `,"sessionId":"`
	if len(message) < largeMessage {
		return 0, nil, false
	}
	digits, _, found := bytes.Cut(bytes.TrimPrefix(message[:50], []byte(`{"id":`)), []byte(before))
	id, err := strconv.Atoi(string(digits))
	if !found || err != nil {
		return 0, nil, false
	}
	result = message[len(`{"id":`)+len(digits)+len(before):]
	tail := result[len(result)-100:]
	// Quotes within a text have a backslash, so this is no text's.
	if at := bytes.LastIndex(tail, []byte(session)); at >= 0 {
		if value := tail[at+len(session):]; bytes.IndexByte(value, '"') == len(value)-len(`"}`) {
			result = result[:len(result)-len(tail)+at]
			return id, result, result[len(result)-1] == '}'
		}
	}
	return id, result[:len(result)-1], bytes.HasSuffix(tail, []byte("}}"))
}

// next reads one message; of one that is too large, only the beginning.
func (c *connection) next() (message []byte, tooLarge bool, err error) {
	for {
		part, err := c.in.ReadSlice(0)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, false, err
		}
		if len(message)+len(part) > c.largest {
			tooLarge = true
			message = message[:min(len(message), 100)]
		}
		if !tooLarge {
			message = append(message, part...)
		}
		if err == nil {
			return bytes.TrimSuffix(message, []byte{0}), tooLarge, nil
		}
	}
}

func (c *connection) answer(id int, r response) {
	c.mu.Lock()
	waiting := c.pending[id]
	delete(c.pending, id)
	c.mu.Unlock()
	if waiting != nil {
		waiting <- r
	}
}

// call sends a request and waits for the answer. The error is ctx's cause, a
// *cdp.Error, errSentTooLarge, errReceivedTooLarge or errBrowserGone.
func (c *connection) call(ctx context.Context, session proto.TargetSessionID, method string, params any) (json.RawMessage, error) {
	answered := make(chan response, 2) // an error of sending, and an answer all the same
	c.mu.Lock()
	c.last++
	id := c.last
	c.pending[id] = answered
	c.mu.Unlock()
	message, err := encode(cdp.Request{ID: id, SessionID: string(session), Method: method, Params: params})
	if err == nil {
		// Beside the caller, whose time may be over before there is room in the pipe.
		go func() {
			if err := c.send(ctx, message); err != nil {
				answered <- response{err: err}
			}
		}()
		select {
		case r := <-answered:
			err = r.err
			if err == nil {
				return r.result, nil
			}
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	c.mu.Lock()
	delete(c.pending, id)
	c.mu.Unlock()
	return nil, err
}

func encode(request cdp.Request) ([]byte, error) {
	var message bytes.Buffer
	encoder := json.NewEncoder(&message)
	encoder.SetEscapeHTML(false) // six bytes for every angle bracket of the markup
	if err := encoder.Encode(request); err != nil {
		return nil, err
	}
	message.WriteByte(0)
	if message.Len() > maxSent {
		return nil, errSentTooLarge
	}
	return message.Bytes(), nil
}

// send writes a message, unless ctx ends before its turn.
func (c *connection) send(ctx context.Context, message []byte) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	_ = c.pipes[1].SetWriteDeadline(time.Now().Add(sendTimeout))
	if _, err := c.pipes[1].Write(message); err != nil {
		// Half a message may be in the pipe, so nothing can follow it.
		c.hangUp()
		return errBrowserGone
	}
	return nil
}

// session makes rod's typed requests usable: it is one target, or with no id the
// browser, under one context.
type session struct {
	*connection
	ctx context.Context
	id  proto.TargetSessionID
}

func (s session) Call(ctx context.Context, id, method string, params any) ([]byte, error) {
	return s.call(ctx, proto.TargetSessionID(id), method, params)
}
func (s session) GetSessionID() proto.TargetSessionID { return s.id }
func (s session) GetContext() context.Context         { return s.ctx }

// within is ctx that also ends, with the same cause, when life does.
func within(ctx, life context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(life, func() { cancel(context.Cause(life)) })
	return ctx, func() { stop(); cancel(nil) }
}
