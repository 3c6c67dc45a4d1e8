package server

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"platen"
)

// few are connections of which there may be two strangers, and three of each token.
func few() *connections {
	c := newConnections(nil, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	c.strangers, c.maxOf = 2, 3
	return c
}

func TestATokenHasABoundedNumberOfOperations(t *testing.T) {
	t.Parallel()
	c := few()
	one, other := opened(t, c, &platen.APIToken{ID: "a"}, never), opened(t, c, &platen.APIToken{ID: "b"}, never)
	for range maxRunning {
		if !one.begin() {
			t.Fatal("too few")
		}
	}
	if one.begin() || !other.begin() {
		t.Error("another token's operations are counted, or one too many is taken")
	}
	one.done()
	if !one.begin() {
		t.Error("what is over takes room")
	}
}

func never(int, string) {}

// opened opens a connection that there has to be room for.
func opened(t *testing.T, c *connections, token *platen.APIToken, end func(int, string)) *connection {
	t.Helper()
	one, why := c.open(token, end)
	if why != "" {
		t.Fatalf("refused: %s", why)
	}
	return one
}

// counts expects how many connections there are, "" for strangers.
func counts(t *testing.T, c *connections, want map[string]int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	total := 0
	for _, n := range want {
		total += n
	}
	if fmt.Sprint(c.ofToken) != fmt.Sprint(want) || len(c.all) != total {
		t.Errorf("%v of %d connections, want %v", c.ofToken, len(c.all), want)
	}
}

func TestStrangersAreBoundedUntilTheySayWhoTheyAre(t *testing.T) {
	t.Parallel()
	c, a := few(), &platen.APIToken{ID: "a"}
	first, second := opened(t, c, nil, never), opened(t, c, nil, never)
	if _, why := c.open(nil, never); !strings.Contains(why, "try again soon") {
		t.Errorf("a third stranger: %q", why)
	}
	known := opened(t, c, a, never) // has no need of their room
	counts(t, c, map[string]int{"": 2, "a": 1})
	if why := first.belongsTo(a); why != "" {
		t.Error(why)
	}
	counts(t, c, map[string]int{"": 1, "a": 2})
	third := opened(t, c, nil, never)
	counts(t, c, map[string]int{"": 2, "a": 2})
	second.over()
	opened(t, c, nil, never).over()
	for _, one := range []*connection{first, third, known} {
		one.over()
	}
	counts(t, c, nil)
}

func TestTheConnectionsOfATokenAreBounded(t *testing.T) {
	t.Parallel()
	c, a, b := few(), &platen.APIToken{ID: "a"}, &platen.APIToken{ID: "b"}
	var ofA []*connection
	for range 3 {
		ofA = append(ofA, opened(t, c, a, never))
	}
	if _, why := c.open(a, never); !strings.Contains(why, "has 3 connections") {
		t.Errorf("a fourth: %q", why)
	}
	ofB := opened(t, c, b, never)
	stranger := opened(t, c, nil, never)
	if why := stranger.belongsTo(a); !strings.Contains(why, "has 3 connections") {
		t.Errorf("a stranger with the same token: %q", why)
	}
	counts(t, c, map[string]int{"": 1, "a": 3, "b": 1}) // it still is one
	// The token of the header says so once more in connection_init, or another does.
	if why := ofA[0].belongsTo(a); why != "" {
		t.Errorf("the same token again: %s", why)
	}
	if why := ofA[1].belongsTo(b); why != "" {
		t.Errorf("another token: %s", why)
	}
	counts(t, c, map[string]int{"": 1, "a": 2, "b": 2})
	if why := stranger.belongsTo(a); why != "" {
		t.Errorf("when there is room: %s", why)
	}
	for _, one := range append(ofA, ofB, stranger) {
		one.over()
	}
	counts(t, c, nil)
}

func TestClosingHoldsUpNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, a := few(), &platen.APIToken{ID: "a"}
		var mu sync.Mutex
		told := map[string]string{}
		tell := func(name string, takes time.Duration) func(int, string) {
			return func(code int, reason string) {
				time.Sleep(takes)
				mu.Lock()
				defer mu.Unlock()
				told[name] += fmt.Sprint(code, " ", reason)
			}
		}
		opened(t, c, nil, tell("stranger", time.Second))
		for i := range 3 {
			opened(t, c, a, tell(fmt.Sprint(i), time.Second))
		}
		opened(t, c, nil, tell("gone", 0)).over()
		start := time.Now()
		c.closeAll()
		if took := time.Since(start); took != time.Second {
			t.Errorf("it took %v, want as long as the longest", took)
		}
		if want := fmt.Sprint(map[string]string{"stranger": "1001 " + stopping, "0": "1001 " + stopping, "1": "1001 " + stopping, "2": "1001 " + stopping}); fmt.Sprint(told) != want {
			t.Errorf("told %v, want %s", told, want)
		}
		for _, token := range []*platen.APIToken{nil, a} {
			if _, why := c.open(token, never); why != stopping {
				t.Errorf("a new one: %q", why)
			}
		}
	})
}

func TestEveryNeverRunsTwiceAtOnceNorAfterItWasStopped(t *testing.T) {
	t.Parallel()
	for name, takes := range map[string]time.Duration{"quick": 0, "slower than its interval": 25 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start, running := time.Now(), false
				var began []time.Duration
				stop := every(10*time.Second, func() {
					if running {
						t.Error("twice at once")
					}
					running = true
					began = append(began, time.Since(start))
					time.Sleep(takes)
					running = false
				})
				time.Sleep(100 * time.Second)
				synctest.Wait()
				var want []time.Duration
				for at := 10 * time.Second; at <= 100*time.Second; at += 10*time.Second + takes {
					want = append(want, at)
				}
				stop() // while the slow one runs
				time.Sleep(time.Hour)
				stop() // does no harm
				if !slices.Equal(began, want) {
					t.Errorf("began after %v, want %v", began, want)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		every(time.Second, func() { t.Error("it was stopped before") })()
		time.Sleep(time.Minute)
	})
}

// Until its context ends, whoever watches goes on, also with nothing to look for.
func TestWatchingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := few() // without a database: strangers have no token to ask about
		opened(t, c, nil, never)
		ctx, cancel := context.WithCancel(t.Context())
		watching := make(chan struct{})
		go func() { defer close(watching); c.watch(ctx) }()
		time.Sleep(time.Minute)
		select {
		case <-watching:
			t.Error("it has ended")
		default:
		}
		cancel()
		<-watching
	})
}
