package server

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"platen"
	"platen/storage"
)

const (
	// maxStrangers is how many connections may be open that have not said yet whose they
	// are; they get initTime for it.
	maxStrangers = 1000
	// maxOfToken is how many connections of one token a node keeps.
	maxOfToken = 2000
	// maxRunning is how many operations of one token a node has at a time on websockets.
	maxRunning = 10_000
	// pingInterval finds out about clients that are gone without a word.
	pingInterval = 20 * time.Second
	// writeTime is how long a client may take to take what is sent.
	writeTime = 10 * time.Second
	// tokenCheckInterval is how often it is looked whether tokens were revoked.
	tokenCheckInterval = 2 * time.Second
)

// connections are the lasting ones of this node: websockets and streams of events.
type connections struct {
	db  *storage.DB
	log *slog.Logger

	mu        sync.Mutex
	all       map[*connection]struct{}
	ofToken   map[string]int // "": strangers
	running   map[string]int // operations of each token
	stopping  bool
	maxOf     int // of a token
	strangers int // at most
}

func newConnections(db *storage.DB, log *slog.Logger, registry prometheus.Registerer) *connections {
	c := &connections{db: db, log: log, all: map[*connection]struct{}{}, ofToken: map[string]int{}, running: map[string]int{}, maxOf: maxOfToken, strangers: maxStrangers}
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "platen_connections", Help: "Websockets and streams of events that are open."}, func() float64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		return float64(len(c.all))
	}))
	return c
}

// connection is one of them.
type connection struct {
	of      *connections
	end     func(code int, reason string)
	tokenID string
}

// open takes part in what ends connections: end is called, in a goroutine of its own, with
// a close code of websockets and a reason. token is nil for one that has not said yet whose
// it is. Or open says why there can be no more.
func (c *connections) open(token *platen.APIToken, end func(code int, reason string)) (one *connection, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return nil, stopping
	}
	one = &connection{of: c, end: end}
	if token != nil {
		one.tokenID = token.ID
	}
	if why := c.full(one.tokenID); why != "" {
		return nil, why
	}
	c.all[one] = struct{}{}
	count(c.ofToken, one.tokenID, 1)
	return one, ""
}

// belongsTo notes whose a connection is, or says why it cannot be kept.
func (one *connection) belongsTo(token *platen.APIToken) (why string) {
	c := one.of
	c.mu.Lock()
	defer c.mu.Unlock()
	count(c.ofToken, one.tokenID, -1)
	defer func() { count(c.ofToken, one.tokenID, 1) }()
	if why := c.full(token.ID); why != "" {
		return why
	}
	one.tokenID = token.ID
	return ""
}

// full says why there can be no more connections of a token, or of strangers.
func (c *connections) full(tokenID string) string {
	switch {
	case tokenID == "" && c.ofToken[""] >= c.strangers:
		return "too many connections have not said yet whose they are; try again soon"
	case tokenID != "" && c.ofToken[tokenID] >= c.maxOf:
		return fmt.Sprintf("this API token has %d connections to this node; each can have many subscriptions", c.maxOf)
	}
	return ""
}

func count(of map[string]int, tokenID string, by int) {
	if of[tokenID] += by; of[tokenID] == 0 {
		delete(of, tokenID)
	}
}

// begin makes room for an operation, if there is any left for its token, until done.
func (one *connection) begin() bool {
	c := one.of
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running[one.tokenID] >= maxRunning {
		return false
	}
	count(c.running, one.tokenID, 1)
	return true
}

func (one *connection) done() {
	c := one.of
	c.mu.Lock()
	defer c.mu.Unlock()
	count(c.running, one.tokenID, -1)
}

// over says that a connection has ended.
func (one *connection) over() {
	c := one.of
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, one)
	count(c.ofToken, one.tokenID, -1)
}

// closeAll tells every client to come back; there are no new ones after it.
func (c *connections) closeAll() {
	c.mu.Lock()
	c.stopping = true
	c.mu.Unlock()
	c.close(closeGoingAway, stopping, func(*connection) bool { return true })
}

// close ends those chosen, side by side: one that does not read holds up no other.
func (c *connections) close(code int, reason string, chosen func(*connection) bool) {
	var all sync.WaitGroup
	c.mu.Lock()
	for one := range c.all {
		if chosen(one) {
			all.Go(func() { one.end(code, reason) })
		}
	}
	c.mu.Unlock()
	all.Wait()
}

// watch ends the connections of tokens that are no longer good (R1.2), until ctx ends.
func (c *connections) watch(ctx context.Context) {
	ticker := time.NewTicker(tokenCheckInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		var ids []string
		c.mu.Lock()
		for id := range c.ofToken {
			if id != "" {
				ids = append(ids, id)
			}
		}
		c.mu.Unlock()
		if len(ids) == 0 {
			continue
		}
		within, cancel := context.WithTimeout(ctx, tokenCheckInterval)
		ended, err := c.db.EndedAPITokens(within, ids)
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				c.log.WarnContext(ctx, "whether tokens were revoked could not be checked", "error", err)
			}
			continue
		}
		if len(ended) > 0 {
			c.close(closeForbidden, "the API token was revoked or has expired", func(one *connection) bool { return slices.Contains(ended, one.tokenID) })
		}
	}
}

// every calls do again and again, never twice at once, until it is stopped.
func every(interval time.Duration, do func()) (stop func()) {
	var mu sync.Mutex
	var timer *time.Timer
	stopped := false
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(interval, func() {
		mu.Lock()
		over := stopped
		mu.Unlock()
		if over {
			return
		}
		do()
		mu.Lock()
		defer mu.Unlock()
		if !stopped {
			timer.Reset(interval)
		}
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		timer.Stop()
	}
}
