package storage_test

import (
	"fmt"
	"testing"

	"platen"
	"platen/bench"
	"platen/storage"
	"platen/storage/storagetest"
)

// grown is a database with so many submissions.
type grown struct {
	db      *storage.DB
	account string
}

func newGrown(t *testing.T, size int) grown {
	t.Helper()
	// One connection, so that the server counts what it touches in one place.
	db, err := storage.Open(t.Context(), storagetest.DSN(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	account, _, _ := storagetest.Account(t, db)
	templates, batches := groups(t, db, account.ID)
	grow(t, db, account.ID, templates, batches, 0, size)
	return grown{db, account.ID}
}

// touched is how many blocks of 8 KB this connection has touched so far in tables, their indexes and what is
// stored apart from them.
func (g grown) touched(t *testing.T) (blocks float64) {
	t.Helper()
	for _, statement := range []string{`select pg_stat_force_next_flush()`, `select pg_stat_clear_snapshot()`} {
		if _, err := g.db.SQL().ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.db.SQL().QueryRowContext(t.Context(), `select coalesce(sum(heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read
		+ coalesce(toast_blks_hit + toast_blks_read + tidx_blks_hit + tidx_blks_read, 0)), 0) from pg_statio_user_tables where schemaname = 'public'`).Scan(&blocks); err != nil {
		t.Fatal(err)
	}
	return blocks
}

func (g grown) create(t *testing.T) {
	t.Helper()
	s := &platen.Submission{Document: platen.Document{Record: platen.Record{AccountID: g.account, ID: platen.NewID(platen.KindSubmission)}, Metadata: []byte(`{"customer":"c1","order":"o"}`)},
		Source: platen.SourceHTML, Output: platen.OutputPDF, Content: &platen.TemplateContent{HTML: "x"}}
	if err := g.db.InTx(t.Context(), func(tx *storage.Tx) error { return tx.CreateSubmissions(t.Context(), []*platen.Submission{s}) }); err != nil {
		t.Fatal(err)
	}
}

// page is what a dashboard's list asks for.
func (g grown) page(t *testing.T) {
	t.Helper()
	rows, _, err := g.db.Submissions(t.Context(), storage.Scope{AccountID: g.account}, platen.SubmissionFilter{}, storage.Page{First: 100})
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]string, len(rows))
	for i, s := range rows {
		ids[i] = s.ID
	}
	if _, err := g.db.ActionsOf(t.Context(), g.account, ids); err != nil || len(rows) != 100 {
		t.Fatal(len(rows), err)
	}
}

// TestBenchGrowth is what the number of submissions costs that are there already.
func TestBenchGrowth(t *testing.T) {
	bench.Alone(t)
	sizes := bench.Pick([]int{200, 400, 800}, []int{1000, 100_000, 1_000_000})
	var all []grown
	for _, size := range sizes {
		all = append(all, newGrown(t, size))
	}
	for _, does := range []struct {
		name  string
		times int // in one measurement
		do    func(grown, *testing.T)
	}{{"createSubmission's rows", 200, grown.create}, {"list page of 100", 20, grown.page}} {
		n := bench.Pick(2, does.times)
		repeat := func(g grown) {
			for range n {
				does.do(g, t)
			}
		}
		for _, of := range []struct {
			what, unit string
			measure    func(grown) float64
		}{
			{"blocks touched", "blocks", func(g grown) float64 {
				before := g.touched(t)
				repeat(g)
				return (g.touched(t) - before) / float64(n)
			}},
			{"time", "ms", func(g grown) float64 { return 1000 * bench.Seconds(func() { repeat(g) }) / float64(n) }},
		} {
			var sides []func() float64
			for _, g := range all {
				sides = append(sides, func() float64 { return of.measure(g) })
			}
			bench.Interleave(1, sides...) // warm
			measured := bench.Interleave(bench.Pick(1, 11), sides...)
			bench.Row{Name: fmt.Sprintf("(g) %s, %s at %d over %d submissions", does.name, of.what, sizes[2], sizes[0]), Unit: of.unit,
				Ours: measured[2], Floor: measured[0], Goal: "1.3", Note: fmt.Sprintf("%s at %d", measured[1], sizes[1])}.Print(t)
		}
	}
}
