package pipeline

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"platen"
)

const (
	// DefaultQueueLimit is how many documents may wait, of all accounts together.
	DefaultQueueLimit = 50_000
	// admissionInterval is how old what a node knows of the queue may be.
	admissionInterval = time.Second
	// retryAfterMax is the longest time, in seconds, after which a caller who was refused
	// is told to come back, and the one told while nothing gets done.
	retryAfterMax = 300
)

// admission keeps the queue from growing beyond what can be worked off: what could not
// begin in time is better refused, while its caller can still do something about it. It
// counts what waits once a second, and what this node has accepted since, so several nodes
// together may let in somewhat more.
type admission struct {
	limit int // documents of all accounts; one account may have half of them
	count func(context.Context) (map[string]int, error)

	mu      sync.Mutex
	at      time.Time      // of the last count
	waiting map[string]int // by account
	total   int
	pace    float64 // documents worked off per second, as last seen
}

// admit refuses n documents more of an account if there are too many. The error is
// platen.Errors then. Else ahead is how many of the account wait before them, or have until
// a second ago.
func (a *admission) admit(ctx context.Context, accountID string, n int) (ahead int, err error) {
	if n > a.limit/2 {
		return 0, platen.Errors{{Code: platen.CodeTooLarge, Message: fmt.Sprintf("This makes %d documents at once, and only %d of an account may wait: make several calls.", n, a.limit/2)}}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := time.Now(); now.Sub(a.at) >= admissionInterval {
		waiting, err := a.count(ctx)
		if err != nil {
			return 0, err
		}
		a.renew(waiting, now)
	}
	own, all := a.waiting[accountID]+n-a.limit/2, a.total+n-a.limit
	if own <= 0 && all <= 0 {
		ahead = a.waiting[accountID]
		a.waiting[accountID] += n
		a.total += n
		return ahead, nil
	}
	after := a.retryAfter(max(own, all))
	message := fmt.Sprintf("Too many documents wait already: all that this Platen keeps waiting. Nothing was accepted: try again in %d seconds.", after)
	if own > 0 {
		message = fmt.Sprintf("%d documents of this account wait already, and %d may. Nothing was accepted: try again in %d seconds.", a.waiting[accountID], a.limit/2, after)
	}
	return 0, platen.Errors{{Code: platen.CodeQueueFull, Message: message, RetryAfter: after}}
}

// renew takes a new count. What others accepted meanwhile makes the pace seem slower than
// it is, so that callers come back later rather than in vain.
func (a *admission) renew(waiting map[string]int, now time.Time) {
	total := 0
	for _, n := range waiting {
		total += n
	}
	a.pace = max(0, float64(a.total-total)/now.Sub(a.at).Seconds())
	a.at, a.waiting, a.total = now, waiting, total
}

// retryAfter is in how many seconds there may be room for so many documents.
func (a *admission) retryAfter(documents int) int {
	if a.pace == 0 {
		return retryAfterMax
	}
	return int(min(max(1, math.Ceil(float64(documents)/a.pace)), retryAfterMax))
}
