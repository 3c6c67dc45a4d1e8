package server

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// readyTime is how long the parts of a node may take to say that they work, all of them
// together. Who asks, such as a load balancer, gives up after some seconds.
const readyTime = 3 * time.Second

// ready tells whether this node should get requests, and what stands in the way.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if s.draining.Load() { // whoever asks has to turn away soon, however slow the parts are
		answerJSON(w, http.StatusServiceUnavailable, map[string]any{"ready": false, "parts": map[string]string{"node": "draining"}})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), readyTime)
	defer cancel()
	status, parts := http.StatusOK, map[string]string{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, check := range s.checks {
		wg.Go(func() {
			err := check(ctx)
			mu.Lock()
			defer mu.Unlock()
			parts[name] = "ok"
			if err != nil {
				s.Log.WarnContext(ctx, "not ready", "part", name, "error", err)
				status, parts[name] = http.StatusServiceUnavailable, "failing"
			}
		})
	}
	wg.Wait()
	answerJSON(w, status, map[string]any{"ready": status == http.StatusOK, "parts": parts})
}

// bounded makes a check return with its context, whatever it waits for: a file system of
// the network that is away keeps a call for as long as it likes. One that hangs is not
// made again before it has returned, so that nothing piles up.
func bounded(check func(context.Context) error) func(context.Context) error {
	turn := make(chan struct{}, 1)
	return func(ctx context.Context) error {
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			return errors.New("the check before it has not returned")
		}
		done := make(chan error, 1)
		go func() {
			done <- check(ctx)
			<-turn
		}()
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return errors.New("it does not answer")
		}
	}
}
