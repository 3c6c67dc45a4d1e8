package storage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/lib/pq"
)

// Notification is what PostgreSQL's NOTIFY sent.
type Notification struct{ Channel, Payload string }

// Listener is a connection that waits for notifications. When the connection is
// lost, Wait says so, and notifications may have been missed: the caller opens
// another one and looks for itself. Its methods may be called concurrently.
type Listener struct {
	listener *pq.Listener
	wire     *wire
	lost     context.Context // ends with the connection; its cause is why
	closing  sync.Once
}

// wire is the connection of one listener. While pq waits for an answer it holds a lock that its
// Close needs: for a server that stays mute, whoever gives up has to end the connection himself.
type wire struct {
	*connections
	mu   sync.Mutex
	conn net.Conn
}

// DialContext implements pq.DialerContext.
func (w *wire) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := w.connections.DialContext(ctx, network, address)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.conn = conn
	}
	return conn, err
}

func (w *wire) hangUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != nil {
		_ = w.conn.Close()
	}
}

// Listen opens a connection that listens on these channels.
func (d *DB) Listen(ctx context.Context, channels ...string) (*Listener, error) {
	up := make(chan struct{}, 1)
	lost, lose := context.WithCancelCause(context.Background())
	// pq's own reconnecting would hide that notifications were missed, so whatever
	// happens to the connection is reported and ends the listener.
	wire := &wire{connections: d.connections}
	l := pq.NewDialListener(wire, d.dsn.Reveal(), time.Minute, time.Minute, func(event pq.ListenerEventType, err error) {
		switch event {
		case pq.ListenerEventConnected:
			up <- struct{}{}
		case pq.ListenerEventConnectionAttemptFailed:
			lose(err)
		case pq.ListenerEventDisconnected, pq.ListenerEventReconnected:
			lose(fmt.Errorf("the listening connection was lost: %w", err))
		}
	})
	listener := &Listener{listener: l, wire: wire, lost: lost}
	select {
	case <-up:
	case <-lost.Done():
		listener.Close()
		return nil, context.Cause(lost)
	case <-ctx.Done():
		listener.Close()
		return nil, ctx.Err()
	}
	for _, channel := range channels {
		if err := listener.Listen(ctx, channel); err != nil {
			listener.Close()
			return nil, err
		}
	}
	return listener, nil
}

// Listen adds a channel; one that is listened on already is no error.
func (l *Listener) Listen(ctx context.Context, channel string) error {
	// pq's call waits until the connection is there again, which it never is for us.
	done := make(chan error, 1)
	go func() { done <- l.listener.Listen(channel) }()
	select {
	case err := <-done:
		if errors.Is(err, pq.ErrChannelAlreadyOpen) {
			return nil
		}
		return err
	case <-l.lost.Done():
		return context.Cause(l.lost)
	case <-ctx.Done():
		l.wire.hangUp()
		return ctx.Err()
	}
}

// Unlisten takes a channel back; one that is not listened on is no error.
func (l *Listener) Unlisten(channel string) error {
	if err := l.listener.Unlisten(channel); err != nil && !errors.Is(err, pq.ErrChannelNotOpen) {
		return err
	}
	return nil
}

// Ping tells whether the connection still works.
func (l *Listener) Ping(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- l.listener.Ping() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		l.wire.hangUp()
		return ctx.Err()
	}
}

// Wait returns the next notification, or the error that ended the connection.
func (l *Listener) Wait(ctx context.Context) (Notification, error) {
	select {
	case n, ok := <-l.listener.Notify:
		if !ok || n == nil { // pq sends nil after it has reconnected
			return Notification{}, errors.New("the listening connection was lost")
		}
		return Notification{Channel: n.Channel, Payload: n.Extra}, nil
	case <-l.lost.Done():
		return Notification{}, context.Cause(l.lost)
	case <-ctx.Done():
		return Notification{}, ctx.Err()
	}
}

// Close ends the connection.
func (l *Listener) Close() (err error) {
	l.closing.Do(func() { err = l.listener.Close() })
	return err
}
