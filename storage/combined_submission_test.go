package storage_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"platen"
	"platen/storage"
	"platen/storage/storagetest"
)

// finishPart makes a submission PROCESSED or FAILED as a node does, and returns the
// combined submissions that can begin by that.
func finishPart(t *testing.T, db *storage.DB, s *platen.Submission, usable bool) (begin []string) {
	t.Helper()
	if err := db.InTx(t.Context(), func(tx *storage.Tx) error {
		locked, err := tx.LockDocument(t.Context(), s.AccountID, s.ID)
		if err != nil {
			return err
		}
		d := locked.Common()
		if d.State = platen.DocumentProcessed; usable {
			d.File = &platen.DocumentFile{ContentType: "application/pdf", ByteSize: 1, SHA256: "ab", BlobKey: d.ID}
		} else {
			d.State, d.Failure = platen.DocumentFailed, &platen.Failure{Stage: platen.StageRender, Code: platen.FailureRenderFailed}
		}
		if err := tx.FinishDocument(t.Context(), locked, nil); err != nil {
			return err
		}
		begin, err = tx.FinishedParts(t.Context(), locked, usable)
		return err
	}); err != nil {
		t.Error(err)
	}
	return begin
}

// combine makes a combined submission of these, as the pipeline does, and tells whether it
// can begin at once.
func combine(t *testing.T, db *storage.DB, accountID string, parts []string) (id string, begin bool) {
	t.Helper()
	c := &platen.CombinedSubmission{Document: platen.Document{Record: platen.Record{AccountID: accountID, ID: platen.NewID(platen.KindCombined)}, Metadata: []byte("{}")}}
	for _, part := range parts {
		c.Sources = append(c.Sources, &platen.CombinedSource{DocumentID: part})
	}
	if err := db.InTx(t.Context(), func(tx *storage.Tx) error {
		c.Waiting = 0
		documents, err := tx.LockParts(t.Context(), storage.Scope{AccountID: accountID}, parts)
		if err != nil {
			return err
		}
		if len(documents) != len(parts) {
			return fmt.Errorf("%d of %d parts are there", len(documents), len(parts))
		}
		for _, document := range documents {
			if document.Common().State == platen.DocumentPending {
				c.Waiting++
			}
		}
		return tx.CreateCombinedSubmission(t.Context(), c)
	}); err != nil {
		t.Error(err)
	}
	return c.ID, c.Waiting == 0
}

// Parts are finished by many at once while more and more combined submissions are made of
// them, some of which are parts of others: each is begun exactly once, and nobody waits
// in a circle.
func TestR4_1ExactlyOneOfThoseWhoFinishThePartsIsTheLast(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	account, _, _ := storagetest.Account(t, db)
	const parts, wholes, writers = 60, 60, 6
	var all []*platen.Submission
	var ids []string
	for range parts {
		s := storagetest.Submission(t, db, account.ID, false)
		all, ids = append(all, s), append(ids, s.ID)
	}
	var mu sync.Mutex
	begun := map[string]int{}
	begin := func(ids ...string) {
		mu.Lock()
		defer mu.Unlock()
		for _, id := range ids {
			begun[id]++
		}
	}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < parts; i += writers {
				begin(finishPart(t, db, all[i], true)...)
			}
		})
		wg.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(w)))
			for range wholes / writers {
				var of []string
				for _, i := range r.Perm(parts)[:1+r.IntN(parts-1)] {
					of = append(of, ids[i])
				}
				inner, now := combine(t, db, account.ID, of)
				if now {
					begin(inner)
				}
				// One of the new one and of parts that it shares with it.
				outer, now := combine(t, db, account.ID, append([]string{inner}, of[:len(of)/2]...))
				if now {
					t.Errorf("%s began before the combined submission among its sources was made", outer)
				}
			}
		})
	}
	wg.Wait()
	for id, n := range begun {
		if n != 1 {
			t.Errorf("%s was begun %d times", id, n)
		}
	}
	if len(begun) != wholes {
		t.Errorf("%d of %d were begun", len(begun), wholes)
	}
	var none, one int
	if err := db.SQL().QueryRowContext(t.Context(), `select count(*) filter (where waiting = 0), count(*) filter (where waiting = 1)
		from combined_submissions where account_id = $1`, account.ID).Scan(&none, &one); err != nil {
		t.Fatal(err)
	}
	if none != wholes || one != wholes {
		t.Errorf("%d wait for nothing, and %d for the combined submission among their sources; want %d each", none, one, wholes)
	}
}

func TestR4_1APartThatFailsLetsThoseThatNeedItBeginAtOnce(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	account, _, _ := storagetest.Account(t, db)
	one, two := storagetest.Submission(t, db, account.ID, false), storagetest.Submission(t, db, account.ID, false)
	needs, _ := combine(t, db, account.ID, []string{one.ID, two.ID})
	combine(t, db, account.ID, []string{one.ID})
	if begun := finishPart(t, db, two, false); len(begun) != 1 || begun[0] != needs {
		t.Errorf("begun: %v", begun)
	}
}

func TestR3_8WhatIsWaitedForIsNotExpiredForADay(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	account, _, _ := storagetest.Account(t, db)
	part, pending := storagetest.Submission(t, db, account.ID, false), storagetest.Submission(t, db, account.ID, false)
	finishPart(t, db, part, true)
	if _, err := db.SQL().ExecContext(t.Context(), `update submissions set expires_at = now() - interval '1 hour' where id = $1`, part.ID); err != nil {
		t.Fatal(err)
	}
	due := func(patience time.Duration) int {
		t.Helper()
		refs, err := db.DocumentsToExpire(t.Context(), time.Now(), time.Now().Add(-patience), 10)
		if err != nil {
			t.Fatal(err)
		}
		return len(refs)
	}
	if due(24*time.Hour) != 1 {
		t.Error("nobody waits for it, and it is not found")
	}
	combine(t, db, account.ID, []string{part.ID, pending.ID})
	if due(24*time.Hour) != 0 {
		t.Error("it is found although it is waited for")
	}
	if due(time.Minute) != 1 {
		t.Error("it is not found although it has been waited for long enough")
	}
}

// Who changes the actions of many documents, and who makes a combined submission of the
// same, wait for one another in one direction.
func TestPartsAndActionsOfManyAreLockedInOneOrder(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	account, _, _ := storagetest.Account(t, db)
	first, second := storagetest.Submission(t, db, account.ID, false), storagetest.Submission(t, db, account.ID, false)
	var made sync.WaitGroup
	defer made.Wait()
	if err := db.InTx(t.Context(), func(tx *storage.Tx) error {
		// In the order of the actions' ids, which says nothing about that of the documents.
		if err := tx.LockRecords(t.Context(), account.ID, []storage.ActionRef{{SubjectID: second.ID}, {SubjectID: first.ID}}); err != nil {
			return err
		}
		if _, err := tx.LockSubject(t.Context(), account.ID, second.ID); err != nil {
			return err
		}
		made.Go(func() { combine(t, db, account.ID, []string{first.ID, second.ID}) })
		for waiting := 0; waiting == 0; time.Sleep(5 * time.Millisecond) {
			if err := db.SQL().QueryRowContext(t.Context(), `select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`).Scan(&waiting); err != nil {
				return err
			}
		}
		_, err := tx.LockSubject(t.Context(), account.ID, first.ID)
		return err
	}); err != nil {
		t.Error(err)
	}
}

func TestUploadsKeepTheirBytesADayLongerForWhoWaitsToUseThem(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	account, _, _ := storagetest.Account(t, db)
	u := &platen.Upload{AccountID: account.ID, ID: platen.NewID(platen.KindUpload), Filename: "a.pdf", ContentType: "application/pdf", ByteSize: 1, ExpiresAt: time.Now().Add(-time.Hour)}
	if err := db.CreateUpload(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	u.BlobKey, u.SHA256, u.PageCount = "copy", "ab", 1
	if err := db.ReceiveUpload(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if unnamed, err := db.UnnamedBlobs(t.Context(), []string{"copy", "orphan"}); err != nil || len(unnamed) != 1 || unnamed[0] != "orphan" {
		t.Errorf("to be swept: %v, %v", unnamed, err)
	}
	c := &platen.CombinedSubmission{Document: platen.Document{Record: platen.Record{AccountID: account.ID, ID: platen.NewID(platen.KindCombined)}, Metadata: []byte("{}")},
		Sources: []*platen.CombinedSource{{UploadID: u.ID}}}
	if err := db.InTx(t.Context(), func(tx *storage.Tx) error { return tx.CreateCombinedSubmission(t.Context(), c) }); err != nil {
		t.Fatal(err)
	}
	expired := func(patience time.Duration) int {
		t.Helper()
		keys, _, err := db.ExpireUploads(t.Context(), time.Now(), time.Now().Add(-patience), 10)
		if err != nil {
			t.Fatal(err)
		}
		return len(keys)
	}
	if expired(24*time.Hour) != 0 {
		t.Error("it is expired although it is waited for")
	}
	if expired(time.Minute) != 1 {
		t.Error("it is kept although it has been waited for long enough")
	}
}

func TestTheCopyOfACombinedSubmissionIsNotSwept(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	account, _, _ := storagetest.Account(t, db)
	id, _ := combine(t, db, account.ID, nil)
	finishPart(t, db, &platen.Submission{Document: platen.Document{Record: platen.Record{AccountID: account.ID, ID: id}}}, true)
	if unnamed, err := db.UnnamedBlobs(t.Context(), []string{id, "orphan"}); err != nil || len(unnamed) != 1 || unnamed[0] != "orphan" {
		t.Errorf("to be swept: %v, %v", unnamed, err)
	}
}
