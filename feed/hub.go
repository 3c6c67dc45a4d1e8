// Package feed tells subscribers what changed, in the order in which it happened.
// Each node reads the history from the database by itself; notifications only tell
// it when to look, so a lost one costs a moment and never an event.
package feed

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"platen"
	"platen/storage"
)

const (
	// pollInterval is how soon new events are seen when every nudge was lost.
	pollInterval = time.Second
	// gather is how long nudges are gathered before the history is read, or before
	// other nodes are told: under load, one look serves many commits.
	gather = 5 * time.Millisecond
	// batch is how many events are read at a time.
	batch = 500
	// queueLength bounds what waits for a slow subscriber of one object. What is
	// overtaken is dropped first; the last state never is.
	queueLength = 64
	// feedLength bounds what waits for a slow reader of a feed, who is told to begin
	// anew when there is more.
	feedLength = 1000
)

// Hub reads the history and hands each event to those who follow what it is about.
type Hub struct {
	db   *storage.DB
	log  *slog.Logger
	name string // of this hub among those that tell one another

	nudged chan struct{} // this node has committed events
	look   chan struct{} // there may be something to read

	heldSince atomic.Int64 // in nanoseconds since 1970; 0: nothing is held back

	mu          sync.Mutex
	epoch       string                              // the name of the history
	position    platen.Cursor                       // in it: all before was handed out
	subscribers map[string]map[*subscriber]struct{} // by the id of what they follow; of feeds, the account's
}

// New makes a hub that reads the history from now on.
func New(ctx context.Context, db *storage.DB, log *slog.Logger) (*Hub, error) {
	epoch, err := db.Epoch(ctx)
	if err != nil {
		return nil, err
	}
	position, err := db.EventHorizon(ctx)
	if err != nil {
		return nil, err
	}
	return &Hub{db: db, log: log, name: platen.RandomString(12), epoch: epoch, position: position,
		nudged: make(chan struct{}, 1), look: make(chan struct{}, 1),
		subscribers: map[string]map[*subscriber]struct{}{}}, nil
}

// Nudge says that events were committed. It never blocks.
func (h *Hub) Nudge() { wake(h.nudged) }

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is awake already
	}
}

// Run reads and hands out events until ctx ends.
func (h *Hub) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { h.tellOthers(ctx) })
	wg.Go(func() { h.listen(ctx) })
	wg.Go(func() { h.tail(ctx) })
	wg.Wait()
}

// tellOthers passes nudges on to all nodes.
func (h *Hub) tellOthers(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.nudged:
		}
		wake(h.look) // this node does not wait for its own notification
		sleep(ctx, gather)
		if err := h.db.Nudge(ctx, h.name); err != nil && ctx.Err() == nil {
			h.log.WarnContext(ctx, "other nodes will learn of new events by polling", "error", err)
		}
	}
}

// listen turns notifications into looks, and connects again whenever it is cut off.
func (h *Hub) listen(ctx context.Context) {
	for ctx.Err() == nil {
		err := h.listenOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		h.log.WarnContext(ctx, "listening for new events was interrupted", "error", err)
		sleep(ctx, pollInterval)
	}
}

func (h *Hub) listenOnce(ctx context.Context) error {
	listener, err := h.db.Listen(ctx, storage.EventChannel)
	if err != nil {
		return err
	}
	defer listener.Close()
	// The database that was lost and is there again can be another, or an older one.
	if err := h.renew(ctx); err != nil {
		return err
	}
	wake(h.look) // what came while nobody listened
	for {
		n, err := listener.Wait(ctx)
		if err != nil {
			return err
		}
		if n.Payload != h.name {
			wake(h.look)
		}
	}
}

// renew looks whether the history is still the same. If it is another, those who read the
// old one have to begin anew.
func (h *Hub) renew(ctx context.Context) error {
	_, position := h.where() // before the horizon is asked for: it moves on meanwhile
	epoch, err := h.db.Epoch(ctx)
	if err != nil {
		return err
	}
	horizon, err := h.db.EventHorizon(ctx)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if epoch == h.epoch && !position.After(horizon) { // else its disk was put back
		return nil
	}
	h.log.WarnContext(ctx, "the database was restored, moved or taken over: its history begins anew")
	h.epoch, h.position = epoch, horizon
	for _, of := range h.subscribers {
		for s := range of {
			s.renew()
		}
	}
	return nil
}

func (h *Hub) tail(ctx context.Context) {
	timer := time.NewTimer(pollInterval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-h.look:
			sleep(ctx, gather)
		}
		timer.Reset(h.read(ctx))
	}
}

// read hands out all that can be read, and says when to look again unasked.
func (h *Hub) read(ctx context.Context) time.Duration {
	for {
		epoch, position := h.where()
		events, waiting, err := h.db.EventsAfter(ctx, position, batch)
		if err != nil {
			if ctx.Err() == nil {
				h.log.WarnContext(ctx, "reading new events failed and will be tried again", "error", err)
			}
			return pollInterval
		}
		for _, event := range events {
			h.hand(epoch, event)
		}
		if len(events) == batch {
			continue
		}
		return h.held(waiting, len(events) > 0)
	}
}

// held says when to look again, whether or not there are events that a transaction still
// open holds back: nobody nudges us when it ends. The longer it lasts, the less
// often; such a transaction may stay open for hours.
func (h *Hub) held(waiting, progress bool) time.Duration {
	if !waiting {
		h.heldSince.Store(0)
		return pollInterval
	}
	if progress || h.heldSince.Load() == 0 {
		h.heldSince.Store(time.Now().UnixNano())
	}
	return max(2*gather, min(h.Lag()/2, pollInterval))
}

// Lag is for how long events have been held back by a transaction that is still
// open somewhere on the database server; 0: none are.
func (h *Hub) Lag() time.Duration {
	since := h.heldSince.Load()
	if since == 0 {
		return 0
	}
	return time.Since(time.Unix(0, since))
}

// where is the hub's position, and the history that it is in.
func (h *Hub) where() (epoch string, position platen.Cursor) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.epoch, h.position
}

// Position is a cursor after which everything is still to come that a read which begins
// after this call does not show.
func (h *Hub) Position() string {
	epoch, position := h.where()
	return encode(epoch, position)
}

// hand gives an event to those who follow its subject, to those who follow the batch that
// its subject is of, and to the feeds of its account.
func (h *Hub) hand(epoch string, event *platen.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if epoch != h.epoch {
		return // it is of a history that is over
	}
	h.position = event.Cursor
	for s := range h.subscribers[event.AccountID] {
		s.put(event)
	}
	for s := range h.subscribers[event.SubjectID] {
		s.put(event)
	}
	if submission, ok := event.Subject.(*platen.Submission); ok && submission.BatchID != "" {
		for s := range h.subscribers[submission.BatchID] {
			s.put(event)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// subscriber is a bounded queue of events: of one subject, of which the last ones count,
// or of a feed, of which each counts.
type subscriber struct {
	mu     sync.Mutex
	queue  []*platen.Event
	filled chan struct{}

	whole bool  // nothing may be left out
	ended error // why nothing more comes: errTooSlow or errRenewed
}

var (
	errTooSlow = errors.New("the reader fell too far behind")
	errRenewed = errors.New("the history is another one")
)

// renew says that the history is another one. Who follows one subject sees that by what
// comes next.
func (s *subscriber) renew() {
	s.mu.Lock()
	if s.whole {
		s.ended, s.queue = errRenewed, nil
	}
	s.mu.Unlock()
	wake(s.filled)
}

func (s *subscriber) put(event *platen.Event) {
	s.mu.Lock()
	switch {
	case s.ended != nil:
		s.mu.Unlock()
		return
	case s.whole && len(s.queue) == feedLength:
		s.ended, s.queue = errTooSlow, nil
		s.mu.Unlock()
		wake(s.filled)
		return
	case !s.whole && len(s.queue) == queueLength:
		s.queue = append(s.queue[:0], s.queue[1:]...)
	}
	s.queue = append(s.queue, event)
	s.mu.Unlock()
	wake(s.filled)
}

func (s *subscriber) take(ctx context.Context) (*platen.Event, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err // whatever waits
		}
		s.mu.Lock()
		if len(s.queue) > 0 {
			event := s.queue[0]
			s.queue = s.queue[1:]
			s.mu.Unlock()
			return event, nil
		}
		ended := s.ended
		s.mu.Unlock()
		if ended != nil {
			return nil, ended
		}
		select {
		case <-s.filled:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// latest waits for an event and returns the newest there is, of which the others are
// forgotten.
func (s *subscriber) latest(ctx context.Context) (*platen.Event, error) {
	event, err := s.take(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.queue); n > 0 {
		event, s.queue = s.queue[n-1], nil
	}
	return event, nil
}

func (h *Hub) subscribe(ctx context.Context, subjectID string) (s *subscriber, leave func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, left := h.join(subjectID, false)
	stop := context.AfterFunc(ctx, left) // for one who never reads
	return s, func() { stop(); left() }
}

// join adds a subscriber; the hub is locked.
func (h *Hub) join(subjectID string, whole bool) (s *subscriber, leave func()) {
	s = &subscriber{filled: make(chan struct{}, 1), whole: whole}
	if h.subscribers[subjectID] == nil {
		h.subscribers[subjectID] = map[*subscriber]struct{}{}
	}
	h.subscribers[subjectID][s] = struct{}{}
	return s, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.subscribers[subjectID], s)
		if len(h.subscribers[subjectID]) == 0 {
			delete(h.subscribers, subjectID)
		}
	}
}

// Subscribers counts the subscriptions of this node.
func (h *Hub) Subscribers() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, of := range h.subscribers {
		n += len(of)
	}
	return n
}
