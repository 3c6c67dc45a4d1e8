package server

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"platen/resolvers"
)

func TestReadinessIsAnsweredInTimeWhateverHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release, calls := make(chan struct{}), atomic.Int32{}
		s := New(Options{Resolvers: &resolvers.Root{}, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
			Checks: map[string]func(context.Context) error{
				"database": func(ctx context.Context) error { return ctx.Err() },
				"documents": func(context.Context) error { // heeds no context, as a file system does not
					calls.Add(1)
					<-release
					return nil
				},
			}})
		get := func() (int, string, time.Duration) {
			start, w := time.Now(), httptest.NewRecorder()
			s.ready(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil))
			return w.Code, w.Body.String(), time.Since(start)
		}
		for range 3 {
			if status, body, took := get(); status != http.StatusServiceUnavailable || took != readyTime ||
				!strings.Contains(body, `"database":"ok"`) || !strings.Contains(body, `"documents":"failing"`) {
				t.Errorf("%d %s after %v", status, body, took)
			}
		}
		if n := calls.Load(); n != 1 {
			t.Errorf("%d calls hang", n)
		}
		close(release)
		synctest.Wait()
		if status, body, took := get(); status != http.StatusOK || took != 0 {
			t.Errorf("afterwards: %d %s after %v", status, body, took)
		}
	})
}
