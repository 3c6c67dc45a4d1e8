package pipeline

import (
	"sync"
	"time"

	"platen"
)

const (
	// laneWidth is how many deliveries of one integration run at a time on a node, out
	// of many more workers: one that is slow keeps no other from its turn (R6.4).
	laneWidth = 8
	// laneFaults is after how many transient faults in a row a lane is closed.
	laneFaults = 5
	// laneClosedMax is the longest time for which a lane is closed before one delivery
	// is let in to see whether the other side is back.
	laneClosedMax = 5 * time.Minute
	// lanePauseMax is the longest time for which a delivery is sent away at once: what
	// waits has to come by when the other side is back.
	lanePauseMax = time.Minute
	// lanePauseMin keeps what is sent away from coming back faster than a slot can be free.
	lanePauseMin = 100 * time.Millisecond
	// lanesMax bounds what is remembered: presigned URLs can name any number of hosts.
	lanesMax = 10_000
)

// lanes give each integration its own share of the workers, and keep deliveries away
// from one that does not answer. They hold for this node; another finds out by itself.
type lanes struct {
	closedBase time.Duration // for how long a lane is closed at first; doubles each time

	mu    sync.Mutex
	lanes map[string]*lane
}

type lane struct {
	running int
	faults  int // transient ones since the last answer
	failure *platen.Failure
	until   time.Time     // when the next delivery may try whether a closed lane is open again
	pace    time.Duration // of one delivery, a moving average
	tail    time.Time     // when the last of those that were sent away comes back
}

func newLanes(closedBase time.Duration) *lanes {
	return &lanes{closedBase: closedBase, lanes: map[string]*lane{}}
}

// enter asks for a place. Without one, wait is above zero: for how long to stay away;
// failure is then what closed the lane, or nil if it is merely full. With one, leave
// has to be called. force lets a delivery into a closed lane: somebody asked for it.
func (l *lanes) enter(name string, force bool, now time.Time) (wait time.Duration, failure *platen.Failure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.lanes[name]
	if one == nil {
		l.tidy()
		one = &lane{}
		l.lanes[name] = one
	}
	closed := one.faults >= laneFaults && !force
	if one.running < laneWidth && !(closed && (one.running > 0 || now.Before(one.until))) {
		one.running++
		return 0, nil
	}
	// A place in line: those who wait come back one after the other, at the pace at
	// which places become free.
	first := now
	if closed {
		failure = one.failure
		if one.until.After(now) {
			first = one.until
		}
	}
	if one.tail.Before(first) {
		one.tail = first
	}
	one.tail = one.tail.Add(one.pace / laneWidth)
	if latest := now.Add(lanePauseMax); one.tail.After(latest) {
		one.tail = latest
	}
	return max(one.tail.Sub(now), lanePauseMin), failure
}

// tidy makes room for one lane more by forgetting all that nobody is in.
func (l *lanes) tidy() {
	if len(l.lanes) < lanesMax {
		return
	}
	for name, one := range l.lanes {
		if one.running == 0 {
			delete(l.lanes, name)
		}
	}
}

// leave gives the place back and notes what came of it: a failure of the other side,
// or nil for an answer. judged is false when nothing was learnt of it.
func (l *lanes) leave(name string, failure *platen.Failure, judged bool, took time.Duration, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.lanes[name]
	one.running--
	switch {
	case !judged:
	case failure == nil || !failure.Retryable:
		one.faults, one.failure, one.until = 0, nil, time.Time{}
		one.pace += (took - one.pace) / 4
	default:
		one.faults++
		one.failure = failure
		if one.faults >= laneFaults {
			one.until = now.Add(min(l.closedBase<<min(one.faults-laneFaults, 20), laneClosedMax))
		}
		one.pace += (took - one.pace) / 4
	}
	if one.running == 0 && one.faults == 0 && one.tail.Before(now) {
		delete(l.lanes, name) // those of integrations that are not in use take no memory
	}
}
