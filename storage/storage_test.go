package storage_test

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"platen"
	"platen/storage"
	"platen/storage/storagetest"
)

func TestMain(m *testing.M) { os.Exit(storagetest.Main(m)) }

// integration makes an enabled integration for these documents.
func integration(t *testing.T, db *storage.DB, accountID string, applies platen.AppliesTo) *platen.Integration {
	t.Helper()
	i := &platen.Integration{AccountID: accountID, ID: platen.NewID(platen.KindIntegration), Name: "Archive", Enabled: true,
		AppliesTo: applies, Secret: []byte{1}, S3: &platen.S3Settings{Region: "eu-west-3", Bucket: "archive", SubmissionPath: platen.DefaultSubmissionPath}}
	if err := db.InTx(t.Context(), func(tx *storage.Tx) error { return tx.CreateIntegration(t.Context(), i) }); err != nil {
		t.Fatal(err)
	}
	return i
}

// process brings a submission to PROCESSED with one pending action.
func process(t *testing.T, db *storage.DB, s *platen.Submission, i *platen.Integration) *platen.Action {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Microsecond)
	ms := 7
	action := &platen.Action{ID: platen.NewID(platen.KindAction), Type: platen.ActionAWSS3Upload,
		IntegrationID: i.ID}
	err := db.InTx(t.Context(), func(tx *storage.Tx) error {
		locked, err := tx.LockDocument(t.Context(), s.AccountID, s.ID)
		if err != nil {
			return err
		}
		d := locked.Common()
		d.State, d.ProcessedAt, d.ProcessingTimeMS = platen.DocumentProcessed, &now, &ms
		d.File = &platen.DocumentFile{ContentType: "application/pdf", ByteSize: 5 << 30, PageCount: 3, SHA256: "ab", BlobKey: s.ID + "/1-x.pdf"}
		return tx.FinishDocument(t.Context(), locked, []*platen.Action{action})
	})
	if err != nil {
		t.Fatal(err)
	}
	return action
}

func TestR1_3AnotherAccountSeesNothing(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	mine, _, _ := storagetest.Account(t, db)
	other, _, _ := storagetest.Account(t, db)
	s := storagetest.Submission(t, db, mine.ID, false)
	i := integration(t, db, mine.ID, platen.AppliesToLive)
	action := process(t, db, s, i)
	template := &platen.Template{AccountID: mine.ID, ID: platen.NewID(platen.KindTemplate), Name: "T", Draft: &platen.TemplateContent{HTML: "x"}}
	var version *platen.TemplateVersion
	if err := db.InTx(t.Context(), func(tx *storage.Tx) (err error) {
		if err := tx.CreateTemplate(t.Context(), template); err != nil {
			return err
		}
		version, _, err = tx.PublishTemplate(t.Context(), mine.ID, template.ID)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	reads := map[string]func(accountID string) error{
		"submission": func(a string) error {
			_, err := db.Submission(t.Context(), storage.Scope{AccountID: a}, s.ID)
			return err
		},
		"snapshot": func(a string) error {
			_, _, err := db.SubjectSnapshot(t.Context(), storage.Scope{AccountID: a}, s.ID)
			return err
		},
		"action": func(a string) error {
			_, err := db.Action(t.Context(), storage.Scope{AccountID: a}, action.ID)
			return err
		},
		"template":       func(a string) error { _, err := db.Template(t.Context(), a, template.ID); return err },
		"latest version": func(a string) error { _, err := db.LatestTemplateVersion(t.Context(), a, template.ID); return err },
		"version":        func(a string) error { _, err := db.TemplateVersion(t.Context(), a, version.ID); return err },
		"integration":    func(a string) error { _, err := db.Integration(t.Context(), a, i.ID); return err },
		"lock submission": func(a string) error {
			return db.InTx(t.Context(), func(tx *storage.Tx) error { _, err := tx.LockDocument(t.Context(), a, s.ID); return err })
		},
	}
	for name, read := range reads {
		if err := read(mine.ID); err != nil {
			t.Errorf("%s, by its owner: %v", name, err)
		}
		if err := read(other.ID); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s, by another account: %v, want ErrNotFound", name, err)
		}
	}
	list, _, err := db.Submissions(t.Context(), storage.Scope{AccountID: other.ID}, platen.SubmissionFilter{}, storage.Page{First: 10})
	if err != nil || len(list) != 0 {
		t.Errorf("another account lists %d submissions, %v", len(list), err)
	}
	actions, err := db.ActionsOf(t.Context(), other.ID, []string{s.ID})
	if err != nil || len(actions) != 0 {
		t.Errorf("another account reads the actions: %v, %v", actions, err)
	}
}

func TestR1_2ATestTokensScopeHoldsTestDocumentsOnly(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	account, _, _ := storagetest.Account(t, db)
	live, test := storagetest.Submission(t, db, account.ID, false), storagetest.Submission(t, db, account.ID, true)
	action := process(t, db, live, integration(t, db, account.ID, platen.AppliesToLive))
	scope := storage.Scope{AccountID: account.ID, TestOnly: true}
	if _, err := db.Submission(t.Context(), scope, live.ID); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("the live submission: %v, want ErrNotFound", err)
	}
	if _, err := db.Action(t.Context(), scope, action.ID); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("the live submission's action: %v, want ErrNotFound", err)
	}
	if _, err := db.Submission(t.Context(), scope, test.ID); err != nil {
		t.Errorf("the test submission: %v", err)
	}
	list, _, err := db.Submissions(t.Context(), scope, platen.SubmissionFilter{}, storage.Page{First: 10})
	if err != nil || len(list) != 1 || list[0].ID != test.ID {
		t.Errorf("the list holds %d, %v; want the test submission alone", len(list), err)
	}
	if n, err := db.CountSubmissions(t.Context(), scope, platen.SubmissionFilter{}); err != nil || n != 1 {
		t.Errorf("counted %d, %v", n, err)
	}
}

func TestR1_2TokensAreFoundByTheirSecretUntilTheyEnd(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	account, live, test := storagetest.Account(t, db)
	token, err := db.APITokenBySecret(t.Context(), platen.HashTokenSecret(live))
	if err != nil || token.AccountID != account.ID || token.Environment != platen.Live {
		t.Fatalf("%+v, %v", token, err)
	}
	tokens, err := db.APITokensByID(t.Context(), account.ID, []string{token.ID})
	if token = tokens[token.ID]; err != nil || token == nil || token.LastUsedAt == nil || token.Hint != live[len(live)-4:] {
		t.Fatalf("%+v, %v; want its use noted and its hint", token, err)
	}
	if err := db.InTx(t.Context(), func(tx *storage.Tx) error {
		_, err := tx.RevokeAPIToken(t.Context(), account.ID, token.ID)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.APITokenBySecret(t.Context(), platen.HashTokenSecret(live)); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a revoked token: %v, want ErrNotFound", err)
	}
	past := time.Now().Add(-time.Second)
	expired := &platen.APIToken{AccountID: account.ID, Name: "old", Environment: platen.Live, Scope: platen.ScopeRead, ExpiresAt: &past}
	if err := db.InTx(t.Context(), func(tx *storage.Tx) error { return tx.CreateAPIToken(t.Context(), expired, "an-expired-secret") }); err != nil {
		t.Fatal(err)
	}
	if _, err := db.APITokenBySecret(t.Context(), platen.HashTokenSecret("an-expired-secret")); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("an expired token: %v, want ErrNotFound", err)
	}
	good, err := db.APITokenBySecret(t.Context(), platen.HashTokenSecret(test))
	if err != nil {
		t.Fatal(err)
	}
	ended, err := db.EndedAPITokens(t.Context(), []string{token.ID, expired.ID, good.ID, "tok_000000000000000000"})
	slices.Sort(ended)
	want := []string{token.ID, expired.ID, "tok_000000000000000000"}
	slices.Sort(want)
	if err != nil || !slices.Equal(ended, want) {
		t.Errorf("ended: %v, %v; want %v", ended, err, want)
	}
}

func TestR3_7PagesAreNewestFirstAndStableBothWays(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	account, _, _ := storagetest.Account(t, db)
	scope := storage.Scope{AccountID: account.ID}
	var newest []string
	for range 7 {
		newest = append([]string{storagetest.Submission(t, db, account.ID, false).ID}, newest...)
	}
	read := func(p storage.Page) (ids []string, first, last string, info storage.PageInfo) {
		t.Helper()
		list, info, err := db.Submissions(t.Context(), scope, platen.SubmissionFilter{}, p)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			ids = append(ids, s.ID)
		}
		return ids, storage.Cursor(list[0].CreatedAt, list[0].ID), storage.Cursor(list[len(list)-1].CreatedAt, list[len(list)-1].ID), info
	}
	ids, _, end, info := read(storage.Page{First: 3})
	if !slices.Equal(ids, newest[:3]) || !info.HasNext || info.HasPrevious {
		t.Errorf("first page: %v %+v", ids, info)
	}
	storagetest.Submission(t, db, account.ID, false) // a new one must not move the second page
	ids, _, end, info = read(storage.Page{First: 3, After: end})
	if !slices.Equal(ids, newest[3:6]) || !info.HasNext || !info.HasPrevious {
		t.Errorf("second page: %v %+v", ids, info)
	}
	ids, start, _, info := read(storage.Page{First: 3, After: end})
	if !slices.Equal(ids, newest[6:]) || info.HasNext {
		t.Errorf("last page: %v %+v", ids, info)
	}
	ids, _, _, info = read(storage.Page{Last: 2, Before: start})
	if !slices.Equal(ids, newest[4:6]) || !info.HasPrevious || !info.HasNext {
		t.Errorf("backward: %v %+v", ids, info)
	}
	for _, cursor := range []string{"x", "!!", "AAAA"} {
		if _, _, err := db.Submissions(t.Context(), scope, platen.SubmissionFilter{}, storage.Page{First: 3, After: cursor}); !errors.Is(err, storage.ErrCursor) {
			t.Errorf("cursor %q: %v, want ErrCursor", cursor, err)
		}
	}
}

func TestWhatASubmissionIsMadeOfIsKeptAsItWasSent(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	account, _, _ := storagetest.Account(t, db)
	s := &platen.Submission{Source: platen.SourceHTML, Output: platen.OutputPDF, Document: platen.Document{Record: platen.Record{AccountID: account.ID, ID: platen.NewID(platen.KindSubmission)}, Metadata: []byte(`{"b":1.10,"a":[1e2]}`)},
		Data:    []byte(`{"price":10.00,"big":12345678901234567890}`),
		Content: &platen.TemplateContent{HTML: "<p>", CSS: "p{}", HeaderHTML: "h", FooterHTML: "f", Page: platen.DefaultPageSettings()}}
	s.Content.Page.Scale = 1.5
	if err := db.InTx(t.Context(), func(tx *storage.Tx) error { return tx.CreateSubmissions(t.Context(), []*platen.Submission{s}) }); err != nil {
		t.Fatal(err)
	}
	got, err := db.Submission(t.Context(), storage.Scope{AccountID: account.ID}, s.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.SubmissionContent(t.Context(), got); err != nil {
		t.Fatal(err)
	}
	if string(got.Metadata) != string(s.Metadata) || string(got.Data) != string(s.Data) || !reflect.DeepEqual(got.Content, s.Content) {
		t.Errorf("got %s %s %+v", got.Metadata, got.Data, got.Content)
	}
	if got.State != platen.DocumentPending || got.Revision != 1 || got.Final() {
		t.Errorf("%+v", got)
	}
}

func TestR6_1ProcessedAndItsActionsAreOneEvent(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	account, _, _ := storagetest.Account(t, db)
	before, err := db.EventHorizon(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := storagetest.Submission(t, db, account.ID, false)
	action := process(t, db, s, integration(t, db, account.ID, platen.AppliesToLive))
	if err := db.InTx(t.Context(), func(tx *storage.Tx) error {
		locked, err := tx.LockDocument(t.Context(), account.ID, s.ID)
		if err != nil {
			return err
		}
		a := locked.Common().Actions[0]
		a.State, a.Attempts, a.Upload = platen.ActionProcessed, 1, &platen.UploadReceipt{Bucket: "archive", Key: "k", ETag: `"e"`}
		return tx.UpdateAction(t.Context(), locked, a)
	}); err != nil {
		t.Fatal(err)
	}
	// Transactions of other tests on this server can hold the history back a moment.
	var events []*platen.Event
	for len(events) < 3 && t.Context().Err() == nil {
		if events, _, err = db.EventsAfter(t.Context(), before, 100); err != nil {
			t.Fatal(err)
		}
	}
	var trace []string
	for _, e := range events {
		if e.AccountID != account.ID {
			continue
		}
		line := string(e.Subject.(*platen.Submission).State)
		for _, a := range e.Subject.(*platen.Submission).Actions {
			line += " " + string(a.State)
		}
		trace = append(trace, fmt.Sprintf("%s final=%v action=%v", line, e.Subject.(*platen.Submission).Final(), e.ActionID == action.ID))
	}
	want := []string{"PENDING final=false action=false", "PROCESSED PENDING final=false action=false", "PROCESSED PROCESSED final=true action=true"}
	if !slices.Equal(trace, want) {
		t.Errorf("the history is\n%q\nwant\n%q", trace, want)
	}
}

func TestEventsAreReadInCommitOrderAndNoneIsMissed(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	account, _, _ := storagetest.Account(t, db)
	position, err := db.EventHorizon(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Many writers, some of which hold their transaction open or roll it back, while
	// a reader follows. What each commits must be seen once, and of one document in
	// the order of its changes.
	const writers, each = 12, 25
	i := integration(t, db, account.ID, platen.AppliesToLive)
	var wg sync.WaitGroup
	shared := storagetest.Submission(t, db, account.ID, false)
	process(t, db, shared, i)
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				rollback := errors.New("rolled back on purpose")
				err := db.InTx(t.Context(), func(tx *storage.Tx) error {
					s, err := tx.LockDocument(t.Context(), account.ID, shared.ID)
					if err != nil {
						return err
					}
					a := s.Common().Actions[0]
					a.Attempts++
					if err := tx.UpdateAction(t.Context(), s, a); err != nil {
						return err
					}
					if (w+n)%10 == 0 {
						return rollback
					}
					return nil
				})
				if err != nil && !errors.Is(err, rollback) {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	seen := map[int64]bool{}
	last, finished := 0, false
	for {
		events, waiting, err := db.EventsAfter(t.Context(), position, 50)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			position = e.Cursor
			if e.SubjectID != shared.ID {
				continue
			}
			if seen[e.Cursor.ID] {
				t.Fatalf("event %d came twice", e.Cursor.ID)
			}
			seen[e.Cursor.ID] = true
			if e.Subject.(*platen.Submission).Changes != last+1 {
				t.Fatalf("change %d came after change %d", e.Subject.(*platen.Submission).Changes, last)
			}
			last = e.Subject.(*platen.Submission).Changes
		}
		if len(events) > 0 {
			continue
		}
		if finished && !waiting {
			break
		}
		select {
		case <-done:
			finished = true
		default:
		}
	}
	got, err := db.Submission(t.Context(), storage.Scope{AccountID: account.ID}, shared.ID)
	if err != nil || got.Changes != last {
		t.Errorf("the last event shows change %d, the row says %d (%v)", last, got.Changes, err)
	}
}

func TestOldEventsAreForgotten(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	account, _, _ := storagetest.Account(t, db)
	storagetest.Submission(t, db, account.ID, false)
	if n, err := db.DeleteEventsBefore(t.Context(), time.Now().Add(-time.Hour), 10); err != nil || n != 0 {
		t.Errorf("young events: %d deleted, %v", n, err)
	}
	if n, err := db.DeleteEventsBefore(t.Context(), time.Now().Add(time.Hour), 10); err != nil || n != 1 {
		t.Errorf("old events: %d deleted, %v; want 1", n, err)
	}
}

func TestFourNodesMigrateAnEmptyDatabaseTogether(t *testing.T) {
	t.Parallel()
	dsn := storagetest.EmptyDSN(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			db, err := storage.Open(t.Context(), dsn, 5)
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			if err := db.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestOnlyTheAttemptThatCountsMayCommit(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	var id int64
	if err := db.SQL().QueryRowContext(t.Context(), `insert into river.river_job (kind, args, max_attempts, attempt, state, attempted_at, attempted_by)
		values ('render_submission', '{}', 50, 2, 'running', now(), '{"node"}') returning id`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	complete := func(attempt int) error {
		return db.InTx(t.Context(), func(tx *storage.Tx) error { return tx.CompleteJob(t.Context(), id, attempt) })
	}
	if err := complete(1); !errors.Is(err, storage.ErrFenced) {
		t.Errorf("an earlier attempt: %v, want ErrFenced", err)
	}
	if n, err := db.ReleaseJobs(t.Context(), ""); err != nil || n != 1 {
		t.Errorf("released %d, %v", n, err)
	}
	if err := complete(2); !errors.Is(err, storage.ErrFenced) {
		t.Errorf("after the job was released: %v, want ErrFenced", err)
	}
	depths, err := db.QueueDepths(t.Context())
	if err != nil || len(depths) != 1 || depths[0].State != "available" || depths[0].Jobs != 1 {
		t.Errorf("queue depths %+v, %v", depths, err)
	}
	if _, err := db.SQL().ExecContext(t.Context(), `update river.river_job set state = 'running', attempt = 3`); err != nil {
		t.Fatal(err)
	}
	if err := complete(3); err != nil {
		t.Errorf("the running attempt: %v", err)
	}
	if depths, err := db.QueueDepths(t.Context()); err != nil || len(depths) != 0 {
		t.Errorf("once it is completed: %+v, %v", depths, err)
	}
}
