package pipeline

import (
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"platen"
)

func TestAJobThatOnlyWaitsIsNotGivenUp(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]bool{river.JobSnooze(time.Second): false, errSettled: true, nil: false} {
		if _, last := tried(t.Context(), &rivertype.JobRow{Attempt: maxAttempts}, func() error { return err }); last != want {
			t.Errorf("the last attempt comes to %v: given up is %v", err, last)
		}
	}
}

func TestAttemptsThatANodeDidNotLiveToSeeTheEndOfAreNoFaultsOfTheMachinery(t *testing.T) {
	t.Parallel()
	gone := fault{&platen.Failure{Stage: platen.StageRender, Code: platen.FailureBrowserGone, Message: "The browser ended."}}
	job := &rivertype.JobRow{Attempt: 12}
	for _, text := range []string{"the node a_1 is gone", gone.Error(), "the database does not answer", "the node a_2 is gone", gone.Error()} {
		job.Errors = append(job.Errors, rivertype.AttemptError{Error: text})
	}
	if n := faults(job); n != 2 {
		t.Errorf("%d faults, want 2", n)
	}
}
