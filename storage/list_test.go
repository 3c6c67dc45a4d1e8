package storage_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/lib/pq"

	"platen"
	"platen/storage"
	"platen/storage/storagetest"
)

// groups are ten templates and two batches of an account.
func groups(t *testing.T, db *storage.DB, accountID string) (templates, batches []string) {
	t.Helper()
	if err := db.InTx(t.Context(), func(tx *storage.Tx) error {
		for range 10 {
			template := &platen.Template{AccountID: accountID, ID: platen.NewID(platen.KindTemplate), Name: "T", Draft: &platen.TemplateContent{HTML: "x"}}
			if err := tx.CreateTemplate(t.Context(), template); err != nil {
				return err
			}
			templates = append(templates, template.ID)
		}
		for range 2 {
			batch := &platen.Batch{AccountID: accountID, ID: platen.NewID(platen.KindBatch), Metadata: []byte("{}")}
			if err := tx.CreateBatch(t.Context(), batch); err != nil {
				return err
			}
			batches = append(batches, batch.ID)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return templates, batches
}

// grow brings an account to so many submissions, from number from on: a tenth of them
// test documents, a hundredth failed, a thousandth pending, over ten templates, two
// batches and twenty customers. Each is a second younger than the one before.
func grow(t *testing.T, db *storage.DB, accountID string, templates, batches []string, from, to int) {
	t.Helper()
	pairs := make([][]byte, 20)
	for i := range pairs {
		pairs[i] = storage.MetadataPairs(json.RawMessage(fmt.Sprintf(`{"customer":"c%d"}`, i)))[0]
	}
	exec := func(statement string, args ...any) {
		if _, err := db.SQL().ExecContext(t.Context(), statement, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`insert into submissions (account_id, id, state, test, source, template_id, batch_id, batch_index, metadata, content_type, byte_size,
			page_count, sha256, blob_key, failure, created_at, processed_at, finished_at)
		select $1, 'sub_' || lpad(n::text, 18, '0'), state, n % 10 = 3, 'DRAFT', ($2::text[])[n % 10 + 1],
			case when n < 2000 then ($3::text[])[n % 2 + 1] end, case when n < 2000 then n end, json_build_object('customer', 'c' || n % 20),
			'application/pdf', case when done then 1 end, case when done then 1 end, case when done then repeat('a', 64) end,
			case when done then n::text end, case when state = 'FAILED' then '{}'::json end,
			'2026-01-01'::timestamptz + n * interval '1 second', case when done then now() end, case when state <> 'PENDING' then now() end
		from (select n, state, state = 'PROCESSED' as done from (select n,
			case when n % 1000 = 7 then 'PENDING' when n % 100 = 5 then 'FAILED' else 'PROCESSED' end as state
			from generate_series($4::integer, $5::integer) as n) as numbered) as drawn`,
		accountID, pq.Array(templates), pq.Array(batches), from, to-1)
	exec(`insert into submission_metadata (account_id, pair, at, submission_id)
		select account_id, ($2::bytea[])[substr(id, 5)::integer % 20 + 1], created_at, id from submissions
		where account_id = $1 and substr(id, 5)::integer >= $3`, accountID, pq.ByteaArray(pairs), from)
	year := storage.MetadataPairs(json.RawMessage(`{"year":2026}`))[0]
	exec(`insert into submission_metadata (account_id, pair, at, submission_id)
		select account_id, $2, created_at, id from submissions where account_id = $1 and substr(id, 5)::integer >= $3`, accountID, year, from)
	for n := range 10 {
		order := storage.MetadataPairs(json.RawMessage(fmt.Sprintf(`{"order":"o%d"}`, n)))[0]
		exec(`insert into submission_metadata (account_id, pair, at, submission_id)
			select account_id, $2, created_at, id from submissions where account_id = $1 and id = $3 on conflict do nothing`, accountID, order, fmt.Sprintf("sub_%018d", n))
	}
	exec(`vacuum analyze submissions, submission_metadata`)
}

// buffers is how many blocks of 8 KB a statement touches, in memory or on disk: what
// it costs, whatever else the machine is doing.
func buffers(t *testing.T, db *storage.DB, statement string, args ...any) (blocks, rows int) {
	t.Helper()
	var text []byte
	if err := db.SQL().QueryRowContext(t.Context(), "explain (analyze, buffers, format json) "+statement, args...).Scan(&text); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	var plans []struct {
		Plan struct {
			Hit  int `json:"Shared Hit Blocks"`
			Read int `json:"Shared Read Blocks"`
			Rows int `json:"Actual Rows"`
		}
	}
	if err := json.Unmarshal(text, &plans); err != nil {
		t.Fatal(err)
	}
	return plans[0].Plan.Hit + plans[0].Plan.Read, plans[0].Plan.Rows
}

func TestR3_7APageOfAMillionCostsWhatAPageOfAThousandDoes(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	account, _, _ := storagetest.Account(t, db)
	templates, batches := groups(t, db, account.ID)
	middle := func(total int) *time.Time {
		return new(time.Date(2026, 1, 1, 0, 0, total/2, 0, time.UTC))
	}
	type one struct {
		scope  storage.Scope
		filter platen.SubmissionFilter
		page   storage.Page
	}
	scope, first := storage.Scope{AccountID: account.ID}, storage.Page{First: 25}
	asked := func(total int) map[string]one {
		cursor := storage.Cursor(*middle(total), "sub_")
		from, until := middle(total), new(middle(total).Add(100*time.Second))
		return map[string]one{
			"no filter":                {scope, platen.SubmissionFilter{}, first},
			"the middle":               {scope, platen.SubmissionFilter{}, storage.Page{First: 25, After: cursor}},
			"backward":                 {scope, platen.SubmissionFilter{}, storage.Page{Last: 25, Before: cursor}},
			"a test token":             {storage.Scope{AccountID: account.ID, TestOnly: true}, platen.SubmissionFilter{}, first},
			"test":                     {scope, platen.SubmissionFilter{DocumentFilter: platen.DocumentFilter{Test: new(true)}}, first},
			"live":                     {scope, platen.SubmissionFilter{DocumentFilter: platen.DocumentFilter{Test: new(false)}}, storage.Page{First: 25, After: cursor}},
			"template":                 {scope, platen.SubmissionFilter{TemplateID: templates[4]}, storage.Page{First: 25, After: cursor}},
			"template without any":     {scope, platen.SubmissionFilter{TemplateID: platen.NewID(platen.KindTemplate)}, first},
			"batch":                    {scope, platen.SubmissionFilter{BatchID: batches[1]}, first},
			"a common state":           {scope, platen.SubmissionFilter{DocumentFilter: platen.DocumentFilter{States: []platen.DocumentState{platen.DocumentProcessed}}}, first},
			"a rare state":             {scope, platen.SubmissionFilter{DocumentFilter: platen.DocumentFilter{States: []platen.DocumentState{platen.DocumentInvalidData}}}, first},
			"two states":               {scope, platen.SubmissionFilter{DocumentFilter: platen.DocumentFilter{States: []platen.DocumentState{platen.DocumentProcessed, platen.DocumentFailed}}}, first},
			"all states":               {scope, platen.SubmissionFilter{DocumentFilter: platen.DocumentFilter{States: []platen.DocumentState{"PENDING", "PROCESSED", "FAILED", "INVALID_DATA"}}}, storage.Page{Last: 25, Before: cursor}},
			"a range of time":          {scope, platen.SubmissionFilter{DocumentFilter: platen.DocumentFilter{From: from, Until: until}}, first},
			"metadata":                 {scope, platen.SubmissionFilter{DocumentFilter: platen.DocumentFilter{Metadata: json.RawMessage(`{"customer":"c4"}`)}}, storage.Page{First: 25, After: cursor}},
			"a common and a rare pair": {scope, platen.SubmissionFilter{DocumentFilter: platen.DocumentFilter{Metadata: json.RawMessage(`{"year":2026,"order":"o1"}`)}}, first},
			"another such":             {scope, platen.SubmissionFilter{DocumentFilter: platen.DocumentFilter{Metadata: json.RawMessage(`{"year":2026,"order":"o5"}`)}}, first},
			"metadata of no document":  {scope, platen.SubmissionFilter{DocumentFilter: platen.DocumentFilter{Metadata: json.RawMessage(`{"customer":"nobody"}`)}}, first},
		}
	}
	const small, large = 1000, 1_000_000
	grow(t, db, account.ID, templates, batches, 0, small)
	cost := map[string]int{}
	measure := func(of one) (blocks, rows int) {
		t.Helper()
		statement, args, err := db.SubmissionList(t.Context(), of.scope, of.filter, of.page)
		if err != nil {
			t.Fatal(err)
		}
		return buffers(t, db, statement, args...)
	}
	for name, of := range asked(small) {
		cost[name], _ = measure(of)
	}
	grow(t, db, account.ID, templates, batches, small, large)
	for name, of := range asked(large) {
		blocks, rows := measure(of)
		t.Logf("%-24s %4d blocks at %d, %4d at %d (%d rows)", name, cost[name], small, blocks, large, rows)
		// An index over a million is deeper by a level or two, which counts for each of the
		// 26 rows that are looked up by another index.
		limit := 3*cost[name] + 10
		if name == "batch" {
			limit = 200 // all of a batch is read and sorted: a thousand rows at most
		}
		if blocks > limit {
			t.Errorf("%s: a page touches %d blocks of 8 KB at a million submissions, %d at a thousand", name, blocks, cost[name])
		}
	}
	// A batch is counted out of its index alone, of which some entries fill a block.
	blocks, _ := buffers(t, db, storage.Batches+" and id = $2", account.ID, batches[0])
	t.Logf("%-24s %4d blocks", "counting a batch of 1000", blocks)
	if blocks > 100 {
		t.Errorf("counting a batch of 1000 touches %d blocks", blocks)
	}
	count, err := db.CountSubmissions(t.Context(), scope, platen.SubmissionFilter{})
	if err != nil || count != storage.CountLimit {
		t.Errorf("counted %d, %v; want to stop at %d", count, err, storage.CountLimit)
	}
}

// Planning takes PostgreSQL time and memory that grow with the third power of what is
// joined: as a join of each, 128 names took it eleven seconds, and 256 took minutes and
// gigabytes.
func TestR3_7ManyNamesOfMetadataAreLookedForAtOnce(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	account, _, _ := storagetest.Account(t, db)
	names := map[string]int{}
	for i := range platen.MaxMetadataKeys {
		names[fmt.Sprint("name ", i)] = i
	}
	encoded := func() json.RawMessage {
		text, err := json.Marshal(names)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	s := &platen.Submission{Document: platen.Document{Record: platen.Record{AccountID: account.ID, ID: platen.NewID(platen.KindSubmission)}, Metadata: encoded()},
		Source: platen.SourceHTML, Output: platen.OutputPDF, Content: &platen.TemplateContent{HTML: "x"}}
	if err := db.InTx(t.Context(), func(tx *storage.Tx) error { return tx.CreateSubmissions(t.Context(), []*platen.Submission{s}) }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	find := func() int {
		t.Helper()
		filter := platen.SubmissionFilter{DocumentFilter: platen.DocumentFilter{Metadata: encoded(), States: []platen.DocumentState{"PENDING", "PROCESSED", "FAILED", "INVALID_DATA"}}}
		found, _, err := db.Submissions(ctx, storage.Scope{AccountID: account.ID}, filter, storage.Page{First: 25})
		if err != nil {
			t.Fatal(err)
		}
		count, err := db.CountSubmissions(ctx, storage.Scope{AccountID: account.ID}, filter)
		if err != nil || count != len(found) {
			t.Errorf("counted %d, found %d, %v", count, len(found), err)
		}
		return count
	}
	if find() != 1 {
		t.Error("a submission is not found by all of its metadata")
	}
	names["name 7"]++
	if find() != 0 {
		t.Error("a submission is found by metadata of which one value is another")
	}
}

// A node's clock can be behind the database's. What only the one takes for over must not
// be found: the node would leave it as it is, and find it again at once.
func TestR3_8WhatHasToExpireIsJudgedByOneClock(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	account, _, _ := storagetest.Account(t, db)
	s := storagetest.Submission(t, db, account.ID, false)
	if _, err := db.SQL().ExecContext(t.Context(), `update submissions set state = 'FAILED', failure = '{}', expires_at = now() - interval '1 second' where id = $1`, s.ID); err != nil {
		t.Fatal(err)
	}
	for behind, want := range map[time.Duration]int{time.Minute: 0, 0: 1} {
		now := time.Now().Add(-behind)
		if found, err := db.DocumentsToExpire(t.Context(), now, now.Add(-24*time.Hour), 10); err != nil || len(found) != want {
			t.Errorf("a node that is %v behind finds %v, %v", behind, found, err)
		}
	}
}
