package main

import (
	"net"
	"sync"
	"testing"
)

// link passes connections on to wherever dial leads, cuts them when it is told to, and can
// fall silent. Those for which dial has an error are refused.
type link struct {
	dial func() (net.Conn, error)
	mu   sync.Mutex // also while dial runs
	ends []net.Conn
	// silent is closed when the link speaks again; nil while it does.
	silent chan struct{}
}

// newLink accepts connections until the test is over.
func newLink(t *testing.T, listener net.Listener, dial func() (net.Conn, error)) *link {
	t.Helper()
	l := &link{dial: dial}
	t.Cleanup(func() {
		listener.Close()
		l.cut(func() {})
		l.speak()
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
	go l.pass(client, server)
	go l.pass(server, client)
}

// pass passes on what from sends. While the link is silent nothing arrives and nothing
// ends: that is what a machine without power or network looks like from outside.
func (l *link) pass(to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		l.mu.Lock()
		silent := l.silent
		l.mu.Unlock()
		if silent != nil {
			<-silent
		}
		if _, writeErr := to.Write(buffer[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

// silence lets nothing pass, and closes nothing, until speak.
func (l *link) silence() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.silent == nil {
		l.silent = make(chan struct{})
	}
}

func (l *link) speak() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.silent != nil {
		close(l.silent)
		l.silent = nil
	}
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
