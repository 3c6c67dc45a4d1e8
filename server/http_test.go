package server

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"platen/resolvers"
)

// Whoever announces a body that does not come would hold a connection for ever; and a
// refusal waits for the body as well, since net/http reads it before it answers.
func TestARequestWhoseBodyDoesNotComeIsAnsweredAndEnds(t *testing.T) {
	t.Parallel()
	s := New(Options{Resolvers: &resolvers.Root{}, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
	s.bodyTime = 200 * time.Millisecond
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	for status, header := range map[string]string{
		"408": "Content-Type: application/json",
		"415": "Content-Type: text/plain",
		"406": "Content-Type: application/json\r\nAccept: image/png",
		"401": "Content-Type: application/json\r\nAuthorization: Basic x",
	} {
		t.Run(status, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			fmt.Fprintf(conn, "POST /graphql HTTP/1.1\r\nHost: platen\r\n%s\r\nContent-Length: 1000\r\n\r\n{", header)
			_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
			answer := bufio.NewReader(conn)
			if line, err := answer.ReadString('\n'); err != nil || !strings.Contains(line, " "+status+" ") {
				t.Fatalf("%q %v", line, err)
			}
			if _, err := io.Copy(io.Discard, answer); err != nil {
				t.Errorf("the connection stays open: %v", err)
			}
		})
	}
}
