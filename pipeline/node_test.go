package pipeline

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Whose lease is gone has to interrupt what it does, which is to finish when the node is told to stop.
func TestR9_2ANodeThatIsToldToStopWhileItChecksItsLeaseKeepsIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		checked := make(chan error, 1)
		check := func(ctx context.Context, patience time.Duration) error {
			select {
			case <-ctx.Done():
			case <-time.After(patience / 2): // the database is busy
			}
			checked <- ctx.Err()
			return ctx.Err()
		}
		ended := make(chan error, 1)
		go func() { ended <- held(ctx, check) }()
		time.Sleep(leaseInterval + leasePatience/4)
		stop()
		if err := <-checked; err != nil {
			t.Errorf("the check was broken off: %v", err)
		}
		if err := <-ended; err != context.Canceled {
			t.Errorf("it ended with %v", err)
		}
	})
}
