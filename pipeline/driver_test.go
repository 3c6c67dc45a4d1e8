package pipeline

import (
	"context"
	"testing"
	"time"

	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivertype"

	"platen/storage/storagetest"
)

func TestWhatANodeSaysOfAJobThatAnotherHasTakenOverIsNotHeard(t *testing.T) {
	t.Parallel()
	db := storagetest.New(t)
	job := func(node string) (id int64) {
		t.Helper()
		if err := db.SQL().QueryRowContext(t.Context(), `insert into river.river_job (kind, args, state, attempt, max_attempts, queue, attempted_by, attempted_at)
			values ('none', '{}', 'running', 2, 9, 'none', array['first', $1], now()) returning id`, node).Scan(&id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	own, others := job("this"), job("other")
	params := &riverdriver.JobSetStateIfRunningManyParams{Schema: "river"}
	for _, id := range []int64{others, own} {
		one := riverdriver.JobSetStateCompleted(id, time.Now(), nil)
		params.ID = append(params.ID, one.ID)
		params.Attempt = append(params.Attempt, one.Attempt)
		params.ErrData = append(params.ErrData, one.ErrData)
		params.FinalizedAt = append(params.FinalizedAt, one.FinalizedAt)
		params.MetadataDoMerge = append(params.MetadataDoMerge, one.MetadataDoMerge)
		params.MetadataUpdates = append(params.MetadataUpdates, one.MetadataUpdates)
		params.ScheduledAt = append(params.ScheduledAt, one.ScheduledAt)
		params.State = append(params.State, one.State)
	}
	rows, err := newDriver(db, "this").GetExecutor().JobSetStateIfRunningMany(context.Background(), params)
	if err != nil || len(rows) != 1 || rows[0].ID != own || rows[0].State != rivertype.JobStateCompleted {
		t.Fatalf("%v, %v", rows, err)
	}
	var state string
	var attempt int
	if err := db.SQL().QueryRowContext(t.Context(), `select state, attempt from river.river_job where id = $1`, others).Scan(&state, &attempt); err != nil || state != "running" || attempt != 2 {
		t.Errorf("the other node's job is %s, attempt %d, %v", state, attempt, err)
	}
}
