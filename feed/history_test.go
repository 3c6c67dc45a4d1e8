package feed_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"platen"
	"platen/feed"
	"platen/storage"
	"platen/storage/storagetest"
)

func allDocuments(platen.AnyDocument) bool { return true }

func TestR7_3AFeedShowsEachChangeAndGoesOnAfterACursorOnAnyNode(t *testing.T) {
	t.Parallel()
	b := setup(t)
	other := startHub(t, b.db)
	first := storagetest.Submission(t, b.db, b.account, false) // before the feed began
	entries := channel(b.hub.Documents(t.Context(), b.scope, "", allDocuments))
	ready := next(t, entries)
	if !ready.Ready {
		t.Fatalf("first: %+v", ready)
	}
	s := storagetest.Submission(t, b.db, b.account, false)
	actions := b.process(t, s, 2)
	b.attempt(t, s, actions[0].ID, true)
	want := []string{"PENDING", "PROCESSED PENDING PENDING", "PROCESSED PENDING PROCESSED"}
	read := func(entries <-chan *feed.Entry, n int) (shown []string, last string) {
		t.Helper()
		for len(shown) < n {
			e := next(t, entries)
			document := e.Event.Subject.(*platen.Submission)
			if document.ID == first.ID && len(shown) == 0 {
				continue // the hub can be a moment behind when the feed begins
			}
			var states []string // in any order: the actions were made at one moment
			for _, a := range document.Actions {
				states = append(states, " "+string(a.State))
			}
			slices.Sort(states)
			shown, last = append(shown, string(document.State)+strings.Join(states, "")), e.Cursor
		}
		return shown, last
	}
	got, cursor := read(entries, 3)
	if !slices.Equal(got, want) {
		t.Errorf("live: %q", got)
	}
	again := channel(other.Documents(t.Context(), b.scope, ready.Cursor, allDocuments))
	if e := next(t, again); !e.Ready || e.Cursor != ready.Cursor {
		t.Errorf("who comes back is told %+v", e)
	}
	if got, _ := read(again, 3); !slices.Equal(got, want) {
		t.Errorf("after a cursor, on another node: %q", got)
	}
	// Actions: each when it is made, with what made it, and then each change.
	made := channel(other.Actions(t.Context(), b.scope, ready.Cursor, func(*platen.Action) bool { return true }))
	next(t, made)
	one, two, three := next(t, made), next(t, made), next(t, made)
	if one.ActionID == two.ActionID || three.ActionID != actions[0].ID || one.Cursor == two.Cursor || three.Cursor != cursor {
		t.Errorf("%+v\n%+v\n%+v", one, two, three)
	}
	half := channel(b.hub.Actions(t.Context(), b.scope, one.Cursor, func(*platen.Action) bool { return true }))
	next(t, half)
	if e := next(t, half); e.ActionID != one.ActionID {
		t.Errorf("after the first of two that one event made comes %+v, want both again", e)
	}
}

func TestR1_2AFeedIsScoped(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stranger, _, _ := storagetest.Account(t, b.db)
	theirs := channel(b.hub.Documents(t.Context(), storage.Scope{AccountID: stranger.ID}, "", allDocuments))
	tests := channel(b.hub.Documents(t.Context(), storage.Scope{AccountID: b.account, TestOnly: true}, "", allDocuments))
	next(t, theirs)
	cursor := next(t, tests).Cursor
	storagetest.Submission(t, b.db, b.account, false)
	test := storagetest.Submission(t, b.db, b.account, true)
	own := storagetest.Submission(t, b.db, stranger.ID, false)
	if e := next(t, tests); e.Event.SubjectID != test.ID {
		t.Errorf("a test token is shown %s", e.Event.SubjectID)
	}
	if e := next(t, theirs); e.Event.SubjectID != own.ID {
		t.Errorf("another account is shown %s", e.Event.SubjectID)
	}
	// Also where it is read from the history.
	again := channel(b.hub.Documents(t.Context(), storage.Scope{AccountID: b.account, TestOnly: true}, cursor, allDocuments))
	next(t, again)
	if e := next(t, again); e.Event.SubjectID != test.ID {
		t.Errorf("a test token that comes back is shown %s", e.Event.SubjectID)
	}
}

func TestR7_3WhoComesBackTooLateOrToAnotherHistoryIsTold(t *testing.T) {
	t.Parallel()
	b := setup(t)
	old := b.hub.Position()
	storagetest.Submission(t, b.db, b.account, false)
	reset := func(hub *feed.Hub, after string) *feed.Entry {
		t.Helper()
		entries := channel(hub.Documents(t.Context(), b.scope, after, allDocuments))
		e := next(t, entries)
		if e.Reset != "" {
			if _, more := <-entries; more {
				t.Error("something comes after a reset")
			}
		}
		return e
	}
	if e := reset(b.hub, old); !e.Ready {
		t.Errorf("within the history: %+v", e)
	}
	if n, err := b.db.DeleteEventsBefore(t.Context(), time.Now().Add(time.Hour), 100); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	e := reset(b.hub, old)
	if e.Reset != platen.ResetCursorExpired {
		t.Fatalf("after the history was forgotten: %+v", e)
	}
	if e := reset(b.hub, e.Cursor); !e.Ready {
		t.Errorf("after the cursor of the reset: %+v", e)
	}
	for _, bad := range []string{"x", "!", old + "x", "YSBiIGM", "YSAxIC0x", "YSAxIDEgMQ"} {
		if _, err := b.hub.Documents(t.Context(), b.scope, bad, allDocuments); !errors.Is(err, storage.ErrCursor) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	// Of a future that was lost: the disk was put back to what it held before.
	epoch, _, err := feed.Decode(b.hub.Position())
	if err != nil {
		t.Fatal(err)
	}
	_, end, err := b.db.History(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	end.XID += 1 << 40 // other tests have transactions as well
	if e := reset(b.hub, feed.Encode(epoch, end)); e.Reset != platen.ResetCursorExpired {
		t.Errorf("after a cursor of the future: %+v", e)
	}
	// A table that was put back is another one, whatever it holds.
	now := b.hub.Position()
	if _, err := b.db.SQL().ExecContext(t.Context(), `alter table events rename to lost; create table events (like lost including all)`); err != nil {
		t.Fatal(err)
	}
	if e := reset(startHub(t, b.db), now); e.Reset != platen.ResetCursorExpired {
		t.Errorf("after a restore: %+v", e)
	}
}

func TestR7_3AServerWhoseDiskWasPutBackBeginsAnew(t *testing.T) {
	t.Parallel()
	b := setup(t)
	entries := channel(b.hub.Documents(t.Context(), b.scope, "", allDocuments))
	next(t, entries)
	_, end, err := b.db.History(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	end.XID += 1 << 40
	b.hub.Skip(end)
	// Until the hub listens, there is nothing to cut.
	for cut := false; !cut; {
		if err := b.db.SQL().QueryRowContext(t.Context(), `select count(pg_terminate_backend(pid)) > 0 from pg_stat_activity
			where datname = current_database() and query ilike 'listen%'`).Scan(&cut); err != nil {
			t.Fatal(err)
		}
	}
	e := next(t, entries)
	if e.Reset != platen.ResetCursorExpired {
		t.Fatalf("a reader is told %+v", e)
	}
	again := channel(b.hub.Documents(t.Context(), b.scope, e.Cursor, allDocuments))
	next(t, again)
	s := storagetest.Submission(t, b.db, b.account, false)
	if e := next(t, again); e.Event == nil || e.Event.SubjectID != s.ID {
		t.Errorf("then comes %+v", e)
	}
}

// Who has lost the right to be told is told nothing more, whatever waits.
func TestR1_2AReaderWhoseContextEndsIsToldNothingThatWaits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	entries, err := b.hub.Documents(ctx, b.scope, "", allDocuments)
	if err != nil {
		t.Fatal(err)
	}
	other := channel(b.hub.Documents(t.Context(), b.scope, "", allDocuments))
	next(t, other)
	told := 0
	for e := range entries {
		if e.Ready {
			for range 20 {
				storagetest.Submission(t, b.db, b.account, false)
			}
			b.hub.Nudge()
			for range 20 { // what is handed to one is handed to all
				next(t, other)
			}
			end()
			continue
		}
		told++
	}
	if told > 0 {
		t.Errorf("%d entries were told afterwards", told)
	}
}

func TestR7_3ANodeThatIsCutOffUnderLoadDoesNotBeginAnew(t *testing.T) {
	t.Parallel()
	b := setup(t)
	entries := channel(b.hub.Documents(t.Context(), b.scope, "", allDocuments))
	next(t, entries)
	const changes = 1000
	var writer sync.WaitGroup
	writer.Go(func() {
		for range changes {
			storagetest.Submission(t, b.db, b.account, false)
			b.hub.Nudge()
		}
	})
	var seen sync.WaitGroup
	done, stop := context.WithCancel(t.Context())
	seen.Go(func() {
		defer stop()
		for range changes {
			if e := <-entries; e == nil || e.Reset != "" {
				t.Errorf("got %+v", e)
				return
			}
		}
	})
	for done.Err() == nil {
		if err := b.hub.Renew(t.Context()); err != nil {
			t.Error(err)
		}
	}
	seen.Wait()
	writer.Wait()
}

func TestR7_5WhoReadsTooSlowlyIsToldAndHoldsUpNobody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := storagetest.Submission(t, b.db, b.account, false)
	action := b.process(t, s, 1)[0]
	slow := channel(b.hub.Documents(t.Context(), b.scope, "", allDocuments))
	before := b.hub.Position()
	quick := channel(b.hub.Documents(t.Context(), b.scope, "", allDocuments))
	next(t, slow)
	next(t, quick)
	const changes = 1200 // more than may wait
	var seen sync.WaitGroup
	seen.Go(func() {
		for last := 0; last < changes; {
			e, ok := <-quick
			if !ok || e.Reset != "" {
				t.Errorf("who keeps up is told %+v", e)
				return
			}
			if a := e.Event.Subject.Base().Action(action.ID); a != nil {
				last = a.Attempts
			}
		}
	})
	for range changes {
		b.attempt(t, s, action.ID, false)
	}
	b.hub.Nudge()
	seen.Wait()
	count := 0
	for e := range slow {
		if count++; e.Reset == "" {
			continue
		}
		if e.Reset != platen.ResetTooSlow {
			t.Errorf("%+v", e)
		}
		again := channel(b.hub.Documents(t.Context(), b.scope, e.Cursor, allDocuments))
		if e := next(t, again); !e.Ready {
			t.Errorf("after the cursor of the reset: %+v", e)
		}
	}
	// One who comes back reads from the history, at any pace.
	back := channel(b.hub.Documents(t.Context(), b.scope, before, allDocuments))
	next(t, back)
	for last := 0; last < changes; {
		e := next(t, back)
		if a := e.Event.Subject.Base().Action(action.ID); a != nil && a.Attempts > 0 {
			if last++; a.Attempts != last {
				t.Fatalf("attempt %d came after %d", a.Attempts, last-1)
			}
		}
	}
	if count > 10 {
		t.Errorf("%d entries came to one who did not read, until it was told", count)
	}
}

func TestR7_3AFeedThatBeginsDuringAnOutageWaits(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	account, _, _ := storagetest.Account(t, db)
	warned := make(signal, 1)
	hub := startHubThatLogs(t, db, slog.New(slog.NewTextHandler(warned, nil)))
	rename := func(from, to string) {
		t.Helper()
		if _, err := db.SQL().ExecContext(t.Context(), `alter table `+from+` rename to `+to); err != nil {
			t.Fatal(err)
		}
	}
	rename("installation", "away")
	entries := channel(hub.Documents(t.Context(), storage.Scope{AccountID: account.ID}, "", allDocuments))
	<-warned
	rename("away", "installation")
	if e := next(t, entries); !e.Ready {
		t.Errorf("after the outage: %+v", e)
	}
}

// Writers commit in random order, and some roll back; readers come, go, and come back to
// either of two nodes, while the connections by which these learn of changes are cut.
// Each reader has to see all that was committed after it first came, once, in one order.
// TEST_LONG=1 makes it ten times as long.
func TestR7_3EveryReaderSeesEveryChangeOnceAndInOrder(t *testing.T) {
	t.Parallel()
	changes, readers := 1000, 20
	if os.Getenv("TEST_LONG") != "" {
		changes, readers = 10_000, 200
	}
	dsn := storagetest.DSN(t)
	var hubs []*feed.Hub
	var dbs []*storage.DB
	for range 2 {
		db, err := storage.Open(t.Context(), dsn, 30)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		dbs, hubs = append(dbs, db), append(hubs, startHub(t, db))
	}
	account, _, _ := storagetest.Account(t, dbs[0])
	scope := storage.Scope{AccountID: account.ID}
	beginning, err := dbs[0].EventHorizon(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	var done atomic.Bool // nothing more is written
	var count atomic.Int64
	var writers, others sync.WaitGroup
	documents := make([]*platen.Submission, 12)
	for i := range documents {
		documents[i] = storagetest.Submission(t, dbs[0], account.ID, i%3 == 0)
		(&bundle{db: dbs[0]}).process(t, documents[i], 1)
	}
	rollback := errors.New("rolled back on purpose")
	for w := range 8 {
		writers.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(w)))
			db, hub := dbs[w%2], hubs[w%2]
			for count.Add(1) <= int64(changes) {
				if r.IntN(4) == 0 {
					storagetest.Submission(t, db, account.ID, false)
					hub.Nudge()
					continue
				}
				s := documents[r.IntN(len(documents))]
				err := db.InTx(t.Context(), func(tx *storage.Tx) error {
					locked, err := tx.LockDocument(t.Context(), account.ID, s.ID)
					if err != nil {
						return err
					}
					a := locked.Common().Actions[0]
					a.Attempts++
					if err := tx.UpdateAction(t.Context(), locked, a); err != nil {
						return err
					}
					if _, err := tx.SQL().ExecContext(t.Context(), `select pg_sleep($1)`, r.Float64()*0.005); err != nil {
						return err
					}
					if r.IntN(10) == 0 {
						return rollback
					}
					return nil
				})
				if err != nil && !errors.Is(err, rollback) {
					t.Error(err)
					return
				}
				if r.IntN(3) > 0 { // the other nudges are lost
					hub.Nudge()
				}
			}
		})
	}
	others.Go(func() {
		for !done.Load() {
			time.Sleep(50 * time.Millisecond)
			_, err := dbs[0].SQL().ExecContext(t.Context(), `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query ilike 'listen%'`)
			if err != nil && t.Context().Err() == nil {
				t.Error(err)
			}
		}
	})

	type trace struct {
		from platen.Cursor
		seen []string
	}
	traces := make([]trace, readers)
	var last atomic.Pointer[string] // the last event, once it is known
	var reading, coming sync.WaitGroup
	for i := range traces {
		coming.Add(1)
		came := sync.OnceFunc(coming.Done)
		reading.Go(func() {
			defer came()
			r := rand.New(rand.NewPCG(2, uint64(i)))
			time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond) // they come one after the other
			cursor := ""
			for t.Context().Err() == nil {
				ctx, leave := context.WithCancel(t.Context())
				entries := channel(hubs[r.IntN(2)].Documents(ctx, scope, cursor, allDocuments))
				for left := r.IntN(changes / 10); left >= 0; left-- {
					var e *feed.Entry
					select {
					case e = <-entries:
					case <-time.After(time.Duration(r.IntN(200)) * time.Millisecond):
					}
					if e == nil {
						break
					}
					if e.Reset != "" {
						t.Errorf("reader %d is told to begin anew: %+v", i, e)
						leave()
						return
					}
					if e.Ready && cursor == "" {
						traces[i].from = position(t, e.Cursor)
						came()
					}
					cursor = e.Cursor
					if !e.Ready {
						traces[i].seen = append(traces[i].seen, fmt.Sprint(e.Event.Cursor, " ", e.Event.SubjectID, " ", e.Event.Subject.Base().Changes))
					}
				}
				leave()
				for range entries {
				}
				if end := last.Load(); end != nil && len(traces[i].seen) > 0 && traces[i].seen[len(traces[i].seen)-1] == *end {
					return
				}
			}
		})
	}
	writers.Wait()
	coming.Wait()
	storagetest.Submission(t, dbs[0], account.ID, false) // so that every reader has something to see
	hubs[0].Nudge()

	var all []*platen.Event
	for at := beginning; ; {
		events, waiting, err := dbs[0].AccountEventsAfter(t.Context(), account.ID, at, 500)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, events...)
		if len(events) > 0 {
			at = events[len(events)-1].Cursor
			continue
		}
		if !waiting {
			break
		}
		time.Sleep(time.Millisecond)
	}
	line := func(e *platen.Event) string {
		return fmt.Sprint(e.Cursor, " ", e.SubjectID, " ", e.Subject.Base().Changes)
	}
	end := line(all[len(all)-1])
	last.Store(&end)
	reading.Wait()
	done.Store(true)
	others.Wait()

	changesOf := map[string]int{}
	for _, e := range all {
		if changesOf[e.SubjectID]++; e.Subject.Base().Changes != changesOf[e.SubjectID] {
			t.Errorf("change %d of %s came as number %d", e.Subject.Base().Changes, e.SubjectID, changesOf[e.SubjectID])
		}
	}
	entries := 0
	for i, got := range traces {
		var want []string
		for _, e := range all {
			if e.Cursor.After(got.from) {
				want = append(want, line(e))
			}
		}
		entries += len(got.seen)
		if !slices.Equal(got.seen, want) {
			t.Errorf("reader %d saw %d entries, want %d", i, len(got.seen), len(want))
		}
	}
	t.Logf("%d events; %d readers saw %d entries", len(all), readers, entries)
}

// position reads a cursor as clients cannot.
func position(t *testing.T, cursor string) platen.Cursor {
	t.Helper()
	_, c, err := feed.Decode(cursor)
	if err != nil {
		t.Error(err)
	}
	return c
}
