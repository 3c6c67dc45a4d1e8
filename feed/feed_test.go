package feed_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"platen"
	"platen/feed"
	"platen/storage"
	"platen/storage/storagetest"
)

func TestMain(m *testing.M) { os.Exit(storagetest.Main(m)) }

type bundle struct {
	db      *storage.DB
	hub     *feed.Hub
	account string
	scope   storage.Scope
}

func setup(t *testing.T) *bundle {
	t.Helper()
	db := storagetest.New(t)
	account, _, _ := storagetest.Account(t, db)
	return &bundle{db: db, hub: startHub(t, db), account: account.ID, scope: storage.Scope{AccountID: account.ID}}
}

// startHub runs a hub, as a node does, until the test ends.
func startHub(t *testing.T, db *storage.DB) *feed.Hub {
	t.Helper()
	return startHubThatLogs(t, db, slog.New(slog.DiscardHandler))
}

func startHubThatLogs(t *testing.T, db *storage.DB, log *slog.Logger) *feed.Hub {
	t.Helper()
	hub, err := feed.New(t.Context(), db, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { hub.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return hub
}

// process makes a submission PROCESSED with this many pending actions.
func (b *bundle) process(t *testing.T, s *platen.Submission, actions int) []*platen.Action {
	t.Helper()
	var made []*platen.Action
	for range actions {
		made = append(made, &platen.Action{ID: platen.NewID(platen.KindAction), Type: platen.ActionAWSS3Upload})
	}
	now := time.Now()
	if err := b.db.InTx(t.Context(), func(tx *storage.Tx) error {
		locked, err := tx.LockDocument(t.Context(), s.AccountID, s.ID)
		if err != nil {
			return err
		}
		d := locked.Common()
		d.State, d.ProcessedAt = platen.DocumentProcessed, &now
		d.File = &platen.DocumentFile{ContentType: "application/pdf", SHA256: "ab", BlobKey: s.ID}
		return tx.FinishDocument(t.Context(), locked, made)
	}); err != nil {
		t.Fatal(err)
	}
	return made
}

// attempt changes an action once more; the last time it is PROCESSED.
func (b *bundle) attempt(t *testing.T, s *platen.Submission, actionID string, last bool) {
	t.Helper()
	if err := b.db.InTx(t.Context(), func(tx *storage.Tx) error {
		locked, err := tx.LockDocument(t.Context(), s.AccountID, s.ID)
		if err != nil {
			return err
		}
		for _, a := range locked.Common().Actions {
			if a.ID == actionID {
				a.Attempts++
				if last {
					a.State, a.Upload = platen.ActionProcessed, &platen.UploadReceipt{Key: "k"}
				}
				return tx.UpdateAction(t.Context(), locked, a)
			}
		}
		return errors.New("there is no such action")
	}); err != nil {
		t.Fatal(err)
	}
}

// shown is the submission of an update.
func shown(u *feed.Update) *platen.Submission { return u.Subject.(*platen.Submission) }

// channel reads what is told in a goroutine of its own, one ahead. An error ends the test.
func channel[T any](told iter.Seq[T], err error) <-chan T {
	if err != nil {
		panic(err)
	}
	c := make(chan T)
	go func() {
		defer close(c)
		for one := range told {
			c <- one
		}
	}()
	return c
}

// next is what is told next.
func next[T any](t *testing.T, told <-chan T) (one T) {
	t.Helper()
	ok := true
	select {
	case one, ok = <-told:
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came")
	}
	if !ok {
		t.Fatal("the subscription has ended")
	}
	return one
}

func ended(t *testing.T, updates <-chan *feed.Update) {
	t.Helper()
	select {
	case u, ok := <-updates:
		if ok {
			t.Fatalf("after the last state came %+v", shown(u))
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the subscription does not end")
	}
}

func TestR7_2ASubscriptionSendsThePresentThenEachStateAndEnds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := storagetest.Submission(t, b.db, b.account, false)
	updates := channel(b.hub.Document(t.Context(), b.scope, s.ID))
	if u := next(t, updates); !u.Snapshot || shown(u).State != platen.DocumentPending || u.Cursor == "" {
		t.Errorf("first: %+v", u)
	}
	action := b.process(t, s, 1)[0]
	if u := next(t, updates); u.Snapshot || shown(u).State != platen.DocumentProcessed || len(shown(u).Actions) != 1 || shown(u).Final() {
		t.Errorf("second: %+v", shown(u))
	}
	actions := channel(b.hub.Action(t.Context(), b.scope, action.ID))
	if u := next(t, actions); !u.Snapshot || u.Subject.Base().Action(action.ID).State != platen.ActionPending {
		t.Errorf("the action first: %+v", u)
	}
	b.attempt(t, s, action.ID, true)
	if u := next(t, updates); u.ActionID != action.ID || !shown(u).Final() {
		t.Errorf("third: %+v", u)
	}
	ended(t, updates)
	if u := next(t, actions); u.Subject.Base().Action(action.ID).State != platen.ActionProcessed {
		t.Errorf("the action last: %+v", u)
	}
	ended(t, actions)
	// What is final already is shown once.
	updates = channel(b.hub.Document(t.Context(), b.scope, s.ID))
	if u := next(t, updates); !u.Snapshot || !shown(u).Final() {
		t.Errorf("a final one: %+v", u)
	}
	ended(t, updates)
}

func TestR7_2AnotherNodesSubscribersSeeTheSame(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := storagetest.Submission(t, b.db, b.account, false)
	updates := channel(startHub(t, b.db).Document(t.Context(), b.scope, s.ID))
	next(t, updates)
	b.process(t, s, 0)
	b.hub.Nudge() // only this node knows that there is something to read
	if u := next(t, updates); shown(u).State != platen.DocumentProcessed {
		t.Errorf("%+v", shown(u))
	}
	ended(t, updates)
}

func TestR7_2ALostNudgeCostsAMomentAndNoState(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := storagetest.Submission(t, b.db, b.account, false)
	updates := channel(b.hub.Document(t.Context(), b.scope, s.ID))
	next(t, updates)
	b.process(t, s, 0) // and nobody says so
	if u := next(t, updates); shown(u).State != platen.DocumentProcessed {
		t.Errorf("%+v", shown(u))
	}
}

func TestR7_2ASlowSubscriberMissesWhatWasOvertakenAndNeverTheLast(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := storagetest.Submission(t, b.db, b.account, false)
	action := b.process(t, s, 1)[0]
	updates := channel(b.hub.Document(t.Context(), b.scope, s.ID))
	next(t, updates)
	const changes = 300
	for range changes {
		b.attempt(t, s, action.ID, false)
	}
	b.attempt(t, s, action.ID, true)
	b.hub.Nudge()
	fast := channel(b.hub.Action(t.Context(), b.scope, action.ID))
	next(t, fast)
	ended(t, fast) // the writer and other readers were not held up
	last, count := 0, 0
	for u := range updates {
		if shown(u).Changes <= last {
			t.Fatalf("change %d came after change %d", shown(u).Changes, last)
		}
		last, count = shown(u).Changes, count+1
		if shown(u).Final() && shown(u).Actions[0].Attempts != changes+1 {
			t.Errorf("the last state shows %d attempts", shown(u).Actions[0].Attempts)
		}
	}
	if last != changes+3 {
		t.Errorf("the last state was change %d of %d", last, changes+3)
	}
}

func TestR1_3ASubscriptionIsScoped(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := storagetest.Submission(t, b.db, b.account, false)
	action := b.process(t, s, 1)[0]
	other, _, _ := storagetest.Account(t, b.db)
	for name, scope := range map[string]storage.Scope{"another account": {AccountID: other.ID}, "a test token": {AccountID: b.account, TestOnly: true}} {
		if _, err := b.hub.Document(t.Context(), scope, s.ID); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", name, err)
		}
		if _, err := b.hub.Action(t.Context(), scope, action.ID); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s, the action: %v, want ErrNotFound", name, err)
		}
	}
}

// signal is a log that tells when something was written to it.
type signal chan struct{}

func (s signal) Write(p []byte) (int, error) {
	select {
	case s <- struct{}{}:
	default:
	}
	return len(p), nil
}

func TestR7_2ABatchIsFollowedAcrossAnOutage(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	account, _, _ := storagetest.Account(t, db)
	b := &bundle{db: db, account: account.ID, scope: storage.Scope{AccountID: account.ID}}
	warned := make(signal, 1)
	b.hub = startHubThatLogs(t, db, slog.New(slog.NewTextHandler(warned, nil)))
	batch := &platen.Batch{AccountID: account.ID, ID: platen.NewID(platen.KindBatch), Metadata: []byte("{}")}
	s := &platen.Submission{Source: platen.SourceHTML, Output: platen.OutputPDF, Content: &platen.TemplateContent{HTML: "<p>Hello</p>", Page: platen.DefaultPageSettings()},
		BatchID: batch.ID, Document: platen.Document{Record: platen.Record{AccountID: account.ID, ID: platen.NewID(platen.KindSubmission)}, Metadata: []byte("{}")}}
	if err := db.InTx(t.Context(), func(tx *storage.Tx) error {
		if err := tx.CreateBatch(t.Context(), batch); err != nil {
			return err
		}
		return tx.CreateSubmissions(t.Context(), []*platen.Submission{s})
	}); err != nil {
		t.Fatal(err)
	}
	updates := channel(b.hub.Batch(t.Context(), b.scope, batch.ID))
	if u := <-updates; !u.Snapshot || u.Batch.Total != 1 {
		t.Fatalf("first: %+v", u.Batch)
	}
	rename := func(from, to string) {
		t.Helper()
		if _, err := db.SQL().ExecContext(t.Context(), `alter table `+from+` rename to `+to); err != nil {
			t.Fatal(err)
		}
	}
	rename("submission_batches", "away")
	b.process(t, s, 0)
	b.hub.Nudge()
	<-warned
	rename("away", "submission_batches")
	if u, ok := <-updates; !ok || u.Batch.State() != platen.BatchProcessed {
		t.Errorf("after the outage: %+v", u)
	}
	if _, ok := <-updates; ok {
		t.Error("something comes after the end")
	}
}

func TestAwaitReturnsTheFinalStateOrWhatItSawLast(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := storagetest.Submission(t, b.db, b.account, false)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if got, err := b.hub.Await(ctx, b.scope, s.ID); err != nil || got.Common().State != platen.DocumentPending {
		t.Errorf("patience over: %+v, %v", got, err)
	}
	result := make(chan *platen.Submission, 1)
	go func() {
		got, err := b.hub.Await(t.Context(), b.scope, s.ID)
		if err != nil {
			t.Error(err)
		}
		result <- got.(*platen.Submission)
	}()
	b.process(t, s, 1)
	b.hub.Nudge()
	if got := <-result; got.State != platen.DocumentProcessed || len(got.Actions) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestSubscribersThatLeaveAreForgotten(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := storagetest.Submission(t, b.db, b.account, false)
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		updates := channel(b.hub.Document(ctx, b.scope, s.ID))
		next(t, updates)
		cancel()
		ended(t, updates)
	}
	deadline := time.Now().Add(10 * time.Second)
	for b.hub.Subscribers() > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("%d subscribers are still known", b.hub.Subscribers())
		}
		time.Sleep(time.Millisecond)
	}
}
