package pipeline

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"platen"
)

// queue is an admission whose documents the test counts.
func queue(limit int) (a *admission, waiting map[string]int) {
	waiting = map[string]int{}
	return &admission{limit: limit, count: func(context.Context) (map[string]int, error) {
		counted := map[string]int{}
		for account, n := range waiting {
			counted[account] = n
		}
		return counted, nil
	}}, waiting
}

func TestTheQueueIsBoundedForEachAccountAndInAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, waiting := queue(10)
		admit := func(account string, n int) (after int) {
			t.Helper()
			_, err := a.admit(t.Context(), account, n)
			var refused platen.Errors
			if err != nil && (!errors.As(err, &refused) || refused[0].Code != platen.CodeQueueFull || refused[0].RetryAfter < 1) {
				t.Fatalf("%v", err)
			}
			if refused == nil {
				waiting[account] += n
				return 0
			}
			return refused[0].RetryAfter
		}
		var never platen.Errors
		if _, err := a.admit(t.Context(), "a", 6); !errors.As(err, &never) || never[0].Code != platen.CodeTooLarge {
			t.Errorf("what there can never be room for: %v", err)
		}
		if admit("a", 5) != 0 {
			t.Error("half is refused")
		}
		if admit("a", 1) == 0 {
			t.Error("one account takes more than half, in parts")
		}
		if admit("b", 4) != 0 || admit("c", 1) != 0 {
			t.Error("others are refused")
		}
		if after := admit("c", 1); after != retryAfterMax {
			t.Errorf("the queue is full and nothing moves: come back in %d s", after)
		}
		// What is done makes room, and says how soon there is more.
		time.Sleep(admissionInterval)
		waiting["a"] = 3
		if admit("c", 2) != 0 {
			t.Error("there is room, and one is refused")
		}
		if after := admit("c", 4); after != 2 {
			t.Errorf("two too many, at 2 a second: come back in %d s, want 2 (4 more than half an account's, at that pace)", after)
		}
	})
}

func TestTheQueueIsCountedOnceASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, _ := queue(1000)
		count, counted := a.count, 0
		a.count = func(ctx context.Context) (map[string]int, error) { counted++; return count(ctx) }
		for range 300 {
			if _, err := a.admit(t.Context(), "a", 1); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if counted != 3 {
			t.Errorf("counted %d times in three seconds", counted)
		}
		a.count = func(context.Context) (map[string]int, error) { return nil, context.DeadlineExceeded }
		time.Sleep(admissionInterval)
		if _, err := a.admit(t.Context(), "a", 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("what cannot be counted: %v", err)
		}
	})
}

func TestWhatIsAheadOfADocumentIsWhatItsAccountHasWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, waiting := queue(100)
		ahead := func(account string, n int) int {
			t.Helper()
			ahead, err := a.admit(t.Context(), account, n)
			if err != nil {
				t.Fatal(err)
			}
			return ahead
		}
		if n := ahead("a", 1); n != 0 {
			t.Errorf("%d are ahead of the first", n)
		}
		if n := ahead("a", 20); n != 1 {
			t.Errorf("%d are ahead of the second", n)
		}
		if n := ahead("b", 1); n != 0 {
			t.Errorf("%d are ahead of another account's first", n)
		}
		time.Sleep(admissionInterval)
		waiting["a"] = 7
		if n := ahead("a", 1); n != 7 {
			t.Errorf("%d are ahead, want those that were counted", n)
		}
	})
}
