package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The bytes that have arrived may wait for their turn to be checked: longer than a pause
// between them may be.
func TestAnUploadThatHasArrivedIsNotBrokenOffByTheTimeForItsBytes(t *testing.T) {
	t.Parallel()
	pause := 200 * time.Millisecond
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, &pausing{r.Body, http.NewResponseController(w), pause}); err != nil {
			t.Error(err)
		}
		select {
		case <-r.Context().Done():
			t.Error("the request was given up")
		case <-time.After(3 * pause):
		}
	}))
	t.Cleanup(server.Close)
	for _, body := range []io.Reader{strings.NewReader("%PDF"), io.MultiReader(strings.NewReader("%PDF"))} { // of a known length, and not
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL, body)
		if err != nil {
			t.Fatal(err)
		}
		response, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
}

func TestAnUploadThatStopsIsBrokenOff(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, &pausing{r.Body, http.NewResponseController(w), 50 * time.Millisecond}); err == nil {
			t.Error("it was read to an end that never came")
		}
	}))
	t.Cleanup(server.Close)
	body, write := io.Pipe()
	defer write.Close()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = write.Write([]byte("%PDF")) }()
	if response, err := server.Client().Do(request); err == nil {
		response.Body.Close()
	}
}
