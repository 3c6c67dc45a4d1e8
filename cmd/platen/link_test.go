package main

import (
	"io"
	"net"
	"sync"
	"testing"
)

// link passes connections on to wherever dial leads, and cuts them when it is told to.
// Those for which dial has an error are refused.
type link struct {
	dial func() (net.Conn, error)
	mu   sync.Mutex // also while dial runs
	ends []net.Conn
}

// newLink accepts connections until the test is over.
func newLink(t *testing.T, listener net.Listener, dial func() (net.Conn, error)) *link {
	t.Helper()
	l := &link{dial: dial}
	t.Cleanup(func() {
		listener.Close()
		l.cut(func() {})
	})
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			l.join(client)
		}
	}()
	return l
}

func (l *link) join(client net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	server, err := l.dial()
	if err != nil {
		client.Close()
		return
	}
	l.ends = append(l.ends, client, server)
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		to.Close()
	}
	go pass(client, server)
	go pass(server, client)
}

// cut ends all connections. What dial depends on is changed in between: no connection
// comes about by the old state afterwards.
func (l *link) cut(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	for _, end := range l.ends {
		end.Close()
	}
	l.ends = nil
}
