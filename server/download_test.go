package server

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// serveTaken serves size bytes, and tells how the sending ended.
func serveTaken(t *testing.T, size int, pause time.Duration) (address string, ended chan error) {
	t.Helper()
	ended = make(chan error, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, err := io.Copy(w, &taken{bytes.NewReader(make([]byte, size)), http.NewResponseController(w), pause})
		ended <- err
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), ended
}

// T10: a connection that takes nothing of its file is not kept for ever.
func TestT10ADownloadThatNobodyTakesIsBrokenOff(t *testing.T) {
	t.Parallel()
	address, ended := serveTaken(t, 256<<20, 50*time.Millisecond) // more than sockets hold
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	select {
	case err := <-ended:
		if err == nil {
			t.Error("all of it was sent to nobody")
		}
	case <-time.After(time.Minute):
		t.Error("it is sent for ever")
	}
}

// A slow line is no reason: all of a file may take longer than a pause.
func TestADownloadThatIsTakenSlowlyIsNotBrokenOff(t *testing.T) {
	t.Parallel()
	const size, pause = 32 << 20, 2 * time.Second
	address, ended := serveTaken(t, size, pause)
	response, err := http.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, began := 0, time.Now()
	for buffer := make([]byte, 1<<20); ; {
		n, err := io.ReadFull(response.Body, buffer)
		got += n
		if err != nil {
			break
		}
		time.Sleep(3 * pause / 32) // what a line does
	}
	if took := time.Since(began); got != size || took < 2*pause {
		t.Errorf("%d bytes in %v", got, took)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
