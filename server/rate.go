package server

import (
	"fmt"
	"sync"
	"time"

	"github.com/vektah/gqlparser/v2/gqlerror"
	"golang.org/x/time/rate"
)

// DefaultRateLimit is how many requests a second an API token may send to a node, on
// average: above what a browser's rendering can keep up with, below what keeps a node from
// serving others.
const DefaultRateLimit = 200

// ratesMax bounds how many tokens are remembered.
const ratesMax = 10_000

// rates bound how many requests a second each token sends: twice as many at once, and
// then as many as the limit. They hold for this node.
type rates struct {
	limit  int // 0: none
	mu     sync.Mutex
	tokens map[string]*rate.Limiter
}

func newRates(limit int) *rates { return &rates{limit: limit, tokens: map[string]*rate.Limiter{}} }

// take counts a request of a token, and tells whether it may be answered.
func (r *rates) take(tokenID string, now time.Time) bool {
	if r.limit == 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.tokens[tokenID]
	if one == nil {
		r.tidy(now)
		one = rate.NewLimiter(rate.Limit(r.limit), 2*r.limit)
		r.tokens[tokenID] = one
	}
	return one.AllowN(now, 1)
}

// tidy forgets the tokens that have not been used for a while, when there are many.
func (r *rates) tidy(now time.Time) {
	if len(r.tokens) < ratesMax {
		return
	}
	for id, one := range r.tokens {
		if one.TokensAt(now) >= float64(one.Burst()) {
			delete(r.tokens, id)
		}
	}
}

// rateRetryAfter is in how many seconds to try again: there is room for as many requests
// as the limit says by then.
const rateRetryAfter = 1

func (r *rates) refusal() *gqlerror.Error {
	refused := gqlError("RATE_LIMITED", fmt.Sprintf("This API token sends more than %d requests a second: try again in a second. "+
		"Many documents go into one request as a batch, and subscriptions tell of changes without asking.", r.limit))
	refused.Extensions["retryAfter"] = rateRetryAfter
	return refused
}
